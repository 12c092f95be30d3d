from __future__ import annotations

import queue
import signal
import threading
import time
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import Stopped
from singer_martech.runtime.background import (
    ThreadUnavailable,
    iterate_in_background,
    prefetch,
    run_interruptibly,
)
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.runtime.threads import Thread
from singer_martech.singer.stdin import StdinReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Work:
    """Counts work in progress and results held by the caller."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun = 0
        self.given_back: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def do(self, number: int) -> int:
        with self.lock:
            self.begun += 1
        self.gate.wait(20)
        return number

    def pieces(self, count: int) -> list[partial[int]]:
        return [partial(self.do, number) for number in range(count)]


@pytest.mark.parametrize("width", [1, 2, 3, 50])
def test_results_are_in_order_and_concurrency_is_bounded(width: int) -> None:
    work, seen = Work(), []
    for number in prefetch(work.pieces(20), width, ShutdownSignal(), work.given_back.append):
        seen.append(number)
        assert work.begun <= number + width
    assert seen == list(range(20))
    assert work.given_back == []


def test_the_first_items_start_immediately() -> None:
    # opens when all three have reached it
    started = threading.Barrier(3, timeout=20)
    discarded: list[int] = []
    results = prefetch([started.wait] * 3, 3, ShutdownSignal(), discarded.append)
    assert sorted(results) == [0, 1, 2]


def test_an_error_is_raised_in_order_and_other_results_are_released() -> None:
    work = Work()

    def fail() -> int:
        raise OSError("broken")

    pieces: list[Callable[[], int]] = [*work.pieces(2), fail, *work.pieces(2)]
    results = prefetch(pieces, 5, ShutdownSignal(), work.given_back.append)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="broken"):
        next(results)
    _joined()
    assert sorted(work.given_back) == [0, 1]


def test_an_error_does_not_wait_for_blocked_work() -> None:
    work = Work()
    work.gate.clear()

    def fail() -> int:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        next(prefetch([fail, *work.pieces(2)], 3, ShutdownSignal(), work.given_back.append))
    assert work.given_back == []
    work.gate.set()
    _joined()
    assert sorted(work.given_back) == [0, 1]


def test_closing_the_iterator_releases_all_results() -> None:
    work = Work()
    results = prefetch(work.pieces(5), 3, ShutdownSignal(), work.given_back.append)
    assert next(results) == 0
    results.close()
    _joined()
    assert sorted(work.given_back) == [0, 1, 2]


def test_a_signal_ends_the_wait() -> None:
    work, shutdown = Work(), ShutdownSignal()
    work.gate.clear()
    threading.Timer(0.05, partial(shutdown.request, signal.SIGINT)).start()
    with pytest.raises(Stopped):
        next(prefetch(work.pieces(5), 3, shutdown, work.given_back.append))
    work.gate.set()
    _joined()
    assert sorted(work.given_back) == [0, 1, 2]


def test_items_and_errors_are_in_order() -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise OSError("broken")

    received: list[int] = []
    with pytest.raises(OSError, match="broken"):
        received.extend(iterate_in_background(items(), 3))
    assert received == list(range(100))


def test_the_number_of_waiting_items_is_bounded() -> None:
    produced: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            produced.append(number)
            yield number

    ahead = iterate_in_background(items(), 3)
    for number in ahead:
        assert len(produced) <= number + 4
        if number == 50:
            break
    ahead.close()
    assert len(produced) <= 54
    assert not [each for each in threading.enumerate() if each.name == "iterate"]


def test_work_runs_in_another_thread_and_its_error_is_raised() -> None:
    assert run_interruptibly(threading.get_ident, ShutdownSignal()) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, ShutdownSignal())


def test_a_signal_ends_the_wait_for_work_after_the_grace_time() -> None:
    shutdown, gate = ShutdownSignal(), threading.Event()
    shutdown.request(signal.SIGTERM)
    assert run_interruptibly(lambda: 7, shutdown, 20) == 7
    with pytest.raises(Stopped):
        run_interruptibly(lambda: gate.wait(20), shutdown, 0.01)
    gate.set()


def test_the_grace_time_begins_with_the_signal() -> None:
    shutdown, gate = ShutdownSignal(), threading.Event()
    shutdown.request(signal.SIGTERM)
    assert 50 < shutdown.seconds_left(60) <= 60
    shutdown.requested_at -= 70  # the run did something else since
    assert shutdown.seconds_left(60) == 0
    began = time.monotonic()
    with pytest.raises(Stopped):
        run_interruptibly(lambda: gate.wait(60), shutdown, 60)
    assert time.monotonic() - began < 30
    gate.set()


@pytest.fixture
def no_threads() -> Iterator[None]:
    """Make thread starts fail, as without memory for the stack."""
    before = threading.stack_size(1 << 47)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_the_caller_does_the_work() -> None:
    caller = threading.get_ident()
    shutdown = ShutdownSignal()
    assert run_interruptibly(threading.get_ident, shutdown) == caller
    assert list(prefetch([threading.get_ident] * 3, 2, shutdown, print)) == [caller] * 3
    assert list(iterate_in_background(iter(range(5)), 2)) == list(range(5))


@pytest.mark.usefixtures("no_threads")
def test_without_threads_reading_fails_immediately() -> None:
    with pytest.raises(ThreadUnavailable, match="limit of processes"), StdinReader(0):
        raise AssertionError("it must not start")


class DyingThreads:
    """Raises a MemoryError where a thread calls a function, so that the thread ends."""

    def __init__(self, function: str) -> None:
        self._function = function

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == self._function:
            raise MemoryError


@pytest.fixture
def dying_threads(function: str) -> Iterator[None]:
    threading.setprofile(DyingThreads(function).profile)
    yield
    threading.setprofile(None)


@pytest.mark.parametrize("function", ["complete"])
@pytest.mark.usefixtures("dying_threads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_without_a_result_is_an_error() -> None:
    shutdown = ShutdownSignal()
    with pytest.raises(ThreadUnavailable, match="ended early"):
        run_interruptibly(int, shutdown)
    with pytest.raises(ThreadUnavailable, match="ended early"):
        list(prefetch([int], 2, shutdown, print))
    with pytest.raises(ThreadUnavailable, match="ended early"):
        list(iterate_in_background(iter([1]), 2))
    _joined()


@pytest.mark.parametrize("function", ["set", "__exit__", "notify_all"])
@pytest.mark.usefixtures("dying_threads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_with_a_lock_of_its_result_does_not_block() -> None:
    shutdown = ShutdownSignal()
    assert run_interruptibly(int, shutdown) == 0
    assert list(prefetch([int], 2, shutdown, print)) == [0]
    _joined()


class QueueWithoutMemory(queue.SimpleQueue[Any]):
    """Has no room for the signal of an end."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        is_signal = isinstance(item, Enum)
        if is_signal:
            raise MemoryError
        super().put(item, block, timeout)


def test_the_end_of_an_iterator_is_noticed_without_memory_for_its_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "SimpleQueue", QueueWithoutMemory)
    assert list(iterate_in_background(iter([1, 2]), 2)) == [1, 2]


def test_after_a_failed_start_no_further_thread_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []

    def fail(thread: Thread) -> None:
        starts.append(thread.name)
        raise RuntimeError("no thread")

    monkeypatch.setattr(Thread, "start", fail)
    assert list(prefetch([int] * 9, 2, ShutdownSignal(), print)) == [0] * 9
    assert starts == ["prefetch"]


def _joined() -> None:
    for thread in threading.enumerate():
        if thread.name in {"iterate", "prefetch", "request"}:
            thread.join(20)
