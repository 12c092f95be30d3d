"""Collects records into batches, sends these in parallel, and settles what became of them.

All bookkeeping happens in the thread that reads the input. Worker threads only send batches
and report a :class:`BatchResult`, so nothing here needs a lock.

Every record is in one place until it is settled: in an open batch, in a batch in flight, or
waiting for its key. It leaves a place only when the next one has it, and a batch leaves when
all its bookkeeping succeeded. So whatever is raised, STATE never passes an unsettled record.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from singer_martech.delivery.batch_result import BatchResult
from singer_martech.delivery.key_order import KeyOrder
from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MartechError, Stopped
from singer_martech.http.request import RequestStats
from singer_martech.runtime.shutdown import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchCounts
    from singer_martech.delivery.checkpoint import Checkpoints
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.rejects import Rejects
    from singer_martech.runtime.shutdown import ShutdownSignal

logger = logging.getLogger(__name__)

_MAX_PENDING_STATES = 10_000
_MAX_OPEN_BATCHES = 100
"""A batch on disk holds two files open."""
_MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Batches that wait for a worker hold at most this much memory."""
_QUIET_SECONDS = 5.0


class _NotSent(MartechError):
    """A batch was still waiting when the run failed."""


class Dispatcher:
    """The records under way, from the reader to the vendor's response.

    Args:
        parallel_requests: How many requests are in flight at once.
        checkpoints: The STATE messages that wait for their records.
        rejects: Takes the records that are not delivered.
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
        self._awaited: set[BatchResult] = set()
        self._awaited_bytes = 0
        self._keys = KeyOrder()
        self._barrier: int | None = None
        self._work: queue.SimpleQueue[tuple[Destination, BatchResult] | None] = queue.SimpleQueue()
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._ending = False
        shutdown.on_request(lambda: self._wakeups.put(None))

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Take a record; wait while as much is under way as is allowed.

        Raises:
            MartechError: A batch failed, or too many records were rejected.
        """
        batch = self._open.get(destination)
        if (
            batch is not None
            and not self._keys.ready
            and batch.has_room_for(record)
            and not self._keys.is_blocked(record.key)
        ):  # common case
            batch.append(record)
            if batch.is_full:
                self._dispatch(destination, batch)
            return
        self._keys.ready.append((destination, record))
        self._place_ready()
        while self._keys.is_full and self._awaited:
            self._process_results(block=True)

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
            TooManyRejects: More were rejected than ``max_rejected_records`` allows. The
                record is in the report, but no STATE passes it.
            MartechError: The report cannot be written.
        """
        try:
            self._rejects.add(metrics.source, raw, reason, status)
        except TooManyRejects:
            metrics.rejected += 1
            self._block_state_at(sequence)
            raise
        except MartechError:
            self._block_state_at(sequence)
            raise
        metrics.rejected += 1

    def tick(self) -> None:
        """Do what is due: settle results, send what has waited long enough, write STATE.

        Raises:
            MartechError: As for ``submit``.
        """
        self._process_results(block=False)
        self._place_ready()
        now = time.monotonic()
        crowded = len(self._checkpoints) > _MAX_PENDING_STATES
        for destination, batch in list(self._open.items()):
            is_old = now - batch.opened_at >= self._oldest_seconds
            if (is_old or crowded) and self._has_capacity:
                self._dispatch(destination, batch)
        self.write_state()

    def flush(self) -> None:
        """Send everything and wait until it is settled.

        Raises:
            MartechError: As for ``submit``.
        """
        while self._open or self._awaited or self._keys.ready:
            self._place_ready()
            for destination, batch in list(self._open.items()):
                self._dispatch(destination, batch)
            if self._awaited:
                self._process_results(block=True)

    def flush_despite_rejects(self) -> None:
        """Send everything, however many records are rejected, so that STATE is exact.

        Nothing more is sent once a batch has failed.

        Raises:
            MartechError: A batch fails.
        """
        while not self._ending:
            try:
                self.flush()
            except TooManyRejects:
                continue
            return

    def finish_in_flight(self) -> None:
        """Wait for what was sent and send nothing new; after a signal, for a limited time.

        Failures are logged, since another one is being reported already.
        """
        self._ending = True
        deadline: float | None = None
        is_logged = False
        while True:
            try:
                self._settle_ended()
            except Stopped:
                continue
            except BaseException as error:  # noqa: BLE001 - the first error is the reason
                logger.warning("%s", str(error) or type(error).__name__)
                continue
            if not self._awaited:
                return
            if self._shutdown.is_set and deadline is None:
                deadline = time.monotonic() + self._grace_seconds
            left = _QUIET_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                logger.warning(
                    "%d request(s) were not answered within %.0f s after the signal; "
                    "their records are not in STATE and will be sent again",
                    len(self._awaited),
                    self._grace_seconds,
                )
                return
            if not self._wait(left) and deadline is None and not is_logged:
                is_logged = True
                logger.warning(
                    "the run has failed; waiting for the responses to %d request(s), so that "
                    "STATE is exact; a signal ends the wait",
                    len(self._awaited),
                )

    def write_state(self, *, now: bool = False) -> None:
        """Write the newest STATE whose records are all settled, if it is due."""
        if not (now or self._checkpoints.may_be_due):
            return
        oldest = self._first_unsettled()
        if now or self._checkpoints.is_due(oldest):
            self._rejects.sync()
            self._checkpoints.write(oldest)

    def close(self) -> None:
        """End the worker threads that have nothing to do."""
        for _ in self._workers:
            self._work.put(None)

    @property
    def _has_capacity(self) -> bool:
        if len(self._awaited) < self._parallel:
            return True
        # as many again may wait, so that no worker idles while the next is collected
        return len(self._awaited) < 2 * self._parallel and self._awaited_bytes < _MAX_QUEUED_BYTES

    def _place_ready(self) -> None:
        """Put each record that waited for its key into a batch."""
        ready = self._keys.ready
        while ready:
            destination, record = ready[0]
            if self._keys.is_blocked(record.key):
                self._keys.hold_next()
                continue
            batch = self._open.get(destination)
            if batch is not None and not batch.has_room_for(record):
                self._dispatch(destination, batch)  # it may hold the record's key: start over
                continue
            if batch is None:
                if destination.is_too_large(record.body):
                    self._reject_too_large(destination, record)
                    ready.popleft()
                    continue
                batch = self._open_batch(destination)
                continue
            batch.append(record)
            ready.popleft()
            if batch.is_full:
                self._dispatch(destination, batch)

    def _reject_too_large(self, destination: Destination, record: PendingRecord) -> None:
        reason = f"larger than a request may be (max_request_bytes {destination.max_bytes})"
        self.reject(record.metrics, record.sequence, record.raw, reason)

    def _open_batch(self, destination: Destination) -> Batch:
        if len(self._open) >= _MAX_OPEN_BATCHES:
            first = next(iter(self._open))
            self._dispatch(first, self._open[first])
        batch = self._open[destination] = destination.open_batch()
        return batch

    def _dispatch(self, destination: Destination, batch: Batch) -> None:
        while not self._has_capacity:
            self._process_results(block=True)
        self._shutdown.check()
        if self._open.get(destination) is not batch:
            return  # it was dispatched during the wait
        self._start_worker()
        batch_result = BatchResult(batch, allowed_rejects=self._rejects.left)
        self._in_flight.add(batch)
        del self._open[destination]
        if self._parallel > 1:
            self._keys.start(batch.keys)
        self._work.put((destination, batch_result))
        self._awaited.add(batch_result)
        self._awaited_bytes += batch.held_bytes

    def _start_worker(self) -> None:
        """Start a further worker, if there is work for it; work with fewer if none can start.

        Raises:
            MartechError: Not a single one can be started.
        """
        if len(self._workers) >= min(self._parallel, len(self._awaited) + 1):
            return
        worker = threading.Thread(target=self._send_batches, daemon=True, name="sender")
        try:
            worker.start()
        except RuntimeError as error:
            if not self._workers:
                raise MartechError(
                    f"no thread can be started to send requests ({error}); raise the process or "
                    "memory limit"
                ) from error
            return
        self._workers.append(worker)

    def _send_batches(self) -> None:
        """Send what is queued; the body of a worker thread."""
        while (work := self._work.get()) is not None:
            destination, batch_result = work
            try:
                self._send(destination, batch_result)
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                batch_result.crash = error
            # before the result shows: the next batch must not overtake one that failed
            self._ending = self._ending or not batch_result.is_complete
            batch_result.has_ended = True
            self._wakeups.put(None)
            self._wake()

    def _send(self, destination: Destination, batch_result: BatchResult) -> None:
        try:
            self._shutdown.check()
            if self._ending:
                raise _NotSent
            destination.send(batch_result.batch, batch_result)
        except MartechError as error:
            batch_result.failure = error
        else:
            batch_result.is_complete = True

    def _process_results(self, *, block: bool) -> None:
        if block:
            self._wait(1.0)
        self._settle_ended()
        self._shutdown.check()
        self.write_state()
        if self._awaited:
            self._while_waiting()

    def _wait(self, seconds: float) -> bool:
        """Wait until a batch is done or a signal comes; return whether one did in time."""
        if any(batch_result.has_ended for batch_result in self._awaited):
            return True
        try:
            self._wakeups.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def _settle_ended(self) -> None:
        """Settle the batches that are done.

        Raises:
            MartechError: One failed, or too many of its records were rejected.
        """
        for batch_result in [each for each in self._awaited if each.has_ended]:
            self._settle(batch_result)

    def _settle(self, batch_result: BatchResult) -> None:
        """Account for every record of a batch; until all is done, it stays in flight.

        Raises:
            MartechError: It failed, or too many of its records were rejected.
        """
        batch = batch_result.batch
        self._awaited.discard(batch_result)
        self._awaited_bytes -= batch.held_bytes
        counts = batch_result.counts()
        failure = self._reject_all(batch_result, counts)
        for metrics, count in counts.delivered.items():
            metrics.delivered += count
        for metrics, count in counts.superseded.items():
            metrics.superseded += count
        self._count_requests(batch_result)
        if counts.first_unsettled is not None:
            self._block_state_at(counts.first_unsettled)
        if batch_result.is_complete:
            self._keys.finish(batch.keys)
        self._in_flight.discard(batch)
        batch_result.close()
        if batch_result.crash is not None:
            raise batch_result.crash
        # the batch that failed first says why, and may be settled later than this one
        if failure is not None and not isinstance(failure, _NotSent):
            raise failure

    def _reject_all(self, batch_result: BatchResult, counts: BatchCounts) -> MartechError | None:
        """Report the rejected records; return why the run cannot go on, if it cannot."""
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
                failure = failure or error
        if batch_result.is_complete:
            try:
                self._reject_unidentified(batch_result, counts)
            except MartechError as error:
                failure = failure or error
        return failure or batch_result.failure

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

    def _block_state_at(self, sequence: int) -> None:
        """Block STATE from this sequence on, for the rest of the run."""
        if self._barrier is None or sequence < self._barrier:
            self._barrier = sequence

    def _first_unsettled(self) -> int | None:
        sequences = [self._barrier, self._keys.first_sequence()]
        sequences += [batch.first_sequence for batch in self._open.values()]
        sequences += [batch.first_sequence for batch in self._in_flight]
        return min((each for each in sequences if each is not None), default=None)
