"""Work done aside, so that the main thread hears a signal while a vendor is silent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from singer_martech.runtime.shutdown import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.runtime.shutdown import ShutdownSignal

T = TypeVar("T")

_POLL_SECONDS = 0.2


def run_interruptibly(
    work: Callable[[], T], shutdown: ShutdownSignal, grace_seconds: float = GRACE_SECONDS
) -> T:
    """Do some work in a thread of its own and return its result.

    Reading from a connection goes on after a signal, for as long as the vendor likes. So
    the main thread only waits for whoever reads. In any other thread, the work is done at
    once: there, somebody else waits already.

    Args:
        work: What to do.
        shutdown: Ends the wait.
        grace_seconds: How long the work may go on after that; then it is left to itself.

    Raises:
        Stopped: The run was asked to end, and the work has not ended in time.
        BaseException: What the work raised.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    job = _Job(work)
    while not job.done.wait(_POLL_SECONDS):
        if shutdown.is_set:
            job.done.wait(grace_seconds)
            break
    if not job.done.is_set():
        shutdown.check()
    return job.result()


class _Job(Generic[T]):
    """Some work in a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        """Begin it."""
        self.done = threading.Event()
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        # a daemon: a connection that stays silent must not hold up the end
        self._thread = threading.Thread(target=self._run, name="aside", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._error = error
        self.done.set()

    def result(self) -> T:
        """Return what came of it, or raise what went wrong."""
        self._thread.join()
        error, self._error = self._error, None
        if error is None:
            return self._results[0]
        try:
            raise error
        finally:
            del error  # whose traceback holds this frame
