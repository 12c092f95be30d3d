"""Getting records to a vendor: gathered, sent in parallel, in order for each key.

All bookkeeping happens in the thread that reads the input; worker threads only send
batches and report an :class:`BatchResult`. So nothing here needs a lock.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from singer_martech.delivery.batch_result import BatchResult
from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MartechError, Stopped
from singer_martech.http.request import RequestStats
from singer_martech.runtime.shutdown import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchCounts
    from singer_martech.delivery.checkpoint import Checkpoints
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.rejects import Rejects
    from singer_martech.runtime.shutdown import ShutdownSignal

logger = logging.getLogger(__name__)

_MAX_HELD_BACK = 20_000
_MAX_HELD_BACK_BYTES = 64 * 1024 * 1024
_MAX_PENDING_STATES = 10_000
_QUIET_SECONDS = 5.0


class _NotSent(MartechError):
    """A batch was still waiting when the run failed."""


class Dispatcher:
    """The records under way, from the reader to the vendor's answer.

    Args:
        parallel_requests: How many requests are in flight at once.
        checkpoints: The STATE messages that wait for their records.
        rejects: Where records that are not taken go.
        shutdown: Ends everything on a signal.
        oldest_seconds: How long a record may wait for others to share its request.
        wake: Called from a worker thread when a batch is done, to end the reader's wait.
        while_waiting: Called about once a second while a batch waits for its turn.
        grace_seconds: How long requests that were sent may take to be answered after a
            signal.

    Attributes:
        stats: What was sent so far; a request with records of several streams is one.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        parallel_requests: int,
        checkpoints: Checkpoints,
        rejects: Rejects,
        shutdown: ShutdownSignal,
        oldest_seconds: float,
        wake: Callable[[], None],
        while_waiting: Callable[[], None],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Start no thread yet."""
        self.stats = RequestStats()
        self._parallel = parallel_requests
        self._checkpoints = checkpoints
        self._rejects = rejects
        self._shutdown = shutdown
        self._oldest_seconds = oldest_seconds
        self._wake = wake
        self._while_waiting = while_waiting
        self._grace_seconds = grace_seconds
        self._open: dict[Destination, Batch] = {}
        self._in_flight: set[Batch] = set()
        self._busy_keys: set[Hashable] = set()
        self._held_back: dict[Hashable | None, deque[tuple[Destination, PendingRecord]]] = {}
        self._held_back_count = 0
        self._held_back_bytes = 0
        self._released: deque[tuple[Destination, PendingRecord]] = deque()
        self._barrier: int | None = None
        self._work: queue.SimpleQueue[tuple[Destination, Batch] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BatchResult | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._ending = False
        shutdown.on_request(lambda: self._done.put(None))

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Take in a record; waits while as much is under way as is allowed.

        Raises:
            MartechError: A batch failed, or too many records were rejected.
        """
        batch = self._open.get(destination)
        if (
            batch is not None
            and not self._released
            and batch.has_room_for(record)
            and not self._is_busy(record.key)
        ):  # the way of nearly all
            self._add(batch, destination, record)
            return
        self._released.append((destination, record))
        self._add_released()
        while self._holds_too_much and self._in_flight:
            self._process_results(block=True)

    def reject(
        self,
        metrics: StreamMetrics,
        sequence: int,
        raw: bytes,
        reason: str,
        status: int | None = None,
    ) -> None:
        """Report a record that is not taken.

        Raises:
            TooManyRejects: More were rejected than ``max_rejected_records`` allows. The
                record is in the report, but no STATE passes it.
        """
        metrics.rejected += 1
        try:
            self._rejects.add(metrics.source, raw, reason, status)
        except MartechError:
            self._block_state_at(sequence)
            raise

    def tick(self) -> None:
        """Do what time asks for: take in outcomes, send what waits, write STATE.

        Raises:
            MartechError: As for ``submit``.
        """
        self._process_results(block=False)
        self._add_released()
        now = time.monotonic()
        crowded = len(self._checkpoints) > _MAX_PENDING_STATES
        for destination, batch in list(self._open.items()):
            is_old = now - batch.opened_at >= self._oldest_seconds
            if (is_old or crowded) and self._has_capacity:
                self._dispatch(destination, batch)
        self.write_state()

    def flush(self) -> None:
        """Send everything and wait until it is through.

        Raises:
            MartechError: As for ``submit``.
        """
        while self._open or self._in_flight or self._released:
            self._add_released()
            for destination, batch in list(self._open.items()):
                self._dispatch(destination, batch)
            if self._in_flight:
                self._process_results(block=True)

    def flush_despite_rejects(self) -> None:
        """Send everything, however many records are rejected, so that STATE is exact.

        Raises:
            MartechError: A batch failed in another way.
        """
        while True:
            try:
                self.flush()
            except TooManyRejects:
                continue
            return

    def finish_in_flight(self) -> None:
        """Wait for what was sent, send nothing new; after a signal, for a limited time.

        Failures are logged, since another one is being reported already.
        """
        self._ending = True
        deadline = time.monotonic() + self._grace_seconds if self._shutdown.is_set else None
        is_told = False
        while self._in_flight:
            left = _QUIET_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                logger.warning(
                    "%d request(s) were not answered within %.0f s after the signal; "
                    "their records are not in STATE and will be sent again",
                    len(self._in_flight),
                    self._grace_seconds,
                )
                return
            try:
                batch_result = self._done.get(timeout=left)
            except queue.Empty:
                if deadline is None and not is_told:
                    is_told = True
                    logger.warning(
                        "the run has failed; what became of %d request(s) that were sent is "
                        "still waited for, for STATE to be exact; a signal ends the wait",
                        len(self._in_flight),
                    )
                continue
            try:
                if batch_result is not None:
                    self._settle(batch_result)
                elif deadline is None:
                    deadline = time.monotonic() + self._grace_seconds
            except (Stopped, _NotSent):
                continue
            except MartechError as error:
                logger.warning("%s", error)

    def write_state(self, *, now: bool = False) -> None:
        """Write the newest STATE whose records are all settled, if it is time."""
        oldest = self._oldest_open()
        if now or self._checkpoints.is_due(oldest):
            self._rejects.sync()
            self._checkpoints.write(oldest)

    def close(self) -> None:
        """End the worker threads that have nothing to do."""
        for _ in self._workers:
            self._work.put(None)

    @property
    def _has_capacity(self) -> bool:
        # as many again may wait, so that no worker idles while the next is gathered
        return len(self._in_flight) < 2 * self._parallel

    @property
    def _holds_too_much(self) -> bool:
        return (
            self._held_back_count > _MAX_HELD_BACK or self._held_back_bytes > _MAX_HELD_BACK_BYTES
        )

    def _hold_back(
        self, key: Hashable | None, destination: Destination, record: PendingRecord
    ) -> None:
        self._held_back.setdefault(key, deque()).append((destination, record))
        self._held_back_count += 1
        self._held_back_bytes += _size(record)

    def _add_released(self) -> None:
        """Give each record that waits its place; until it has one, STATE sees it wait."""
        while self._released:
            destination, record = self._released[0]
            if self._is_busy(record.key):
                self._released.popleft()
                self._hold_back(record.key, destination, record)
                continue
            batch = self._open.get(destination)
            if batch is not None and not batch.has_room_for(record):
                self._dispatch(
                    destination, batch
                )  # which may hold the item's key, hence all over again
                continue
            self._released.popleft()
            self._add(batch, destination, record)

    def _add(self, batch: Batch | None, destination: Destination, record: PendingRecord) -> None:
        if batch is None:
            if destination.is_too_large(record.body):
                reason = f"larger than a request may be (max_request_bytes {destination.max_bytes})"
                self.reject(record.metrics, record.sequence, record.raw, reason)
                return
            batch = self._open[destination] = destination.open_batch()
        batch.append(record)
        if batch.is_full:
            self._dispatch(destination, batch)

    def _is_busy(self, key: Hashable | None) -> bool:
        return key is not None and (key in self._busy_keys or key in self._held_back)

    def _dispatch(self, destination: Destination, batch: Batch) -> None:
        while not self._has_capacity:
            self._process_results(block=True)
        self._shutdown.check()
        if self._open.get(destination) is not batch:
            return  # it went while this waited
        del self._open[destination]
        self._in_flight.add(batch)
        if self._parallel > 1:
            self._busy_keys.update(batch.keys)
        if len(self._workers) < min(self._parallel, len(self._in_flight)):
            worker = threading.Thread(target=self._send_batches, daemon=True, name="sender")
            self._workers.append(worker)
            worker.start()
        self._work.put((destination, batch))

    def _send_batches(self) -> None:
        """Send what is queued; the body of a worker thread."""
        while (work := self._work.get()) is not None:
            destination, batch = work
            batch_result = BatchResult(batch)
            try:
                self._shutdown.check()
                if self._ending:
                    batch_result.failure = _NotSent()
                else:
                    destination.send(batch, batch_result)
            except MartechError as error:
                batch_result.failure = error
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                batch_result.crash = error
            # at once: the next batch may wait, and must not overtake the one that failed
            self._ending = self._ending or not batch_result.is_complete
            self._done.put(batch_result)
            self._wake()

    def _process_results(self, *, block: bool) -> None:
        try:
            while True:
                batch_result = self._done.get(block=block, timeout=1.0)
                if batch_result is not None:
                    self._settle(batch_result)
                self._shutdown.check()
                block = False
        except queue.Empty:
            pass
        self.write_state()
        if self._in_flight:
            self._while_waiting()

    def _settle(self, batch_result: BatchResult) -> None:
        """Take in what became of a batch.

        Raises:
            MartechError: It failed, or too many of its records were rejected.
        """
        batch = batch_result.batch
        self._in_flight.discard(batch)
        counts = batch_result.counts()
        for metrics, count in counts.delivered.items():
            metrics.delivered += count
        for metrics, count in counts.superseded.items():
            metrics.superseded += count
        self._count_requests(batch_result)
        if counts.first_unsettled is not None:
            self._block_state_at(counts.first_unsettled)
        failure = batch_result.failure
        for rejection in batch_result.rejections:
            record = rejection.record
            try:
                self.reject(
                    record.metrics, record.sequence, record.raw, rejection.reason, rejection.status
                )
            except MartechError as error:
                failure = failure or error
        if batch_result.is_complete:
            try:
                self._reject_unidentified(batch_result, counts)
            except MartechError as error:
                failure = failure or error
            self._release(batch)
        batch_result.close()
        if batch_result.crash is not None:
            raise batch_result.crash
        if failure is not None:
            raise failure

    def _reject_unidentified(self, batch_result: BatchResult, counts: BatchCounts) -> None:
        """Report the records that were not taken, but that nobody can name.

        Raises:
            TooManyRejects: As for ``reject``; no STATE passes any record of the batch.
        """
        for metrics, count in counts.rejected.items():
            metrics.rejected += count
        try:
            for unidentified in batch_result.unidentified:
                stream = counts.rejected.most_common(1)[0][0].source
                self._rejects.add_unidentified(stream, unidentified)
        except MartechError:
            if batch_result.batch.first_sequence is not None:
                self._block_state_at(batch_result.batch.first_sequence)
            raise

    def _count_requests(self, batch_result: BatchResult) -> None:
        self.stats.add(batch_result.stats)
        rows = sum(batch_result.batch.rows_by_stream.values())
        for metrics, count in batch_result.batch.rows_by_stream.items():
            metrics.requests += batch_result.stats.requests
            metrics.retries += batch_result.stats.retries
            metrics.bytes += batch_result.stats.bytes * count // rows
            metrics.ended_at = time.monotonic()

    def _release(self, batch: Batch) -> None:
        """Let records go on that waited for one of their key."""
        self._busy_keys.difference_update(batch.keys)
        if not self._held_back:
            return
        for key in batch.keys:
            waiting = self._held_back.pop(key, ())
            self._held_back_count -= len(waiting)
            self._held_back_bytes -= sum(_size(record) for _, record in waiting)
            self._released.extend(waiting)

    def _block_state_at(self, sequence: int) -> None:
        """Let no STATE pass the record at this place."""
        if self._barrier is None or sequence < self._barrier:
            self._barrier = sequence

    def _oldest_open(self) -> int | None:
        sequences = [self._barrier]
        sequences.extend(batch.first_sequence for batch in self._open.values())
        sequences.extend(batch.first_sequence for batch in self._in_flight)
        sequences.extend(waiting[0][1].sequence for waiting in self._held_back.values())
        sequences.extend(record.sequence for _, record in self._released)
        return min((sequence for sequence in sequences if sequence is not None), default=None)


def _size(record: PendingRecord) -> int:
    return len(record.body) + len(record.raw)
