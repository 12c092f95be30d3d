"""Work that is done ahead of its turn, in threads, and handed over in order."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from singer_martech.runtime.shutdown import ShutdownSignal

T = TypeVar("T")

_POLL_SECONDS = 0.2


class _Job(Generic[T]):
    """One piece of work in a thread of its own."""

    def __init__(self, work: Callable[[], T], discard: Callable[[T], None]) -> None:
        """Begin it."""
        self.done = threading.Event()
        self._work = work
        self._discard = discard
        self._lock = threading.Lock()
        self._unwanted = False
        self._result: T | None = None
        self._error: BaseException | None = None
        # a daemon: a connection that stays silent must not hold up the end of a failed run
        threading.Thread(target=self._run, name="read-ahead", daemon=True).start()

    def result(self) -> T:
        """Return what came of it, or raise what went wrong."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value] # done without an error

    def abandon(self) -> None:
        """Throw its result away, now or when it comes."""
        with self._lock:
            self._unwanted = True
            if self._result is not None:
                self._discard(self._result)

    def _run(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for it
            self._error = error
        else:
            with self._lock:
                self._result = result
                if self._unwanted:
                    self._discard(result)
        self.done.set()


def prefetch(
    work: Iterable[Callable[[], T]],
    width: int,
    shutdown: ShutdownSignal,
    discard: Callable[[T], None],
) -> Generator[T, None, None]:
    """Yield the results of some work in its order, done by threads ahead of its turn.

    Args:
        work: The pieces of work, oldest first.
        width: How many results may be under way, waiting or in the caller's hands at once.
        shutdown: Ends the wait for a result.
        discard: Gives back a result that nobody will take.

    Raises:
        Stopped: The run was asked to end.
        BaseException: What a piece of work raised, when its turn comes.
    """
    todo = iter(work)
    jobs: deque[_Job[T]] = deque()
    try:
        while True:
            while len(jobs) < width and (piece := next(todo, None)) is not None:
                jobs.append(_Job(piece, discard))
            if not jobs:
                return
            # a look now and then, because a wait without end would not see a signal
            while not jobs[0].done.wait(_POLL_SECONDS):
                shutdown.check()
            yield jobs[0].result()
            jobs.popleft()
    finally:
        for job in jobs:
            job.abandon()


def iterate_in_background(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items of an iterator that a thread runs ahead.

    Args:
        items: Best an iterator whose work lets other threads run, as inflating does.
        depth: How many items may wait.

    Raises:
        BaseException: What the iterator raised, when its turn comes.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    is_wanted = True

    def run() -> None:
        try:
            for item in items:
                waiting.put((item, None))
                if not is_wanted:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by whoever iterates
            waiting.put((None, error))
        else:
            waiting.put((None, StopIteration()))

    thread = threading.Thread(target=run, name="iterate-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc] # an item, because there is no error
    finally:
        is_wanted = False
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                waiting.get_nowait()
            thread.join(_POLL_SECONDS / 10)
