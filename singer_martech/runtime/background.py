"""Run work in threads, so that the main thread can react to signals, or to work ahead.

All threads are daemons: a connection that stays silent must not delay the end of a run.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from singer_martech.errors import MartechError
from singer_martech.runtime.shutdown import GRACE_SECONDS
from singer_martech.runtime.threads import Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from singer_martech.runtime.shutdown import ShutdownSignal

    _Start = Callable[[Callable[[], "T"]], "_ThreadFuture[T]"]

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
        future = _start(work, "request")
    except ThreadUnavailable:
        return work()
    while not _is_done(future, _POLL_SECONDS):
        if shutdown.is_set and not _is_done(future, shutdown.seconds_left(grace_seconds)):
            shutdown.check()
    try:
        return future.result()
    finally:
        del future  # its error's traceback holds this frame


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
    futures: deque[_ThreadFuture[T]] = deque()
    start: _Start[T] = _start_or_do

    def discard_result(future: Future[T]) -> None:
        if future.exception() is None:
            discard(future.result())

    try:
        while True:
            start = _start_up_to(width, futures, todo, start)
            if not futures:
                return
            _wait(futures[0], shutdown)
            yield futures[0].result()
            futures.popleft()
    finally:
        for future in futures:
            future.add_done_callback(discard_result)


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
        self._room = threading.Semaphore(depth)
        self._is_closed = threading.Event()
        self._producer: _ThreadFuture[None]

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
        self._room.release()
        return item

    def _notice_end(self) -> bool:
        self._producer.fail_without_thread()
        # a thread without memory for the signal of its end sends none
        self.has_ended = self._producer.done() and self._queue.empty()
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
        self._is_closed.set()
        self._room.release()

    def join(self) -> None:
        """Wait for the end of the thread."""
        while not _is_done(self._producer, _POLL_SECONDS):
            pass

    def _produce(self) -> None:
        try:
            while self._room.acquire() and not self._is_closed.is_set():
                item = next(self._items, None)
                if item is None:
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


class _ThreadFuture(Future[T]):
    """The result of some work in a thread.

    Attributes:
        thread: The thread, once it was started.
    """

    thread: Thread | None = None

    def fail_without_thread(self) -> None:
        """Fail if the thread ended without a result, because it had no memory even for that."""
        if self.thread is not None and not self.thread.is_alive() and not self.done():
            self.set_exception(ThreadUnavailable("a thread ended early: free memory"))


def _start(work: Callable[[], T], name: str) -> _ThreadFuture[T]:
    """Start some work in a thread."""
    future: _ThreadFuture[T] = _ThreadFuture()
    thread = Thread(_complete, future, work, name=name)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise ThreadUnavailable(
            f"no thread can be started ({error}): free memory, or raise the limit of processes"
        ) from error
    future.thread = thread
    return future


def _start_or_do(work: Callable[[], T]) -> _ThreadFuture[T]:
    """Start some work in a thread; if no thread can be started, do it now."""
    try:
        return _start(work, "prefetch")
    except ThreadUnavailable:
        return _do(work)


def _start_up_to(
    width: int,
    futures: deque[_ThreadFuture[T]],
    todo: Iterator[Callable[[], T]],
    start: _Start[T],
) -> _Start[T]:
    """Start work until so many pieces are in ``futures``; return how to start the next one."""
    while len(futures) < width and (piece := next(todo, None)) is not None:
        futures.append(start(piece))
        if futures[-1].thread is None:
            start = _do  # another attempt to start a thread may take seconds
    return start


def _do(work: Callable[[], T]) -> _ThreadFuture[T]:
    future: _ThreadFuture[T] = _ThreadFuture()
    _complete(future, work)
    return future


def _complete(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
        future.set_exception(error)
        del future  # the error's traceback holds this frame
    else:
        future.set_result(result)


def _is_done(future: _ThreadFuture[T], seconds: float) -> bool:
    if not wait_for_futures([future], seconds).done:
        future.fail_without_thread()
    return future.done()


def _wait(future: _ThreadFuture[T], shutdown: ShutdownSignal) -> None:
    while not _is_done(future, _POLL_SECONDS):
        shutdown.check()
