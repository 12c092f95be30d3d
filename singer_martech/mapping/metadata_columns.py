"""Remove the metadata columns of singer-sdk from records as received."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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
_PREFIX = b'"_sdc_'
_LEADING = re.compile(rb'\{\s*((?:"_sdc_[a-z_]+"\s*:\s*(?:"[^"\\]*"|[\w.+-]+)\s*,\s*)+)')


class UnusualColumns(ValueError):
    """There are metadata columns between the others, or no others."""


class MetadataColumns:
    """Removes columns that are together at the end or at the start of a record.

    Args:
        names: The columns to remove.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.encode() for name in names)
        self._usual = _NONE  # the column that was the first; found faster from the end
        fields = [
            (name, None if name == DELETED_AT else msgspec.Raw, None) for name in sorted(names)
        ]
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(object_type(fields)).decode

    def are_in(self, record: bytes) -> bool:
        """Whether a record seems to have metadata columns."""
        return _PREFIX in record

    def forget(self) -> None:
        """Look at all columns of the next record, since they may be in another order."""
        self._usual = _NONE

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
