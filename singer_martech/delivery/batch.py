"""Records on their way to a vendor, collected into what one request may hold."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from singer_martech.delivery.metrics import StreamMetrics


_MIN_HELD_BYTES = 16 * 1024 * 1024
"""A batch may hold at least this much, however small its request is."""


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

    @property
    def size(self) -> int:
        """The bytes that it holds in memory, without what it replaced."""
        return len(self.body) + len(self.raw)


class RequestLimits(Protocol):
    """What one request may hold; see :class:`singer_martech.delivery.destination.Destination`."""

    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool


class Batch:
    """The records of one request, in memory.

    Attributes:
        opened_at: When its first record came, on the monotonic clock.
        rows: How many records would be sent.
        bytes: The size of the request's body.
        held_bytes: What its records take in memory: body, raw, and what they replaced.
        rows_by_stream: How many records it took, those included that were replaced.
        first_sequence: The smallest sequence of its records.
        idempotent: Whether the whole request may be repeated.
    """

    def __init__(self, limits: RequestLimits) -> None:
        """Begin without records."""
        self._max_rows, self._max_bytes = limits.max_rows, limits.max_bytes
        self._max_held_bytes = max(_MIN_HELD_BYTES, 4 * limits.max_bytes)
        self._merges_by_key = limits.merges_by_key
        self.opened_at = time.monotonic()
        self.rows = 0
        self.bytes = limits.envelope_bytes
        self.held_bytes = 0
        self.rows_by_stream: Counter[StreamMetrics] = Counter()
        self.first_sequence: int | None = None
        self.idempotent = True
        self._indexes: dict[Hashable, int] = {}
        self._records: list[PendingRecord] = []

    def __len__(self) -> int:
        """The number of records that would be sent."""
        return len(self._records)

    def __iter__(self) -> Iterator[PendingRecord]:
        """The records, in the order in which they are sent."""
        return iter(self._records)

    def records(self) -> Sequence[PendingRecord]:
        """The records as a sequence, for requests with a part of them."""
        return self._records

    @property
    def keys(self) -> Iterable[Hashable]:
        """The keys of its records, each at least once."""
        return self._indexes

    @property
    def is_full(self) -> bool:
        """Whether no further record fits into the request or into memory."""
        return self.rows >= self._max_rows or self.held_bytes > self._max_held_bytes

    def has_room_for(self, record: PendingRecord) -> bool:
        """Whether a record fits beside those that are in."""
        return self.bytes + len(record.body) < self._max_bytes and self.rows < self._max_rows

    def append(self, record: PendingRecord) -> None:
        """Add a record; of equal keys the last one is sent where the vendor merges by key."""
        key = record.key
        if key is not None:
            index = self._indexes.get(key) if self._merges_by_key else None
            if index is not None:
                self._replace(index, record)
                return
            self._indexes[key] = len(self._records)
        self._records.append(record)
        self._count(record)
        self.held_bytes += len(record.body) + len(record.raw)

    def _replace(self, index: int, record: PendingRecord) -> None:
        earlier = self._records[index]
        record.superseded = earlier
        self._records[index] = record
        self._count(record)
        self.rows -= 1
        self.bytes -= len(earlier.body) + 1
        self.held_bytes += record.size

    def _count(self, record: PendingRecord) -> None:
        self.rows += 1
        self.bytes += len(record.body) + 1
        self.rows_by_stream[record.metrics] += 1
        if not record.idempotent:
            self.idempotent = False
        if self.first_sequence is None or record.sequence < self.first_sequence:
            self.first_sequence = record.sequence
