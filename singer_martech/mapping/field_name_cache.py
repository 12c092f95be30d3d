"""A cache of checked field names."""

from __future__ import annotations

from singer_martech._compat import override


class FieldNameCache(set[tuple[str, ...]]):
    """A cache of checked sets of field names, so that each is checked once."""

    _MAX_ENTRIES = 1000

    @override
    def add(self, names: tuple[str, ...], /) -> None:
        if len(self) >= self._MAX_ENTRIES:
            self.clear()
        super().add(names)
