"""Run work in threads, so that the main thread can react to signals, or to work ahead.

All threads are daemons: a connection that stays silent must not delay the end of a run.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from singer_martech.errors import MartechError
from singer_martech.runtime.shutdown import GRACE_SECONDS
from singer_martech.runtime.threads import SingleEvent, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from singer_martech.runtime.shutdown import ShutdownSignal

    _Start = Callable[[Callable[[], "T"]], "_Task[T]"]

T = TypeVar("T")

_POLL_SECONDS = 0.2


class ThreadUnavailable(MartechError):
    """The system starts no further thread."""


def run_interruptibly(
    work: Callable[[], T], shutdown: ShutdownSignal, grace_seconds: float = GRACE_SECONDS
) -> T:
    """Do some work and return its result; stop waiting for it when the run is asked to end.

    A signal does not interrupt a blocking read. So the main thread starts a thread for the
    work and waits for it. Any other thread does the work itself, as does the main thread if
    no thread can be started.

    Raises:
        Stopped: The run was asked to end, and the work has not ended in time.
        BaseException: The error of the work.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    try:
        task = _start(work, "request")
    except ThreadUnavailable:
        return work()
    while not task.wait(_POLL_SECONDS):
        if shutdown.is_set and not task.wait(shutdown.seconds_left(grace_seconds)):
            shutdown.check()
    try:
        return task.result()
    finally:
        del task  # its error's traceback holds this frame


def prefetch(
    work: Iterable[Callable[[], T]],
    width: int,
    shutdown: ShutdownSignal,
    discard: Callable[[T], None],
) -> Generator[T, None, None]:
    """Yield the results of pieces of work in order; threads work ahead.

    Args:
        work: The pieces of work, in order.
        width: Maximum results in progress, waiting or with the caller at once.
        shutdown: Ends the wait for a result.
        discard: Disposes of an unused result.

    Raises:
        Stopped: The run was asked to end.
        BaseException: The error of a piece of work, when its turn comes.
    """
    todo = iter(work)
    tasks: deque[_Task[T]] = deque()
    start: _Start[T] = _start_or_do
    try:
        while True:
            start = _start_up_to(width, tasks, todo, start)
            if not tasks:
                return
            while not tasks[0].wait(_POLL_SECONDS):
                shutdown.check()
            yield tasks[0].result()
            tasks.popleft()
    finally:
        for task in tasks:
            task.discard_result(discard)


def iterate_in_background(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items of an iterator that runs ahead in a thread, if one can be started.

    Args:
        items: An iterator that releases the interpreter lock, as decompression does.
        depth: Maximum items that wait.

    Raises:
        BaseException: The error of the iterator, after the items before it.
    """
    ahead = ReadAhead(items, depth, "iterate")
    try:
        ahead.start()
    except ThreadUnavailable:
        yield from items
        return
    try:
        while (item := ahead.get()) is not None:
            yield item
        ahead.raise_error()
    finally:
        ahead.close()
        ahead.join()


class ReadAhead(Generic[T]):
    """Runs an iterator in a thread and buffers its items.

    Args:
        items: The iterator. None is not allowed as an item.
        depth: Maximum items that wait.
        name: The name of the thread.

    Attributes:
        has_ended: Whether all items were taken.
    """

    def __init__(self, items: Iterator[T], depth: int, name: str) -> None:
        self.has_ended = False
        self._items = items
        self._name = name
        self._queue: queue.SimpleQueue[T | _Signal] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self._room.put(None)
        self._is_closed = False
        self._producer: _Task[None]

    def start(self) -> None:
        """Start the thread.

        Raises:
            ThreadUnavailable: None can be started.
        """
        self._producer = _start(self._produce, self._name)

    def get(self, timeout: float | None = None, *, block: bool = True) -> T | None:
        """Return the next item.

        Args:
            timeout: Maximum seconds to wait; None waits until there is one.
            block: Whether to wait at all.

        Returns:
            None if no item came in time, ``wake`` was called, or the iterator has ended.
        """
        if self.has_ended:
            return None
        while True:
            try:
                item = self._queue.get(block, _POLL_SECONDS if timeout is None else timeout)
                break
            except queue.Empty:
                if self._notice_end() or not block or timeout is not None:
                    return None
        if item is _Signal.END:
            self.has_ended = True
            return None
        if item is _Signal.WAKE:
            return None
        self._room.put(None)
        return item

    def _notice_end(self) -> bool:
        # a thread without memory for the signal of its end sends none
        self.has_ended = self._producer.wait(0) and self._queue.empty()
        return self.has_ended

    def raise_error(self) -> None:
        """Raise the error that ended the iterator, if there is one; for use once it has ended."""
        self.join()
        self._producer.result()

    def wake(self) -> None:
        """End a wait in ``get``; safe in a signal handler."""
        self._queue.put(_Signal.WAKE)

    def close(self) -> None:
        """Let the thread end; an item that it waits for is lost."""
        self._is_closed = True
        self._room.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        while not self._producer.wait(_POLL_SECONDS):
            pass

    def _produce(self) -> None:
        try:
            while True:
                self._room.get()
                if self._is_closed or (item := next(self._items, None)) is None:
                    return
                self._queue.put(item)
        finally:
            self._signal_end()

    def _signal_end(self) -> None:
        with contextlib.suppress(MemoryError):  # get notices the end without its signal
            self._queue.put(_Signal.END)


class _Signal(Enum):
    WAKE = "wake"
    END = "end"


class _Task(Generic[T]):
    """The result of some work, usually in a thread; see `SingleEvent` for why it is no `Future`.

    Attributes:
        thread: The thread, once it was started.
    """

    thread: Thread | None = None

    def __init__(self) -> None:
        self._end = SingleEvent()
        self._result: T
        self._error: BaseException | None = ThreadUnavailable("a thread ended early: free memory")
        self._discard: Callable[[T], None] | None = None
        self._is_discarded = threading.Lock()

    def complete(self, work: Callable[[], T]) -> None:
        """Do the work."""
        try:
            self._result = work()
            self._error = None
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            self._error = error
        finally:
            self._end.set()
        self._discard_once()
        del self  # the error's traceback holds this frame

    def wait(self, seconds: float) -> bool:
        """Wait until the work has ended; return whether it has."""
        if self._end.wait(seconds):
            return True
        if self.thread is None or self.thread.is_alive():
            return False
        if not self._end.is_set():
            self._end.set()  # the thread had no memory for it
        return True

    def result(self) -> T:
        """Return the result, or raise the error, of work that has ended."""
        try:
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            del self  # the error's traceback holds this frame

    def discard_result(self, discard: Callable[[T], None]) -> None:
        """Dispose of the result, now or when there is one."""
        self._discard = discard
        if self._end.is_set():
            self._discard_once()

    def _discard_once(self) -> None:
        if self._discard is None or self._error is not None:
            return
        if self._is_discarded.acquire(blocking=False):
            self._discard(self._result)


def _start(work: Callable[[], T], name: str) -> _Task[T]:
    """Start some work in a thread."""
    task: _Task[T] = _Task()
    thread = Thread(task.complete, work, name=name)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise ThreadUnavailable(
            f"no thread can be started ({error}): free memory, or raise the limit of processes"
        ) from error
    task.thread = thread
    return task


def _start_or_do(work: Callable[[], T]) -> _Task[T]:
    """Start some work in a thread; if no thread can be started, do it now."""
    try:
        return _start(work, "prefetch")
    except ThreadUnavailable:
        return _do(work)


def _start_up_to(
    width: int,
    tasks: deque[_Task[T]],
    todo: Iterator[Callable[[], T]],
    start: _Start[T],
) -> _Start[T]:
    """Start work until so many pieces are in ``tasks``; return how to start the next one."""
    while len(tasks) < width and (piece := next(todo, None)) is not None:
        tasks.append(start(piece))
        if tasks[-1].thread is None:
            start = _do  # another attempt to start a thread may take seconds
    return start


def _do(work: Callable[[], T]) -> _Task[T]:
    task: _Task[T] = _Task()
    task.complete(work)
    return task
