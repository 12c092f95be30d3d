"""The fast path: rows that are sent as received, because every value already fits its field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.fast_path import TEXT, compile_fast_path
from target_monetate.coercion import COERCIONS, to_string
from target_monetate.dataset import BOOLEAN, DATETIME, NUMBER
from target_monetate.datetimes import to_rfc_3339
from target_monetate.row_nulls import without_nulls

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from target_monetate.coercion import Coercion
    from target_monetate.dataset import Dataset

_FITTING_KINDS = {NUMBER: frozenset({"integer", "number"}), BOOLEAN: frozenset({"boolean"})}
"""By data type, the JSON types that always fit. Values of other data types must be text."""

_COERCIONS: Mapping[str, Coercion] = {**COERCIONS, DATETIME: to_rfc_3339}
"""By data type, functions that return text itself if it fits."""


class RowFastPath:
    """Recognizes such rows.

    Args:
        dataset: The dataset.
        schema: The JSON Schema of the records, which are the rows.
        key_properties: Required fields of a record.
        omitted: Metadata columns that are left out of the record.

    Attributes:
        fast_path: The fast path of the records; None if every row may need a conversion.
    """

    def __init__(
        self,
        dataset: Dataset,
        schema: Mapping[str, Any],
        key_properties: Sequence[str],
        omitted: Collection[str],
    ) -> None:
        """Choose the fields to look at in each row."""
        self.fast_path: FastPath | None = None
        names = list(schema.get("properties", ()))
        needed = {*dataset.required, *key_properties}
        if not names or not needed <= set(names) <= set(dataset.fields):
            return
        kinds = {name: _FITTING_KINDS.get(dataset.fields[name].data_type, TEXT) for name in names}
        coercions: dict[str, Coercion] = {
            name: _COERCIONS.get(dataset.fields[name].data_type, to_string)
            for name in names
            if kinds[name] is TEXT
        }
        strings = [name for name, coerce in coercions.items() if coerce is to_string]
        others = [name for name, coerce in coercions.items() if coerce is not to_string]
        key = dataset.unique_key
        if key is not None and key not in coercions:
            kinds[key] -= {"number"}  # which would be read as a double
        for name in set(names).difference(dataset.required):
            kinds[name] |= {"null"}
        rest = [name for name in names if name not in coercions]
        self._reads = [*strings, *others, *rest]
        self._strings = len(strings)
        self._others = [(self._reads.index(name), coercions[name]) for name in others]
        self._key = None if key is None else self._reads.index(key)
        self._order = {name: index for index, name in enumerate(names)}
        self.fast_path = compile_fast_path(schema, self._reads, kinds, names, omitted)

    def body(self, values: tuple[Any, ...], row: bytes) -> bytes | None:
        """Return what to send of a row, or None if it needs a conversion.

        Args:
            values: The values that the fast path reads.
            row: The row as received.
        """
        texts = values[: self._strings]
        if b"null" not in row:
            return row if self._fit(texts, values) else None
        texts = tuple([value for value in texts if value is not None])
        if not self._fit(texts, values):
            return None
        nulls = [name for name, value in zip(self._reads, values, strict=True) if value is None]
        nulls.sort(key=self._order.__getitem__)
        return without_nulls(row, nulls)

    def _fit(self, texts: tuple[str, ...], values: tuple[Any, ...]) -> bool:
        if tuple(map(str.strip, texts)) != texts or not all(texts):
            return False
        try:
            for index, coerce in self._others:
                value = values[index]
                if value is not None and coerce(value) is not value:
                    return False
        except (ValueError, ArithmeticError, MappingError):
            return False
        return True

    def key(self, values: tuple[Any, ...]) -> Any:
        """Return the value of the unique key."""
        return None if self._key is None else values[self._key]
