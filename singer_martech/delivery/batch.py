"""Records on their way to a vendor, gathered into what one request may hold."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from singer_martech.delivery.metrics import StreamMetrics


@dataclass(slots=True)
class PendingRecord:
    """One record, encoded once and ready to be sent.

    A sink makes it of a record; the rest is added when it is handed to the dispatcher.

    Attributes:
        key: What the vendor merges by, unlike that of any other destination's records; None
            where every record stands for itself.
        body: Its part of a request's body.
        idempotent: False where sending it twice could do harm.
        metrics: The counts of its stream.
        sequence: Its position in the input; a STATE waits for all smaller ones.
        raw: The record as received, as JSON, for the reject report.
        superseded: The earlier record of the same key that this one replaces.
    """

    key: Hashable | None
    body: bytes
    idempotent: bool = True
    metrics: StreamMetrics = field(init=False)
    sequence: int = field(init=False)
    raw: bytes = field(init=False)
    superseded: PendingRecord | None = field(init=False, default=None)


class RequestLimits(Protocol):
    """What one request may hold; see :class:`singer_martech.delivery.destination.Destination`."""

    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool


class Batch:
    """The records of one request, in memory."""

    def __init__(self, limits: RequestLimits) -> None:
        """Begin without records."""
        self._max_rows, self._max_bytes = limits.max_rows, limits.max_bytes
        self._merges_by_key = limits.merges_by_key
        self.opened_at = time.monotonic()
        self.rows = 0
        self.bytes = limits.envelope_bytes
        self.rows_by_stream: Counter[StreamMetrics] = Counter()
        self.first_sequence: int | None = None
        self.idempotent = True
        self._indexes: dict[Hashable, int] = {}
        self._records: list[PendingRecord] = []
        self._replaced = 0

    def __len__(self) -> int:
        """The number of records that would be sent."""
        return len(self._records)

    def __iter__(self) -> Iterator[PendingRecord]:
        """The records, in the order in which they are sent."""
        return iter(self._records)

    def records(self) -> Sequence[PendingRecord]:
        """Return the records as a sequence whose slices can be sent one by one."""
        return self._records

    @property
    def keys(self) -> Iterable[Hashable]:
        """The keys of its records, each at least once."""
        return self._indexes

    @property
    def is_full(self) -> bool:
        """Whether no further record fits, or those that others replaced fill the memory."""
        return self.rows >= self._max_rows or self._replaced > self._max_bytes

    def has_room_for(self, record: PendingRecord) -> bool:
        """Whether a record fits beside those that are in."""
        return self.bytes + len(record.body) < self._max_bytes and self.rows < self._max_rows

    def append(self, record: PendingRecord) -> None:
        """Take a record in."""
        self._count(record)
        key = record.key
        if key is not None:
            if self._merges_by_key and key in self._indexes:
                self._replace(self._indexes[key], record)
                return
            self._indexes[key] = len(self._records)
        self._records.append(record)

    def _replace(self, index: int, record: PendingRecord) -> None:
        earlier = self._records[index]
        record.superseded = earlier
        self._records[index] = record
        self.rows -= 1
        self.bytes -= len(earlier.body) + 1
        self._replaced += len(earlier.body) + 1

    def _count(self, record: PendingRecord) -> None:
        self.rows += 1
        self.bytes += len(record.body) + 1
        self.rows_by_stream[record.metrics] += 1
        if not record.idempotent:
            self.idempotent = False
        if self.first_sequence is None or record.sequence < self.first_sequence:
            self.first_sequence = record.sequence
