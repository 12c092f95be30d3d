"""The result of sending a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.stats import RequestStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.metrics import StreamMetrics

OUTCOME_UNKNOWN = "outcome unknown"
"""The reject reason of a record that may have been delivered but must not be sent twice."""


class BisectStopped(MartechError):
    """The rest of the batch was not sent, because too many records were rejected."""


@dataclass(frozen=True)
class Rejection:
    """A record that was not delivered; ``status`` is the HTTP status of the response, if any."""

    record: PendingRecord
    reason: str
    status: int | None = None


@dataclass(frozen=True)
class UnidentifiedRejects:
    """Records that were not delivered and cannot be identified within the batch.

    Attributes:
        detail: More for the report, such as the first lines of ``file``.
        name: The vendor's name for the request.
        file: The vendor's error file, which is copied beside the reject report.
    """

    count: int
    reason: str
    detail: str
    name: str
    file: IO[bytes] | None = None


@dataclass(eq=False)
class BatchResult:
    """The result of one batch; written by a worker, then read by the main thread.

    Attributes:
        allowed_rejects: How many records may be rejected before the run fails; None for any.
        unidentified: Rejected records that are not in ``rejections``.
        is_complete: Whether sending returned, so that every record was delivered or rejected.
        has_ended: Whether the worker has finished with it.
        failure: Why the run cannot continue, or None.
        crash: An unexpected error, or None.
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
        """Record that these records were delivered, even if the batch fails later."""
        self._delivered.extend(records)

    def reject(self, record: PendingRecord, reason: str, status: int | None = None) -> None:
        """Record that this record was rejected; others may still be delivered."""
        self.rejections.append(Rejection(record, reason, status))

    @property
    def rejects_exceeded(self) -> bool:
        """Whether more records were rejected than the run allows."""
        return self.allowed_rejects is not None and len(self.rejections) > self.allowed_rejects

    def close(self) -> None:
        """Close the error files."""
        for each in self.unidentified:
            if each.file is not None:
                each.file.close()

    @property
    def is_accepted(self) -> bool:
        """Whether the vendor accepted every record, and none replaced another."""
        none_superseded = len(self.batch) == sum(self.batch.rows_by_stream.values())
        return self.is_complete and none_superseded and not (self.rejections or self.unidentified)

    def fates(self) -> Iterator[tuple[PendingRecord, bool]]:
        """Yield every record, the oldest of a key first, and whether it was accepted.

        A record whose outcome is unknown counts as not accepted.
        """
        rejected = _identities(each.record for each in self.rejections)
        delivered = _identities(self._delivered)
        for newest in self.batch:
            chain = list(with_superseded(newest))
            kept = next((each for each in chain if _identity(each) not in rejected), None)
            is_accepted = (
                kept is not None
                and not self.unidentified
                and (self.is_complete or _identity(kept) in delivered)
            )
            for record in reversed(chain):
                yield record, is_accepted and record is kept

    def counts(self) -> BatchCounts:
        """Return the number of delivered, superseded and rejected records per stream."""
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
        rejected = _identities(each.record for each in self.rejections)
        delivered = _identities(self._delivered)
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
    """Counts per stream.

    Attributes:
        rejected: Unidentified rejected records.
        first_unsettled: The smallest sequence of a record whose outcome is unknown, or None.
    """

    delivered: Counter[StreamMetrics] = field(default_factory=Counter)
    superseded: Counter[StreamMetrics] = field(default_factory=Counter)
    rejected: Counter[StreamMetrics] = field(default_factory=Counter)
    first_unsettled: int | None = None

    def reject_some(self, count: int) -> None:
        """Count unidentified records as rejected, starting with the stream that has most."""
        for metrics, rows in self.delivered.most_common():
            share = min(count, rows)
            self.rejected[metrics] += share
            self.delivered[metrics] -= share
            count -= share

    def leave_open(self, records: Iterable[PendingRecord]) -> None:
        """Record that the outcome of these records is unknown."""
        for record in records:
            if self.first_unsettled is None or record.sequence < self.first_unsettled:
                self.first_unsettled = record.sequence


def _identity(record: PendingRecord) -> tuple[int, int]:
    """Return the identity of a record; reading it again from disk gives an equal one."""
    return record.sequence, id(record.metrics)


def _identities(records: Iterable[PendingRecord]) -> set[tuple[int, int]]:
    return set(map(_identity, records))


def with_superseded(record: PendingRecord) -> Iterator[PendingRecord]:
    """Yield a record and all records that it replaced, latest first."""
    current: PendingRecord | None = record
    while current is not None:
        yield current
        current = current.superseded
