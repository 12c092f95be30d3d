"""Settle records: count them, report rejected ones, and block STATE at failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MartechError
from singer_martech.http.stats import RequestStats

if TYPE_CHECKING:
    from singer_martech.delivery.batch_result import BatchCounts, BatchResult
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.rejects import Rejects


class Settlement:
    """The bookkeeping of one run.

    Attributes:
        stats: Requests so far; a request with records of several streams counts once.
        barrier: The sequence from which on STATE is blocked for the rest of the run, or None.
    """

    def __init__(self, rejects: Rejects) -> None:
        self.stats = RequestStats()
        self.barrier: int | None = None
        self._rejects = rejects

    def reject(
        self,
        metrics: StreamMetrics,
        sequence: int,
        raw: bytes,
        reason: str,
        status: int | None = None,
    ) -> None:
        """Report a record that is not delivered.

        Raises:
            TooManyRejects: The record exceeds ``max_rejected_records``. It is in the report,
                but no STATE passes it.
            MartechError: The report cannot be written.
        """
        try:
            self._rejects.add(metrics.source, raw, reason, status)
        except TooManyRejects:
            metrics.rejected += 1
            self.block_state_at(sequence)
            raise
        except MartechError:
            self.block_state_at(sequence)
            raise
        metrics.rejected += 1

    def settle(self, batch_result: BatchResult) -> MartechError | None:
        """Count and report every record of a batch.

        Returns:
            The error that ends the run, or None.
        """
        counts = batch_result.counts()
        failure = self._reject_all(batch_result, counts)
        for metrics, count in counts.delivered.items():
            metrics.delivered += count
        for metrics, count in counts.superseded.items():
            metrics.superseded += count
        self._count_requests(batch_result)
        if counts.first_unsettled is not None:
            self.block_state_at(counts.first_unsettled)
        return failure

    def block_state_at(self, sequence: int) -> None:
        """Block STATE from this sequence on, for the rest of the run."""
        if self.barrier is None or sequence < self.barrier:
            self.barrier = sequence

    def _reject_all(self, batch_result: BatchResult, counts: BatchCounts) -> MartechError | None:
        failure = self._reject_identified(batch_result)
        if batch_result.is_complete:
            try:
                self._reject_unidentified(batch_result, counts)
            except MartechError as error:
                if batch_result.batch.first_sequence is not None:
                    self.block_state_at(batch_result.batch.first_sequence)
                failure = _more_important(failure, error)
        return failure or batch_result.failure

    def _reject_identified(self, batch_result: BatchResult) -> MartechError | None:
        failure: MartechError | None = None
        for rejection in batch_result.rejections:
            record = rejection.record
            try:
                self.reject(
                    record.metrics,
                    record.sequence,
                    record.raw,
                    rejection.reason,
                    rejection.status,
                )
            except MartechError as error:
                self.block_state_at(record.sequence)  # wherever it was raised
                failure = _more_important(failure, error)
        return failure

    def _reject_unidentified(self, batch_result: BatchResult, counts: BatchCounts) -> None:
        """Report the rejected records that cannot be identified."""
        for metrics, count in counts.rejected.items():
            metrics.rejected += count
        for unidentified in batch_result.unidentified:
            stream = counts.rejected.most_common(1)[0][0].source
            self._rejects.add_unidentified(stream, unidentified)

    def _count_requests(self, batch_result: BatchResult) -> None:
        self.stats.add(batch_result.stats)
        rows = sum(batch_result.batch.rows_by_stream.values())
        for metrics, count in batch_result.batch.rows_by_stream.items():
            metrics.requests += batch_result.stats.requests
            metrics.retries += batch_result.stats.retries
            metrics.bytes += batch_result.stats.bytes * count // rows
            metrics.ended_at = time.monotonic()


def _more_important(first: MartechError | None, second: MartechError) -> MartechError:
    """Return the first error, but the newest count of rejected records."""
    is_newer_count = isinstance(first, TooManyRejects) and isinstance(second, TooManyRejects)
    return second if first is None or is_newer_count else first
