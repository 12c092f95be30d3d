"""Rows that go out as they came, because every value fits its field already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.mapping.fast_path import TEXT, short_way
from singer_martech.values.json_codec import Unmappable
from target_monetate.coercion import FITTERS, Unfit, fit_string
from target_monetate.dataset import BOOLEAN, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.mapping.fast_path import ShortWay
    from target_monetate.coercion import Fitter
    from target_monetate.dataset import Dataset

_FITS_BY_KIND = {NUMBER: frozenset({"integer", "number"}), BOOLEAN: frozenset({"boolean"})}
"""The fields that fit by the JSON type of their value alone; the others have to be text."""


class WholeRows:
    """Tells such rows from the others.

    Args:
        dataset: Where they go.
        schema: The JSON Schema of the records, which are the rows.
        key_properties: The fields without which a record is none.

    Attributes:
        way: The short way of the records; None where no row can go out as it came.
    """

    def __init__(
        self, dataset: Dataset, schema: Mapping[str, Any], key_properties: Sequence[str]
    ) -> None:
        """Decide what has to be looked at in each row."""
        self.way: ShortWay | None = None
        names = list(schema["properties"])
        needed = {*dataset.required, *key_properties}
        if not names or not needed <= set(names) <= set(dataset.fields):
            return
        kinds = {name: _FITS_BY_KIND.get(dataset.fields[name].data_type, TEXT) for name in names}
        fitters: dict[str, Fitter] = {
            name: FITTERS.get(dataset.fields[name].data_type, fit_string)
            for name in names
            if kinds[name] is TEXT
        }
        strings = [name for name, fit in fitters.items() if fit is fit_string]
        others = [name for name, fit in fitters.items() if fit is not fit_string]
        reads = [*strings, *others]
        key = dataset.unique_key
        if key is not None and key not in reads:
            kinds[key] -= {"number"}  # whose digits the decoder does not keep
            reads.append(key)
        self._strings = len(strings)
        self._others = [(reads.index(name), fitters[name]) for name in others]
        self._key = None if key is None else reads.index(key)
        self.way = short_way(schema, reads, kinds, required=names)

    def fit(self, values: tuple[Any, ...]) -> bool:
        """Whether a row may go out as it came."""
        strings = values[: self._strings]
        if tuple(map(str.strip, strings)) != strings or not all(strings):
            return False
        try:
            return all(fit(values[place]) is values[place] for place, fit in self._others)
        except (Unfit, Unmappable):
            return False

    def key(self, values: tuple[Any, ...]) -> Any:
        """Return the value of the unique key."""
        return None if self._key is None else values[self._key]
