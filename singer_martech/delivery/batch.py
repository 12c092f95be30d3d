"""Records on their way to a vendor, gathered into what one request may hold."""

from __future__ import annotations

import abc
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.metrics import StreamMetrics


@dataclass(slots=True)
class PendingRecord:
    """One record, encoded once and ready to be sent.

    Attributes:
        metrics: The counts of its stream.
        sequence: Its place in the input; a STATE waits for all smaller ones.
        key: What the vendor merges by, unlike that of any other channel's records; None
            where every record stands for itself.
        body: Its part of a request's body.
        raw: The record as received, as JSON, for the reject report.
        idempotent: False where sending it twice could do harm.
        superseded: The earlier record of the same key that this one replaces.
    """

    metrics: StreamMetrics
    sequence: int
    key: Hashable | None
    body: bytes
    raw: bytes
    idempotent: bool = True
    superseded: PendingRecord | None = None


class Destination(abc.ABC):
    """One kind of request, and how it is sent: an endpoint, a dataset, an import.

    Attributes:
        name: The channel in a person's words.
        max_rows: How many records a request may hold.
        max_bytes: How many bytes a request's body may have.
        envelope_bytes: The bytes of a request without records, each of which counts with
            its own and one more.
        merges_by_key: Whether, of several records of a key in one request, only the last is
            sent, because the vendor would keep nothing of the others.
    """

    name: str
    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool = False

    def open_batch(self) -> Batch:
        """Begin the next request."""
        return Batch(self)

    @abc.abstractmethod
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        """Send a batch; called in a worker thread.

        Returning means that every record is delivered, but for those given to
        ``batch_result.reject``.

        Raises:
            MartechError: The run cannot go on. What was given to ``batch_result.mark_delivered`` is
                delivered, the rest is not known to be.
        """

    @abc.abstractmethod
    def preview(self, records: Iterable[PendingRecord]) -> str:
        """Word a request as it would be sent, without credentials, for a dry run."""


class Batch:
    """The records of one request, in memory."""

    def __init__(self, destination: Destination) -> None:
        """Begin without records."""
        self.destination = destination
        self._max_rows, self._max_bytes = destination.max_rows, destination.max_bytes
        self.opened_at = time.monotonic()
        self.rows = 0
        self.bytes = destination.envelope_bytes
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
            if self.destination.merges_by_key and key in self._indexes:
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


def too_large(destination: Destination, body: bytes) -> bool:
    """Whether a record alone is more than a request of this channel may hold."""
    return destination.envelope_bytes + len(body) + 1 > destination.max_bytes
