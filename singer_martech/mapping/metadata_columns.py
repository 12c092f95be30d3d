"""Remove the metadata columns of singer-sdk from records as received."""

from __future__ import annotations

import re
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

SDC_COLUMNS = frozenset(
    {
        "_sdc_batched_at",
        "_sdc_deleted_at",
        "_sdc_extracted_at",
        "_sdc_received_at",
        "_sdc_sequence",
        "_sdc_sync_started_at",
        "_sdc_table_version",
    }
)
"""The metadata columns of singer-sdk."""
DELETED_AT = "_sdc_deleted_at"
"""Not null in a deleted record."""
_COMMA = ord(",")
_SPACE = b" \t\n\r"
_NONE = b"\n"
"""Occurs in no record."""
_RECORDS_AT_ONCE = 64
_PREFIX = b'"_sdc_'
_LEADING = re.compile(
    rb'\{\s*((?:"_sdc_[a-z_]+"\s*:\s*(?:"[^"\\]*"|[\w.+-]+)\s*,\s*){1,50})(?!"_sdc_)'
)


class UnusualColumns(ValueError):
    """There are metadata columns between the others, or no others."""


class MetadataColumns:
    """Removes columns that are together at the end or at the start of a record."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.encode() for name in names)
        self._usual = _NONE  # the column that was the first; found faster from the end
        self._start, self._length = _NONE, 0  # of the columns that were last, with their comma
        fields = [
            (name, None if name == DELETED_AT else msgspec.Raw, None) for name in sorted(names)
        ]
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(object_type(fields)).decode

    def are_in(self, record: bytes) -> bool:
        """Whether a record seems to have metadata columns."""
        return _PREFIX in record

    def forget(self) -> None:
        """Look at all columns of the next record, since they may be in another order."""
        self._usual = self._start = _NONE

    def without_all(self, records: Sequence[bytes]) -> list[bytes]:
        """Return records without these columns; an empty one for each that ``without`` refuses."""
        kept: list[bytes] = []
        for start in range(0, len(records), _RECORDS_AT_ONCE):
            some = records[start : start + _RECORDS_AT_ONCE]
            kept += self._without_alike(some) or map(self._without_or_empty, some)
        return kept

    def _without_alike(self, records: Sequence[bytes]) -> list[bytes] | None:
        """Return records without the columns if these are as long as in the record before."""
        length = self._length
        columns = [record[-length:] for record in records]
        if not all(map(bytes.startswith, columns, repeat(self._start))):
            return None
        try:
            deque(map(self._decode, [b"{" + each[1:] for each in columns]), 0)
        except (RecursionError, ValueError):
            return None
        return [record[:-length] + b"}" for record in records]

    def _without_or_empty(self, record: bytes) -> bytes:
        try:
            return self.without(record)
        except (RecursionError, ValueError):
            return b""

    def without(self, record: bytes) -> bytes:
        """Return a record without these columns, if it is valid JSON.

        What remains is valid JSON only if the record is and the columns were its own, not those
        of an object in it: the removed part is decoded here, the rest by the caller.

        Raises:
            ValueError: The columns are elsewhere, or the record is deleted.
        """
        start = record.rfind(self._usual)
        if start < 0:
            start = self._first(record)
            if start < 0:
                return record
            self._usual = record[start : record.find(b'"', start + 1) + 1]
        end = start - 1
        if record[end] in _SPACE:
            end = len(record[:start].rstrip()) - 1
        if record[end] == _COMMA:
            self._decode(b"{" + record[start:])
            self._start, self._length = record[end : start + len(self._usual)], len(record) - end
            return record[:end] + b"}"
        leading = _LEADING.match(record)
        if leading is None:
            raise UnusualColumns
        self._decode(b"{" + leading[1].rstrip()[:-1] + b"}")
        return b"{" + record[leading.end() :]

    def _first(self, record: bytes) -> int:
        """Return where the first of the columns starts, or -1."""
        start = record.find(_PREFIX)
        while start >= 0 and record[start + 1 : record.find(b'"', start + 1)] not in self._names:
            start = record.find(_PREFIX, start + 1)
        return start
