"""Collect records into batches, send these in parallel, and settle the results.

All bookkeeping happens in the thread that reads the input. Worker threads only send batches
and return a :class:`BatchResult`, so no locks are needed.

Until it is settled, every record is held in an open batch, in a batch in flight, or by the
key order. It is added to the next container before it is removed from the previous one, and a
batch is removed after its bookkeeping succeeded. So no exception lets STATE pass an unsettled
record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from singer_martech.delivery.batch_result import BatchResult
from singer_martech.delivery.final_wait import wait_for_all
from singer_martech.delivery.key_order import KeyOrder
from singer_martech.delivery.no_ledger import NoLedger
from singer_martech.delivery.open_batches import OpenBatches
from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.delivery.sender_pool import NotSent, SenderPool
from singer_martech.delivery.settlement import Settlement
from singer_martech.runtime.shutdown import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.checkpoint import Checkpoints
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.rejects import Rejects
    from singer_martech.runtime.shutdown import ShutdownSignal

_MAX_PENDING_STATES = 10_000
_RECORDS_AT_ONCE = 256
"""Number of records that are checked together; if one of them must wait, each is checked alone."""


class Dispatcher:
    """Manages all records between the reader and the vendor's response.

    Args:
        parallel_requests: The maximum number of requests in flight.
        checkpoints: The STATE messages that wait for their records.
        rejects: Stores the records that are not delivered.
        shutdown: Ends all waits on a signal.
        oldest_seconds: The longest time a record waits for its batch to fill.
        wake: Called from a worker thread when a batch is done, to end the reader's wait.
        while_waiting: Called about once a second while the dispatcher waits for capacity.
        grace_seconds: How long after a signal to wait for the responses to requests in flight.
        ledger: Decides which records are unchanged, before they are submitted.

    Attributes:
        settlement: The bookkeeping of settled batches.
    """

    def __init__(  # noqa: PLR0913 - each is a separate part
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
        ledger: NoLedger | None = None,
    ) -> None:
        """Create a dispatcher; threads are started on demand."""
        self.settlement = Settlement(rejects)
        self._pool = SenderPool(parallel_requests, shutdown, wake)
        self._checkpoints = checkpoints
        self._rejects = rejects
        self._shutdown = shutdown
        self._oldest_seconds = oldest_seconds
        self._while_waiting = while_waiting
        self._grace_seconds = grace_seconds
        self._open = OpenBatches()
        self._in_flight: set[Batch] = set()
        self._keys = KeyOrder()
        self._ledger = NoLedger() if ledger is None else ledger
        self._ledger.connect(self.submit_all)

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Add a record to a batch; block while the limits on work in progress are reached.

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
        self._batch_ready()
        while self._keys.is_full and self._pool.awaited:
            self._process_results(block=True)

    def submit_all(self, destination: Destination, records: Sequence[PendingRecord]) -> None:
        """Add records of one stream in order; see ``submit``.

        Raises:
            MartechError: As for ``submit``.
        """
        at = 0
        try:
            for at in self._submit_in_order(destination, records):  # noqa: B007 - used below
                pass
        except BaseException:
            if at < len(records):
                self.settlement.block_state_at(records[at].sequence)
            raise

    def _submit_in_order(
        self, destination: Destination, records: Sequence[PendingRecord]
    ) -> Iterator[int]:
        """Submit records; yield how many are submitted, whenever there are more."""
        at = 0
        while at < len(records):
            block = records[at : at + _RECORDS_AT_ONCE]
            one_by_one = not self._keys.are_free(block)
            batch = None if one_by_one else self._open.get(destination)
            added = 0 if batch is None else batch.extend(block)
            at += added
            yield at
            if batch is not None and batch.is_full:
                self._dispatch(destination, batch)
                continue
            for record in block if one_by_one else block[added : added + 1]:
                self.submit(destination, record)
                at += 1
                yield at

    def tick(self) -> None:
        """Do the regular work: settle results, send batches that are old enough, write STATE.

        Raises:
            MartechError: As for ``submit``.
        """
        self._process_results(block=False)
        self._ledger.release()
        self._batch_ready()
        self._limit_open()
        now = time.monotonic()
        crowded = len(self._checkpoints) > _MAX_PENDING_STATES
        for destination, batch in list(self._open.items()):
            is_old = now - batch.opened_at >= self._oldest_seconds
            if (is_old or crowded) and self._pool.has_capacity:
                self._dispatch(destination, batch)
        self.write_state()

    def flush(self) -> None:
        """Send everything and wait until all is settled.

        Raises:
            MartechError: As for ``submit``.
        """
        self._ledger.release()
        while self._open or self._pool.awaited or self._keys.ready:
            self._batch_ready()
            for destination, batch in list(self._open.items()):
                self._dispatch(destination, batch)
            if self._pool.awaited:
                self._process_results(block=True)

    def flush_despite_rejects(self) -> None:
        """Send everything even beyond the reject limit, so that STATE is exact.

        Nothing more is sent once a batch has failed.

        Raises:
            MartechError: A batch fails.
        """
        while not self._pool.is_closed:
            try:
                self.flush()
            except TooManyRejects:
                continue
            return

    def finish_in_flight(self) -> None:
        """Wait for requests in flight and send nothing new; the wait is limited after a signal.

        Failures are only logged, because another error is already being reported.
        """
        self._pool.is_closed = True
        wait_for_all(self._pool, self._settle_ended, self._shutdown, self._grace_seconds)

    def write_state(self, *, now: bool = False) -> None:
        """Write the newest STATE whose records are all settled, if it is due."""
        if not (now or self._checkpoints.may_be_due):
            return
        oldest = self._first_unsettled()
        if now or self._checkpoints.is_due(oldest):
            self._rejects.sync()
            self._ledger.before_state(oldest)
            self._checkpoints.write(oldest)

    def close(self) -> None:
        """Stop the idle worker threads."""
        self._pool.close()
        self._ledger.close()

    def _batch_ready(self) -> None:
        """Put each record that waited for its key into a batch."""
        ready = self._keys.ready
        while ready:
            destination, record = ready[0]
            if self._keys.is_blocked(record.key):
                self._keys.hold_next()
                continue
            batch = self._open.get(destination)
            if batch is not None and not batch.has_room_for(record):
                self._dispatch(destination, batch)  # this may block the record's key: check again
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

    def _limit_open(self) -> None:
        for destination, batch in self._open.surplus():
            self._dispatch(destination, batch)

    def _reject_too_large(self, destination: Destination, record: PendingRecord) -> None:
        reason = f"larger than a request may be (max_request_bytes {destination.max_bytes})"
        self.settlement.reject(record.metrics, record.sequence, record.raw, reason)
        self._ledger.drop(record)

    def _open_batch(self, destination: Destination) -> Batch:
        if self._open.is_check_due:
            self._limit_open()
        batch = self._open[destination] = destination.open_batch()
        return batch

    def _dispatch(self, destination: Destination, batch: Batch) -> None:
        while not self._pool.has_capacity:
            self._process_results(block=True)
        self._shutdown.check()
        if self._open.get(destination) is not batch:
            return  # it was dispatched during the wait
        self._ledger.before_send()
        self._pool.start_worker()
        batch_result = BatchResult(batch, allowed_rejects=self._rejects.left)
        self._in_flight.add(batch)
        del self._open[destination]
        if self._pool.size > 1:
            self._keys.start(batch.keys)
        self._pool.send(destination, batch_result)

    def _process_results(self, *, block: bool) -> None:
        if block:
            self._pool.wait(1.0)
        self._settle_ended()
        self._shutdown.check()
        self.write_state()
        if self._pool.awaited:
            self._while_waiting()

    def _settle_ended(self) -> None:
        """Settle the batches that are done."""
        for batch_result in self._pool.ended():
            self._settle(batch_result)

    def _settle(self, batch_result: BatchResult) -> None:
        """Count and report every record of a batch; it stays in flight until that succeeded."""
        batch = batch_result.batch
        self._pool.take_back(batch_result)
        failure = self.settlement.settle(batch_result)
        self._ledger.settle(batch_result)
        if batch_result.is_complete:
            self._keys.finish(batch.keys)
        self._in_flight.discard(batch)
        batch_result.close()
        if batch_result.crash is not None:
            raise batch_result.crash
        # the batch that failed first raises the cause; it may be settled later than this one
        if failure is not None and not isinstance(failure, NotSent):
            raise failure

    def _first_unsettled(self) -> int | None:
        sequences = [
            self.settlement.barrier,
            self._keys.first_sequence(),
            self._ledger.first_sequence,
        ]
        sequences += [batch.first_sequence for batch in self._open.values()]
        sequences += [batch.first_sequence for batch in self._in_flight]
        return min((each for each in sequences if each is not None), default=None)
