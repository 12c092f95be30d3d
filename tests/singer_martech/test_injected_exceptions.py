"""After an exception at any call of the delivery core, STATE covers settled records only."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.delivery.spooled_batch import SpooledBatch
from singer_martech.errors import MartechError
from tests.kit.fake_destination import FakeDestination
from tests.kit.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from typing_extensions import Self

    from singer_martech.delivery.batch import Batch


pytestmark = [
    pytest.mark.usefixtures("garbage_is_collected"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""An error between opening a file and keeping it leaves the file to the garbage collector."""


class Unforeseen(BaseException):
    """Not even an Exception."""


ERRORS: list[type[BaseException]] = [MemoryError, OSError, KeyError, Unforeseen, MartechError]
CORE = "singer_martech/delivery/"


_SECONDS_TO_END = 30


class Injection:
    """Raises an error at one of the calls that the delivery core makes or receives.

    Args:
        at: The number of the call; None only counts.
        in_workers: Whether calls in the worker threads count, or those of the reading thread.
    """

    def __init__(self, at: int | None, error: type[BaseException], *, in_workers: bool) -> None:
        self.calls = 0
        self.is_done = False
        self._at = at
        self._error = error
        self.in_workers = in_workers

    def __enter__(self) -> Self:
        if self.in_workers:
            threading.setprofile(self._profile)
        else:
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_done = True
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if self.is_done or event not in {"call", "c_call"}:
            return
        if CORE not in frame.f_code.co_filename:
            return
        self.calls += 1
        if self.calls == self._at:
            self.is_done = True
            raise self._error("injected")


class SpoolingDestination(FakeDestination):
    def open_batch(self) -> Batch:
        return SpooledBatch(self)


def run(harness: Harness, destination: FakeDestination, injection: Injection) -> bool:
    """Load some records, as a target does; return whether the run failed."""
    others = {*threading.enumerate()}
    spooled = SpoolingDestination(max_rows=3)
    destination.reject_when = {b"4"}.intersection
    try:
        with injection:
            for number in range(1, 13):
                is_spooled = number % 3 == 0
                key = hash("hot") if number % 2 else None
                harness.add(spooled if is_spooled else destination, str(number), key)
                harness.state()
                harness.dispatcher.tick()
            harness.dispatcher.flush()
            harness.dispatcher.write_state(now=True)
    except BaseException:  # noqa: BLE001 - any may be injected
        has_failed = True
    else:
        has_failed = False
    harness.dispatcher.finish_in_flight()
    harness.dispatcher.write_state(now=True)
    harness.close()
    if injection.in_workers:
        # a worker that ends later would report its exception to another test
        for worker in {*threading.enumerate()} - others:
            worker.join(_SECONDS_TO_END)
            assert not worker.is_alive()
    destination.accepted += spooled.accepted
    return has_failed


def settled(destination: FakeDestination, folder: Path) -> set[int]:
    """Return the records that the vendor accepted or that are in a report."""
    reported = {
        int(json.loads(line)["record"]["n"])
        for path in folder.glob("*.jsonl")
        for line in path.read_bytes().splitlines()
    }
    return {int(body) for body in destination.accepted} | reported


def count_calls(folder: Path, *, in_workers: bool) -> int:
    harness, destination = Harness(folder, parallel=2, allowed=5), FakeDestination(max_rows=3)
    injection = Injection(None, MemoryError, in_workers=in_workers)
    assert not run(harness, destination, injection)
    assert settled(destination, folder) == set(range(1, 13))
    return injection.calls


@pytest.fixture
def states(capfd: pytest.CaptureFixture[str]) -> Callable[[], int]:
    def last() -> int:
        lines = capfd.readouterr().out.splitlines()
        return max((json.loads(line)["at"] for line in lines), default=0)

    return last


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("in_workers", [False, True])
def test_state_covers_settled_records_only(
    tmp_path: Path, states: Callable[[], int], in_workers: bool
) -> None:
    calls = count_calls(tmp_path / "clean", in_workers=in_workers)
    assert states() == 12
    assert calls > 100
    failed = 0
    for at in range(1, calls + 1):
        folder = tmp_path / str(at)
        harness = Harness(folder, parallel=2, allowed=5, grace_seconds=5)
        destination = FakeDestination(max_rows=3)
        injection = Injection(at, ERRORS[at % len(ERRORS)], in_workers=in_workers)
        failed += run(harness, destination, injection)
        state = states()
        missing = set(range(1, state + 1)) - settled(destination, folder)
        assert not missing, f"call {at}: STATE {state} passed {sorted(missing)}"
        metrics = harness.metrics
        assert metrics.read == (
            metrics.delivered + metrics.rejected + metrics.superseded + metrics.pending
        )
        assert metrics.pending >= 0, f"call {at}"
        assert metrics.delivered <= len(destination.accepted), f"call {at}"
    assert failed > calls / 2


def test_an_error_as_a_rejection_begins_blocks_state(
    tmp_path: Path, states: Callable[[], int]
) -> None:
    def profile(frame: FrameType, event: str, _: object) -> None:
        if (
            event == "call"
            and frame.f_code.co_name == "reject"
            and CORE in frame.f_code.co_filename
        ):
            raise MartechError("injected")

    harness, destination = Harness(tmp_path, allowed=5), FakeDestination(max_rows=3)
    destination.reject_when = {b"2"}.intersection
    sys.setprofile(profile)
    try:
        with pytest.raises(MartechError, match="injected"):
            harness.load(destination, 3)
    finally:
        sys.setprofile(None)
    harness.dispatcher.write_state(now=True)
    harness.close()
    assert settled(destination, tmp_path) == {1, 3}
    assert states() == 1
