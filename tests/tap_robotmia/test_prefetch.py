from __future__ import annotations

import signal
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from singer_martech.errors import Stopped
from singer_martech.runtime.shutdown import ShutdownSignal
from tap_robotmia.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Callable


class Work:
    """Counts what is under way and in the caller's hands."""

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
def test_results_come_in_order_and_no_more_are_begun_than_allowed(width: int) -> None:
    work, seen = Work(), []
    for number in prefetch(work.pieces(20), width, ShutdownSignal(), work.given_back.append):
        seen.append(number)
        assert work.begun <= number + width
    assert seen == list(range(20))
    assert work.given_back == []


def test_the_first_ones_are_begun_at_once() -> None:
    # a barrier that opens only when all three stand before it
    started = threading.Barrier(3, timeout=20)
    discarded: list[int] = []
    results = prefetch([started.wait] * 3, 3, ShutdownSignal(), discarded.append)
    assert sorted(results) == [0, 1, 2]


def test_a_failure_comes_in_its_turn_and_the_rest_is_given_back() -> None:
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


def test_a_failure_does_not_wait_for_work_that_is_silent() -> None:
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


def test_a_reader_that_leaves_gives_everything_back() -> None:
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


def _joined() -> None:
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join(20)
