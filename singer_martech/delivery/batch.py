"""Collect records into batches; each batch becomes one request."""

from __future__ import annotations

import time
from collections import Counter
from itertools import count, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from singer_martech.delivery.metrics import StreamMetrics

    Hashes = tuple[StreamMetrics, int, Sequence[bytes], Sequence[bytes]]


_MIN_HELD_BYTES = 16 * 1024 * 1024
"""Minimum memory limit of a batch, even if its requests are smaller."""


class PendingRecord(msgspec.Struct, gc=False, eq=False):
    """One record, encoded once and ready to be sent.

    The sink creates it; the target sets the remaining attributes when it submits the record.

    Attributes:
        key: The key by which the vendor merges records, unique across destinations; None if
            records are independent.
        body: Its part of the request body.
        idempotent: Whether it can be sent twice without harm.
        metrics: The counts of its stream.
        sequence: Its position in the input; a STATE waits for all smaller ones.
        raw: The record as received, as JSON, for the reject report.
        superseded: The earlier record of the same key that this one replaces.
        ledger_key: Its key in the ledger, as JSON values; set by sinks that do not use ``key``.
        is_deletion: Whether it removes the key; set with a ledger only.
        identifiers: The record that deletes its key at the vendor; set for mirrored streams only.
        key_hash: The hash of its key in the ledger; set with a ledger only.
        body_hash: The hash of its body there.
    """

    key: Hashable | None
    body: bytes
    idempotent: bool = True
    metrics: StreamMetrics = None  # type: ignore[assignment] # see above
    sequence: int = 0
    raw: bytes = b""
    superseded: PendingRecord | None = None
    ledger_key: Sequence[Any] = ()
    is_deletion: bool = False
    identifiers: bytes | None = None
    key_hash: bytes = b""
    body_hash: bytes = b""

    @property
    def size(self) -> int:
        """Memory use in bytes, without the records it replaced."""
        return len(self.body) + len(self.raw)


class RequestLimits(Protocol):
    """The limits of one request; see :class:`singer_martech.delivery.destination.Destination`."""

    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool


class Batch:
    """The records of one request, in memory.

    Attributes:
        opened_at: When the first record was added, on the monotonic clock.
        rows: The number of records to send.
        bytes: The size of the request body.
        held_bytes: The memory used by its records, including those that were replaced.
        rows_by_stream: The number of records added, including those that were replaced.
        first_sequence: The smallest sequence of its records.
        idempotent: Whether the whole request can be repeated without harm.
    """

    def __init__(self, limits: RequestLimits) -> None:
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
        """The number of records to send."""
        return len(self._records)

    def __iter__(self) -> Iterator[PendingRecord]:
        """The records, in sending order."""
        return iter(self._records)

    def records(self) -> Sequence[PendingRecord]:
        """The records as a sequence, so that a request can hold a part of them."""
        return self._records

    def hashes(self) -> Iterator[Hashes]:
        """Yield the hashes of the keys and bodies of its records, in parts of one stream.

        Each part starts with the metrics of the stream and the sequence of its first record.
        """
        by_stream = groupby(self._records, key=attrgetter("metrics"))
        parts = (list(records) for _, records in by_stream)
        for records in [self._records] if len(self.rows_by_stream) == 1 else parts:
            keys = [record.key_hash for record in records]
            bodies = [record.body_hash for record in records]
            yield records[0].metrics, records[0].sequence, keys, bodies

    @property
    def keys(self) -> Iterable[Hashable]:
        """The keys of its records, possibly with duplicates."""
        return self._indexes

    @property
    def is_on_disk(self) -> bool:
        """Whether it holds files open."""
        return False

    @property
    def is_full(self) -> bool:
        """Whether the limits leave no room for another record."""
        return self.rows >= self._max_rows or self.held_bytes > self._max_held_bytes

    def has_room_for(self, record: PendingRecord) -> bool:
        """Whether the record fits within the limits."""
        return self.bytes + len(record.body) < self._max_bytes and self.rows < self._max_rows

    def append(self, record: PendingRecord) -> None:
        """Add a record; if the vendor merges by key, it replaces an earlier one of its key."""
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

    def extend(self, records: Sequence[PendingRecord]) -> int:
        """Add records of one stream in order, as long as they fit.

        Returns:
            The number of records added.
        """
        fitting = records[: self._max_rows - self.rows]
        held = sum([len(record.body) for record in fitting])
        size = held + len(fitting)
        held += sum([len(record.raw) for record in fitting])
        keys = [record.key for record in fitting if record.key is not None]
        indexes = dict(zip(keys, count(len(self._records)), strict=False))
        if (
            self.bytes + size > self._max_bytes
            or self.held_bytes + held > self._max_held_bytes
            or (self._merges_by_key and keys and len(indexes) < len(fitting))
            or (self._merges_by_key and not self._indexes.keys().isdisjoint(indexes))
            or not fitting
        ):
            return self._append_each(records)
        self._indexes.update(indexes)
        self._records += fitting
        self.held_bytes += held
        self._count_all(fitting, size)
        return len(fitting)

    def _append_each(self, records: Sequence[PendingRecord]) -> int:
        for index, record in enumerate(records):
            if self.is_full or not self.has_room_for(record):
                return index
            self.append(record)
        return len(records)

    def _count_all(self, records: Sequence[PendingRecord], size: int) -> None:
        self.rows += len(records)
        self.bytes += size
        self.rows_by_stream[records[0].metrics] += len(records)
        if False in [record.idempotent for record in records]:
            self.idempotent = False
        if self.first_sequence is None or records[0].sequence < self.first_sequence:
            self.first_sequence = records[0].sequence

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
