"""What a worker found out about the records of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.request import RequestStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.metrics import StreamMetrics

OUTCOME_UNKNOWN = "outcome unknown"
"""The reason of a record that may have been taken, but must not be sent twice."""


class BisectStopped(MartechError):
    """More records were rejected than allowed, so the rest of the batch was not sent."""


@dataclass(frozen=True)
class Rejection:
    """A record that was not taken.

    Attributes:
        record: The record.
        reason: Why, in words for a person.
        status: The HTTP status of the vendor's refusal, or None.
    """

    record: PendingRecord
    reason: str
    status: int | None = None


@dataclass(frozen=True)
class UnidentifiedRejects:
    """Records that were not taken, though nobody can tell which of the batch they are.

    Attributes:
        count: How many.
        reason: Why, in words for a person.
        detail: More for the report, such as the head of ``file``.
        name: What the vendor calls the request.
        file: What the vendor says of them, to be kept beside the reject report.
    """

    count: int
    reason: str
    detail: str
    name: str
    file: IO[bytes] | None = None


@dataclass(eq=False)
class BatchResult:
    """The fate of one batch; filled by a worker, read by the main thread afterwards.

    Attributes:
        allowed_rejects: How many records may be rejected before the run fails; None for any.
        unidentified: What was rejected beside ``rejections``, as far as it is known.
        is_complete: Whether sending returned, so that every record was taken or rejected.
        has_ended: Whether the worker is done with it.
        failure: Why the run cannot go on, or None.
        crash: An error that nobody foresaw, or None.
    """

    batch: Batch
    allowed_rejects: int | None = None
    stats: RequestStats = field(default_factory=RequestStats)
    rejections: list[Rejection] = field(default_factory=list)
    unidentified: list[UnidentifiedRejects] = field(default_factory=list)
    is_complete: bool = False
    has_ended: bool = False
    failure: MartechError | None = None
    crash: BaseException | None = None
    _delivered: list[PendingRecord] = field(default_factory=list)

    def mark_delivered(self, records: Iterable[PendingRecord]) -> None:
        """Note that these records were taken, whatever becomes of the others."""
        self._delivered.extend(records)

    def reject(self, record: PendingRecord, reason: str, status: int | None = None) -> None:
        """Note that this record was not taken and that others may still be."""
        self.rejections.append(Rejection(record, reason, status))

    @property
    def rejects_exceeded(self) -> bool:
        """Whether more records are rejected than the run allows."""
        return self.allowed_rejects is not None and len(self.rejections) > self.allowed_rejects

    def close(self) -> None:
        """Close what came with it."""
        for each in self.unidentified:
            if each.file is not None:
                each.file.close()

    def counts(self) -> BatchCounts:
        """Work out what became of every record of the batch."""
        result = BatchCounts()
        none_superseded = len(self.batch) == sum(self.batch.rows_by_stream.values())
        if self.is_complete and none_superseded:
            result.delivered.update(self.batch.rows_by_stream)
            result.delivered.subtract(rejection.record.metrics for rejection in self.rejections)
            for each in self.unidentified:
                result.reject_some(each.count)
            return result
        if not self.is_complete and not self._delivered:
            result.first_unsettled = self.batch.first_sequence
            return result
        rejected = {_identity(each.record) for each in self.rejections}
        delivered = {_identity(record) for record in self._delivered}
        for newest in self.batch:
            chain = [
                record for record in with_superseded(newest) if _identity(record) not in rejected
            ]
            if chain and (self.is_complete or _identity(chain[0]) in delivered):
                result.delivered[chain[0].metrics] += 1
                result.superseded.update(record.metrics for record in chain[1:])
            else:
                result.leave_open(chain)
        return result


@dataclass
class BatchCounts:
    """Counts per stream, and where the first record stands whose fate is unknown.

    Attributes:
        rejected: Only those that nobody can name.
    """

    delivered: Counter[StreamMetrics] = field(default_factory=Counter)
    superseded: Counter[StreamMetrics] = field(default_factory=Counter)
    rejected: Counter[StreamMetrics] = field(default_factory=Counter)
    first_unsettled: int | None = None

    def reject_some(self, count: int) -> None:
        """Count records as rejected that nobody can name, the largest stream's first."""
        for metrics, rows in self.delivered.most_common():
            share = min(count, rows)
            self.rejected[metrics] += share
            self.delivered[metrics] -= share
            count -= share

    def leave_open(self, records: Iterable[PendingRecord]) -> None:
        """Note that nobody knows whether these records were taken."""
        for record in records:
            if self.first_unsettled is None or record.sequence < self.first_unsettled:
                self.first_unsettled = record.sequence


def _identity(record: PendingRecord) -> tuple[int, int]:
    """Tell a record from all others, also where it was read anew from a file."""
    return record.sequence, id(record.metrics)


def with_superseded(record: PendingRecord) -> Iterator[PendingRecord]:
    """Yield a record and all that it replaced, the latest first."""
    current: PendingRecord | None = record
    while current is not None:
        yield current
        current = current.superseded
