"""Rows that go out as they came, because every value fits its field already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.fast_path import TEXT, compile_fast_path
from target_monetate.coercion import FITTERS, TypeMismatch, to_string
from target_monetate.dataset import BOOLEAN, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from target_monetate.coercion import Fitter
    from target_monetate.dataset import Dataset

_FITS_BY_KIND = {NUMBER: frozenset({"integer", "number"}), BOOLEAN: frozenset({"boolean"})}
"""The fields that fit by the JSON type of their value alone; the others have to be text."""


class RowFastPath:
    """Tells such rows from the others.

    Args:
        dataset: Where they go.
        schema: The JSON Schema of the records, which are the rows.
        key_properties: The fields without which a record is none.

    Attributes:
        fast_path: The fast path of the records; None where no row can go out as it came.
    """

    def __init__(
        self, dataset: Dataset, schema: Mapping[str, Any], key_properties: Sequence[str]
    ) -> None:
        """Decide what has to be looked at in each row."""
        self.fast_path: FastPath | None = None
        names = list(schema["properties"])
        needed = {*dataset.required, *key_properties}
        if not names or not needed <= set(names) <= set(dataset.fields):
            return
        kinds = {name: _FITS_BY_KIND.get(dataset.fields[name].data_type, TEXT) for name in names}
        fitters: dict[str, Fitter] = {
            name: FITTERS.get(dataset.fields[name].data_type, to_string)
            for name in names
            if kinds[name] is TEXT
        }
        strings = [name for name, coerce in fitters.items() if coerce is to_string]
        others = [name for name, coerce in fitters.items() if coerce is not to_string]
        reads = [*strings, *others]
        key = dataset.unique_key
        if key is not None and key not in reads:
            kinds[key] -= {"number"}  # whose digits the decoder does not keep
            reads.append(key)
        self._strings = len(strings)
        self._others = [(reads.index(name), fitters[name]) for name in others]
        self._key = None if key is None else reads.index(key)
        self.fast_path = compile_fast_path(schema, reads, kinds, required=names)

    def coerce(self, values: tuple[Any, ...]) -> bool:
        """Whether a row may go out as it came."""
        strings = values[: self._strings]
        if tuple(map(str.strip, strings)) != strings or not all(strings):
            return False
        try:
            return all(coerce(values[place]) is values[place] for place, coerce in self._others)
        except (TypeMismatch, MappingError):
            return False

    def key(self, values: tuple[Any, ...]) -> Any:
        """Return the value of the unique key."""
        return None if self._key is None else values[self._key]
