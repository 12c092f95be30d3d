"""After an exception between download and bookmark, STATE covers written records only."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import singer_martech
import tap_robotmia
from tap_robotmia.tap import TapRobotmia
from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from tests.sandbox.robotmia import Robotmia

pytestmark = [
    pytest.mark.usefixtures("garbage_is_collected"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""An error between opening a file and keeping it leaves the file to the garbage collector."""

CLASSES: tuple[type[BaseException], ...] = (
    RuntimeError,
    OSError,
    MemoryError,
    ValueError,
    RecursionError,
    StopIteration,
    KeyboardInterrupt,
    SystemExit,
)
PACKAGES = tuple(
    f"{Path(package.__file__ or '').parent}/" for package in (tap_robotmia, singer_martech)
)
WORKERS = ("background.py",)
"""The background helpers have their own tests."""

EVENTS_PER_DAY = 2
ALL = set(range(3 * EVENTS_PER_DAY))


class Injection:
    """Raises an exception at one call of the plugin's code, in any thread.

    Args:
        at: The number of the call; None for none.
        error: The exception.
        function: Count only calls of functions with this name.
    """

    def __init__(self, at: int | None, error: BaseException, function: str | None = None) -> None:
        self.calls = 0
        self._function = function
        self._at = at
        self._error = error
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        threading.settrace(self._on_call)
        sys.settrace(self._on_call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def _on_call(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        del event, arg
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGES) or name.endswith(WORKERS):
            return None
        if self._function not in {None, frame.f_code.co_name}:
            return None
        with self._lock:
            self.calls += 1
            is_due = self.calls == self._at
        if is_due:
            raise self._error
        return None


NONE = Injection(None, RuntimeError())


def run(config: Mapping[str, Any], state: Mapping[str, Any], injection: Injection) -> list[Any]:
    """Run the tap in this process and return its messages."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(output), contextlib.suppress(BaseException):
        tap = TapRobotmia(config=dict(config), state=dict(state))
        with injection.active():
            tap.sync_all()
    output.flush()
    lines = output.buffer.getvalue().splitlines()
    return [json.loads(line) for line in lines]


def checked(messages: list[Any], first_day: int) -> tuple[set[int], dict[str, Any]]:
    """Return the numbers of the events written to both streams, and the last STATE."""
    written: dict[str, set[int]] = {"events": set(), "event_login": set()}
    state: dict[str, Any] = {}
    for message in messages:
        if message["type"] == "RECORD":
            written[message["stream"]].add(int(message["record"]["distinct_id"][1:]))
        elif message["type"] == "STATE":
            state = message["value"]
            for stream, bookmark in state["bookmarks"].items():
                done = int(bookmark.get("replication_key_value", "2024-01-01")[8:10]) - 1
                needed = range(first_day * EVENTS_PER_DAY, done * EVENTS_PER_DAY)
                assert written[stream] >= set(needed), (stream, bookmark)
    return written["events"] & written["event_login"], state


@pytest.fixture
def config(vendor: Robotmia, tmp_path: Path) -> dict[str, Any]:
    """Three days with two events each."""
    vendor.set_events(numbered(len(ALL), EVENTS_PER_DAY))
    return {
        **vendor.credentials(),
        "start_date": day(0),
        "end_date": day(2),
        "lookback_days": 0,
        "event_streams": ["Login"],
        "max_attempts": 1,
        "reject_path": str(tmp_path / "rejects"),
    }


def is_broken_and_resumed(config: dict[str, Any], injection: Injection) -> bool:
    """Return whether an exception ended the run, once the next run has completed it."""
    written, state = checked(run(config, {}, injection), 0)
    entries = state.get("bookmarks", {}).values()
    bookmarks = [entry.get("replication_key_value", day(0)) for entry in entries]
    first_day = int(min(bookmarks, default=day(0))[8:10]) - 1
    rest, _ = checked(run(config, state, NONE), first_day)
    assert written | rest == ALL
    return written != ALL


@pytest.mark.parametrize("stream_maps", [{}, {"*": {}}], ids=["encoded", "by the SDK"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_exception_puts_the_state_ahead_of_what_is_written(
    config: dict[str, Any], stream_maps: dict[str, Any]
) -> None:
    config["stream_maps"] = stream_maps
    whole = Injection(None, RuntimeError())
    assert checked(run(config, {}, whole), 0)[0] == ALL
    classes = itertools.cycle(CLASSES)
    calls = range(1, whole.calls, max(1, whole.calls // 80))
    broken = [is_broken_and_resumed(config, Injection(at, next(classes)())) for at in calls]
    assert sum(broken) > 20


def test_a_record_that_raises_stop_iteration_does_not_end_a_window_early(
    config: dict[str, Any],
) -> None:
    config["stream_maps"] = {"*": {}}
    for at in range(1, 2 * len(ALL) + 1):
        assert is_broken_and_resumed(config, Injection(at, StopIteration(), "record"))
