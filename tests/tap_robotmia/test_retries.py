from __future__ import annotations

import re
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Tap

EXPORT = "/export/"

MEASURED = """
import atexit, pathlib
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: pathlib.Path("peak").write_text(status.read_text()))
from tap_robotmia.tap import TapRobotmia
TapRobotmia.cli()
"""


@pytest.fixture
def span(vendor: Robotmia) -> dict[str, Any]:
    vendor.set_events(numbered(40))
    return {"start_date": day(0), "end_date": day(9)}


@pytest.mark.parametrize("width", [1, 2, 4])
def test_parallel_downloads_is_the_number_of_windows_at_once(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any], width: int
) -> None:
    held = sandbox.faults.add("robotmia", EXPORT, times=width, hold=True)
    process = tap.start(**span, parallel_downloads=width)
    sandbox.wait_for_requests("robotmia", EXPORT, count=width)
    held.release()
    run = tap.finish(process)
    assert [record["properties"]["n"] for record in run.records()] == list(range(40))
    assert tap.vendor.max_concurrent == width


def test_windows_are_written_in_order_regardless_of_arrival(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, delay=0.5)
    run = tap.run(**span, parallel_downloads=4)
    assert [record["properties"]["n"] for record in run.records()] == list(range(40))
    assert run.bookmarks() == sorted(run.bookmarks())


@pytest.mark.parametrize("send_retry_after", [True, False])
def test_an_hourly_budget_is_waited_out(
    tap: Tap, span: dict[str, Any], send_retry_after: bool
) -> None:
    vendor = tap.vendor
    vendor.hourly_budget, vendor.budget_seconds = 5, 2.0
    vendor.send_retry_after = send_retry_after
    run = tap.run(**span, max_attempts=1)
    assert len(run.records()) == 40
    assert any(request.status == 429 for request in vendor.exports)


def test_too_many_exports_at_once_are_waited_out(tap: Tap, span: dict[str, Any]) -> None:
    tap.vendor.max_concurrent_exports = 1
    run = tap.run(**span, parallel_downloads=3, max_attempts=1)
    assert len(run.records()) == 40


def test_a_rate_limit_that_lasts_too_long_names_the_days(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, after=1, times=None, status=429, retry_after=60)
    run = tap.run(**span, max_rate_limit_wait_seconds=1, parallel_downloads=1, status=1)
    assert f"the export of {day(1)}: still rate-limited" in run.reason
    assert len(run.records()) == 4


def test_silence_is_accepted_until_the_timeout(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, delay=1.0)
    assert len(tap.run(**span, max_attempts=1).records()) == 40
    sandbox.faults.add("robotmia", EXPORT, delay=30.0)
    began = time.monotonic()
    assert len(tap.run(**span, request_timeout_seconds=0.5).records()) == 40
    assert time.monotonic() - began < 20


def test_each_window_has_a_line_of_progress(tap: Tap, span: dict[str, Any]) -> None:
    log = tap.run(**span, window_days=4).log
    lines = re.findall(
        r"(\S+(?: to \S+)?): (\d+) of (\d+) days done, ([\d,]+) events so far, "
        r"[\d,]+ events/s(?:$|, (?:[1-9]\d* s|\d+ min|\d+ h \d+ min) left$)",
        log,
        re.MULTILINE,
    )
    assert lines == [
        (f"{day(0)} to {day(3)}", "4", "10", "16"),
        (f"{day(4)} to {day(7)}", "8", "10", "32"),
        (f"{day(8)} to {day(9)}", "10", "10", "40"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_day_of_many_events_needs_little_memory(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_big_day(day(0), 100_000)
    tap.command = [sys.executable, "-c", MEASURED]
    process = tap.start(start_date=day(0), end_date=day(0))
    assert process.stdout is not None
    blocks = iter(partial(process.stdout.read, 1024 * 1024), b"")
    assert sum(block.count(b"\n") for block in blocks) == 100_002
    tap.finish(process)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", (tap.folder / "peak").read_text())
    assert int(peak) < 150 * 1024


def test_a_single_day_is_counted_in_the_singular(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(numbered(1))
    log = tap.run(start_date=day(0), end_date=day(0)).log
    assert "1 day in 1 request\n" in log
    assert "1 of 1 day done, 1 event so far" in log
    assert " left" not in log


def test_a_single_attempt_is_named_in_the_singular(sandbox: Sandbox, tap: Tap) -> None:
    sandbox.faults.add("robotmia", EXPORT, times=None, status=500)
    run = tap.run(start_date=day(0), end_date=day(0), max_attempts=1, status=1)
    assert "gave up after 1 attempt (max_attempts)" in run.reason
