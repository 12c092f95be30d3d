"""The threads that send batches."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.runtime.threads import Thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.destination import Destination
    from singer_martech.runtime.shutdown import ShutdownSignal

_MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Memory limit for the batches that wait for a worker."""


class NotSent(MartechError):
    """The batch was still queued when the run failed."""


class SenderPool:
    """Sends batches in parallel; its methods are called from one thread.

    Args:
        size: The maximum number of requests in flight.
        shutdown: Ends all waits on a signal.
        wake: Called from a worker when a batch is done.

    Attributes:
        awaited: The batches that were queued and not yet taken back, in this order.
        is_closed: Whether sending has stopped, because a batch failed or the run ends.
    """

    def __init__(self, size: int, shutdown: ShutdownSignal, wake: Callable[[], None]) -> None:
        """Create a pool; threads are started on demand."""
        self.size = size
        self._max_workers = size
        self.awaited: dict[BatchResult, None] = {}
        self.is_closed = False
        self._awaited_bytes = 0
        self._shutdown = shutdown
        self._wake = wake
        self._work: queue.SimpleQueue[tuple[Destination, BatchResult] | None] = queue.SimpleQueue()
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._workers: list[Thread] = []
        shutdown.on_request(lambda: self._wakeups.put(None))

    @property
    def has_capacity(self) -> bool:
        """Whether another batch may be queued."""
        if len(self.awaited) < self.size:
            return True
        # a batch per worker may be queued, so that no worker is idle while one fills
        return len(self.awaited) < 2 * self.size and self._awaited_bytes < _MAX_QUEUED_BYTES

    def start_worker(self) -> None:
        """Start another worker if there is work for it; ignore a failure if others are running.

        Raises:
            MartechError: No worker can be started.
        """
        if len(self._workers) >= min(self._max_workers, len(self.awaited) + 1):
            return
        worker = Thread(self._send_batches, name="sender")
        try:
            worker.start()
        except (RuntimeError, MemoryError) as error:
            if not self._workers:
                raise MartechError(
                    f"no thread can be started to send requests ({error}); raise the process or "
                    "memory limit"
                ) from error
            self._max_workers = len(self._workers)  # another attempt may take seconds
            return
        self._workers.append(worker)

    def send(self, destination: Destination, batch_result: BatchResult) -> None:
        """Queue a batch."""
        self._work.put((destination, batch_result))
        self.awaited[batch_result] = None
        self._awaited_bytes += batch_result.batch.held_bytes

    def take_back(self, batch_result: BatchResult) -> None:
        """Remove a batch from ``awaited``."""
        self.awaited.pop(batch_result, None)
        self._awaited_bytes -= batch_result.batch.held_bytes

    def ended(self) -> list[BatchResult]:
        """Return the batches that are done."""
        return [batch_result for batch_result in self.awaited if batch_result.has_ended]

    def wait(self, seconds: float) -> bool:
        """Wait until a batch is done or a signal comes; return False on a timeout."""
        if self.ended():
            return True
        try:
            self._wakeups.get(timeout=seconds)
        except queue.Empty:
            self._fail_without_workers()
            return bool(self.ended())
        return True

    def _fail_without_workers(self) -> None:
        """Fail all batches if no worker is left, because none had memory even for an error."""
        if any(worker.is_alive() for worker in self._workers):
            return
        for batch_result in self.awaited:
            if not batch_result.has_ended:
                batch_result.crash = MartechError("the threads that send have ended: free memory")
                batch_result.has_ended = True

    def close(self) -> None:
        """Stop the idle workers."""
        for _ in self._workers:
            self._work.put(None)

    def _send_batches(self) -> None:
        """Send queued batches; the target of a worker thread."""
        while (work := self._work.get()) is not None:
            destination, batch_result = work
            try:
                self._send(destination, batch_result)
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                batch_result.crash = error
            finally:  # also if there is no memory to handle the error
                # set before has_ended: no batch may be sent after a failed one
                self.is_closed = self.is_closed or not batch_result.is_complete
                batch_result.has_ended = True
            self._wakeups.put(None)
            self._wake()

    def _send(self, destination: Destination, batch_result: BatchResult) -> None:
        try:
            self._shutdown.check()
            if self.is_closed:
                raise NotSent
            destination.send(batch_result.batch, batch_result)
        except MartechError as error:
            batch_result.failure = error
        else:
            batch_result.is_complete = True
