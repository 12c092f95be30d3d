"""A thread that does not start is an error, and does nothing later."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from singer_martech.runtime import threads
from singer_martech.runtime.threads import Thread

if TYPE_CHECKING:
    from collections.abc import Callable

DONE: list[int] = []


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_MAX_START_SECONDS", 0.1)
    DONE.clear()


class WithoutMemory(Thread):
    """Ends before its first steps, as a thread does that has no memory for them."""

    def _bootstrap(self) -> None:
        raise MemoryError


class KeepingLocks(Thread):
    """Ends with all locks of its event that it can get, as a thread may do without memory."""

    def _bootstrap(self) -> None:
        for each in vars(self._started).values():
            if hasattr(each, "acquire"):
                each.acquire(blocking=False)
        raise MemoryError


class Late(Thread):
    """Begins when it may."""

    def __init__(self, target: Callable[..., object], *arguments: object, name: str) -> None:
        super().__init__(target, *arguments, name=name)
        self.may_begin = threading.Event()
        self.has_ended = threading.Event()

    def _bootstrap(self) -> None:
        self.may_begin.wait()
        super()._bootstrap()  # type: ignore[misc] # it has no type
        self.has_ended.set()


def test_a_thread_does_its_work() -> None:
    thread = Thread(DONE.append, 1, name="work")
    thread.start()
    thread.join()
    assert DONE == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [WithoutMemory, KeepingLocks])
def test_a_thread_without_memory_for_its_first_steps_is_an_error(kind: type[Thread]) -> None:
    with pytest.raises(RuntimeError, match="a new thread ended at once"):
        kind(DONE.append, 1, name="work").start()


def test_a_thread_that_begins_too_late_does_nothing() -> None:
    thread = Late(DONE.append, 1, name="work")
    with pytest.raises(RuntimeError, match="a new thread"):
        thread.start()
    thread.may_begin.set()
    assert thread.has_ended.wait(20)
    assert DONE == []


class WithoutMemoryToWait(threads.SingleEvent):
    """Has no memory to wait, once something else was waited for."""

    def __init__(self, before: Callable[[], object]) -> None:
        super().__init__()
        self._before = before

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self._before()
        raise MemoryError


def test_a_thread_that_has_begun_is_started_although_the_wait_for_it_fails() -> None:
    has_begun = threading.Event()

    def work() -> None:
        DONE.append(1)
        has_begun.set()

    thread = Thread(work, name="work")
    thread._started = WithoutMemoryToWait(lambda: has_begun.wait(20))  # noqa: SLF001 - Python waits for it
    thread.start()
    thread.join()
    assert DONE == [1]


def test_a_thread_that_begins_after_the_wait_for_it_failed_does_nothing() -> None:
    thread = Late(DONE.append, 1, name="work")
    thread._started = WithoutMemoryToWait(list)  # noqa: SLF001 - likewise
    with pytest.raises(MemoryError):
        thread.start()
    thread.may_begin.set()
    assert thread.has_ended.wait(20)
    assert DONE == []


def test_a_thread_that_runs_out_of_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out_of_memory() -> None:
        raise MemoryError

    monkeypatch.setattr(threading, "excepthook", DONE.append)
    thread = Thread(run_out_of_memory, name="work")
    thread.start()
    thread.join()
    assert DONE == []
