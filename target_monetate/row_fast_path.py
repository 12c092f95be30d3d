"""The fast path: rows that are sent as received, because every value already fits its field."""

from __future__ import annotations

from itertools import chain, filterfalse
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.fast_path import TEXT, compile_fast_path
from target_monetate.coercion import TypeMismatch, to_multi_string
from target_monetate.dataset import BOOLEAN, DATETIME, MULTI_STRING, NUMBER
from target_monetate.datetimes import are_rfc_3339
from target_monetate.empty_fields import EmptyFields, without_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from target_monetate.dataset import Dataset

_ROWS_AT_ONCE = 16
"""Number of rows that are checked together; if one of them does not fit, its half is, and so on."""
_FITTING_KINDS = {NUMBER: frozenset({"integer", "number"}), BOOLEAN: frozenset({"boolean"})}
"""By data type, the JSON types that always fit. Values of other data types must be text."""


def _are_stripped(texts: list[str]) -> bool:
    return [*map(str.strip, texts)] == texts


def _are_separated(texts: list[str]) -> bool:
    try:
        return [*map(to_multi_string, texts)] == texts
    except TypeMismatch:
        return False


_CHECKS: Mapping[str, Callable[[list[str]], bool]] = {
    DATETIME: are_rfc_3339,
    MULTI_STRING: _are_separated,
}
"""By data type, whether texts need no conversion."""


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
        self.fast_path: FastPath | None = None
        names = list(schema.get("properties", ()))
        needed = {*dataset.required, *key_properties}
        if not names or not needed <= set(names) <= set(dataset.fields):
            return
        kinds = {name: _FITTING_KINDS.get(dataset.fields[name].data_type, TEXT) for name in names}
        rest = [name for name in names if kinds[name] is not TEXT]
        groups: dict[Callable[[list[str]], bool], list[str]] = {}
        for name in names:
            if kinds[name] is TEXT:
                check = _CHECKS.get(dataset.fields[name].data_type, _are_stripped)
                groups.setdefault(check, []).append(name)
        key = dataset.unique_key
        if key is not None and key in rest:
            kinds[key] -= {"number"}  # which would be read as a double
        for name in set(names).difference(dataset.required):
            kinds[name] |= {"null"}
        self._reads: list[str] = []
        self._groups: list[tuple[Callable[[list[str]], bool], Callable[[Any], Any]]] = []
        for check, group in groups.items():
            start = len(self._reads)
            self._reads += group
            self._groups.append((check, itemgetter(slice(start, len(self._reads)))))
        self._texts = len(self._reads)
        self._reads += rest
        self._read_rest = itemgetter(slice(self._texts, None))
        self._key = None if key is None else self._reads.index(key)
        self._required = [self._reads.index(name) for name in dataset.required if name not in rest]
        self._empty_fields = EmptyFields(names)
        self.fast_path = compile_fast_path(schema, self._reads, kinds, names, omitted)

    def bodies(
        self, values: Sequence[tuple[Any, ...] | None], rows: Sequence[bytes]
    ) -> list[bytes | None]:
        """Return what to send of each row, or None for a row that needs a conversion.

        Args:
            values: The values that the fast path reads; None for a row that
                is not on the fast path.
            rows: The rows as received.
        """
        bodies: list[bytes | None] = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            end = start + _ROWS_AT_ONCE
            bodies += self._bodies(values[start:end], rows[start:end])
        return bodies

    def _bodies(
        self, values: Sequence[tuple[Any, ...] | None], rows: Sequence[bytes]
    ) -> Sequence[bytes | None]:
        bodies = self._fitting(values, rows) if all(values) else None
        if bodies is not None:
            return bodies
        if len(rows) == 1:
            if self.fast_path is not None and values[0] is not None:
                self.fast_path.miss()
            return [None]
        half = len(rows) // 2
        return [
            *self._bodies(values[:half], rows[:half]),
            *self._bodies(values[half:], rows[half:]),
        ]

    def _fitting(self, values: Sequence[Any], rows: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return what to send of rows, or None if one of them needs a conversion."""
        texts = 0
        for check, read in self._groups:
            present = [*filter(None, chain.from_iterable(map(read, values)))]
            texts += len(present)
            if present and not check(present):
                return None
        zeros_or_nulls = filterfalse(None, chain.from_iterable(map(self._read_rest, values)))
        if texts == self._texts * len(rows) and None not in zeros_or_nulls:
            return rows
        if not all(each[index] for index in self._required for each in values):
            return None
        bodies = self._empty_fields.remove(rows, texts)
        if bodies is None and len(rows) == 1:
            fields = zip(self._reads, values[0], strict=True)
            names = [name for name, value in fields if value is None or value == ""]
            body = without_empty(rows[0], names)
            return None if body is None else [body]
        return bodies

    def keys(self, values: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """Return the value of the unique key of each row; None without values."""
        key = self._key
        return [None if key is None or each is None else each[key] for each in values]
