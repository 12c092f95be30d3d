"""The fast path: rows that are sent as received, because every value already fits its field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.fast_path import TEXT, compile_fast_path
from target_monetate.coercion import COERCIONS, to_string
from target_monetate.dataset import BOOLEAN, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from target_monetate.coercion import Coercion
    from target_monetate.dataset import Dataset

_FITTING_KINDS = {NUMBER: frozenset({"integer", "number"}), BOOLEAN: frozenset({"boolean"})}
"""By data type, the JSON types that always fit. Values of other data types must be text."""


class RowFastPath:
    """Recognizes such rows.

    Args:
        dataset: The dataset.
        schema: The JSON Schema of the records, which are the rows.
        key_properties: Required fields of a record.

    Attributes:
        fast_path: The fast path of the records; None if every row may need a conversion.
    """

    def __init__(
        self, dataset: Dataset, schema: Mapping[str, Any], key_properties: Sequence[str]
    ) -> None:
        """Choose the fields to look at in each row."""
        self.fast_path: FastPath | None = None
        names = list(schema.get("properties", ()))
        needed = {*dataset.required, *key_properties}
        if not names or not needed <= set(names) <= set(dataset.fields):
            return
        kinds = {name: _FITTING_KINDS.get(dataset.fields[name].data_type, TEXT) for name in names}
        coercions: dict[str, Coercion] = {
            name: COERCIONS.get(dataset.fields[name].data_type, to_string)
            for name in names
            if kinds[name] is TEXT
        }
        strings = [name for name, coerce in coercions.items() if coerce is to_string]
        others = [name for name, coerce in coercions.items() if coerce is not to_string]
        reads = [*strings, *others]
        key = dataset.unique_key
        if key is not None and key not in reads:
            kinds[key] -= {"number"}  # the decoder does not keep its digits
            reads.append(key)
        self._strings = len(strings)
        self._others = [(reads.index(name), coercions[name]) for name in others]
        self._key = None if key is None else reads.index(key)
        self.fast_path = compile_fast_path(schema, reads, kinds, required=names)

    def fits(self, values: tuple[Any, ...]) -> bool:
        """Whether a row can be sent as received."""
        strings = values[: self._strings]
        if tuple(map(str.strip, strings)) != strings or not all(strings):
            return False
        try:
            return all(coerce(values[index]) is values[index] for index, coerce in self._others)
        except (ValueError, ArithmeticError, MappingError):
            return False

    def key(self, values: tuple[Any, ...]) -> Any:
        """Return the value of the unique key."""
        return None if self._key is None else values[self._key]
