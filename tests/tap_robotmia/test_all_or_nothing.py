from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Run, Tap

EXPORT = "/export/"


@pytest.fixture
def span(vendor: Robotmia) -> dict[str, Any]:
    """Three days with four events each."""
    vendor.set_events(numbered(12))
    return {"start_date": day(0), "end_date": day(2)}


def numbers(run: Run) -> list[int]:
    return [record["properties"]["n"] for record in run.records()]


FAULTS: list[dict[str, Any]] = [
    {"cut_gzip": True},
    {"cut_gzip": 8},
    {"cut_gzip": 1},
    {"terminated_early": True},
    {"terminated_early": "export terminated early"},
    {"reset": "before"},
    {"reset": "after"},
    {"reset": "mid-body"},
    {"truncate": True},
    {"status": 500},
    {"status": 502, "body": "<html>bad gateway</html>"},
    {"status": 429, "retry_after": 0.1},
]


@pytest.mark.parametrize("fault", FAULTS, ids=[str(fault) for fault in FAULTS])
def test_a_failed_attempt_is_repeated_and_nothing_of_it_is_written(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any], fault: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, after=1, **fault)
    run = tap.run(**span, parallel_downloads=1)
    assert numbers(run) == list(range(12))
    asked = [request.parameters.get("from_date") for request in tap.vendor.exports]
    assert asked.count(day(1)) == 2 or fault == {"reset": "before"}


@pytest.mark.parametrize(
    "fault",
    [{"cut_gzip": True}, {"terminated_early": True}, {"reset": "mid-body"}, {"status": 500}],
    ids=str,
)
def test_after_the_last_attempt_the_run_fails_and_names_the_days(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any], fault: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, after=1, times=None, **fault)
    run = tap.run(**span, status=1, max_attempts=2, parallel_downloads=1)
    assert f"the export of {day(1)}: gave up after 2 attempts" in run.reason
    assert "stream 'events'" in run.reason
    assert numbers(run) == [0, 1, 2, 3]
    assert run.bookmark() == "2024-01-02T08:00:00.000000Z"


def test_a_window_of_some_days_is_named_by_its_first_and_last(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, times=None, status=503)
    run = tap.run(**span, status=1, max_attempts=1, window_days=7)
    assert f"the export of {day(0)} to {day(2)}: gave up" in run.reason


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("gzip_minimum_bytes", [0, 10**9])
def test_bodies_are_received_with_and_without_compression_and_length(
    vendor: Robotmia, tap: Tap, span: dict[str, Any], chunked: bool, gzip_minimum_bytes: int
) -> None:
    vendor.chunked, vendor.gzip_minimum_bytes = chunked, gzip_minimum_bytes
    assert numbers(tap.run(**span)) == list(range(12))


@pytest.mark.parametrize("gzip_minimum_bytes", [0, 10**9])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_broken_body_is_noticed_compressed_or_not(
    sandbox: Sandbox,
    tap: Tap,
    span: dict[str, Any],
    chunked: bool,
    gzip_minimum_bytes: int,
) -> None:
    tap.vendor.chunked, tap.vendor.gzip_minimum_bytes = chunked, gzip_minimum_bytes
    sandbox.faults.add("robotmia", EXPORT, reset="mid-body")
    sandbox.faults.add("robotmia", EXPORT, truncate=True)
    assert numbers(tap.run(**span, max_attempts=5)) == list(range(12))


def test_the_tap_asks_for_gzip_with_a_form_and_basic_authentication(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"events": ["Login", 'say "hi"'], "where": 'properties["n"] > 3'}
    tap.run(**span, **settings, parallel_downloads=1)
    request = vendor.exports[0]
    assert request.method == "POST"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"].startswith("singer-martech/")
    assert request.parameters == {
        "from_date": day(0),
        "to_date": day(0),
        "event": '["Login", "say \\"hi\\""]',
        "where": 'properties["n"] > 3',
    }


def test_filters_are_passed_on(vendor: Robotmia, tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run(**span, where='properties["n"] > 9')
    assert numbers(run) == [10, 11]
    vendor.add_event({"event": "Logout", "properties": {"time": 1704067200, "n": 99}})
    assert numbers(tap.run(**span, events=["Logout"])) == [99]


def test_a_full_disk_is_a_clear_error(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_big_day(day(0), 20_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the tap inherits it
    try:
        process = tap.start(start_date=day(0), end_date=day(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run = tap.finish(process, status=1)
    assert "no room for the export of 2024-01-01" in run.reason
    assert "TMPDIR" in run.reason
    assert not run.records()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_at_once_with_the_state_of_the_last_window(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any], number: signal.Signals
) -> None:
    sandbox.faults.add("robotmia", EXPORT, after=1, times=None, hold=True)
    process = tap.start(**span, parallel_downloads=1)
    assert process.stdout is not None
    out = [process.stdout.readline() for _ in range(6)]
    assert b'"STATE"' in out[-1]
    sandbox.wait_for_requests("robotmia", EXPORT, count=2)
    process.send_signal(number)
    run = tap.finish(process, status=128 + number)
    assert run.lines == []
    assert run.reason == f"stopped by {number.name}"


def test_a_signal_ends_the_output_after_a_complete_line(tap: Tap) -> None:
    tap.vendor.set_big_day(day(0), 30_000)
    process = tap.start(start_date=day(0), end_date=day(0))
    assert process.stdout is not None
    assert b'"RECORD"' in [process.stdout.readline() for _ in range(2)][-1]
    process.send_signal(signal.SIGTERM)  # the tap waits for a pipe that is not read
    run = tap.finish(process, status=128 + signal.SIGTERM)
    assert 0 < len(run.records()) < 29_000
    assert not run.states


def test_a_signal_ends_the_wait_for_the_next_attempt(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, times=None, status=429, retry_after=3000)
    process = tap.start(**span)
    sandbox.wait_for_requests("robotmia", EXPORT, count=2)
    process.send_signal(signal.SIGTERM)
    tap.finish(process, status=128 + signal.SIGTERM)


def test_a_killed_run_is_resumed_without_a_gap(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    sandbox.faults.add("robotmia", EXPORT, after=2, times=None, hold=True)
    process = tap.start(**span, lookback_days=0, parallel_downloads=1)
    sandbox.wait_for_requests("robotmia", EXPORT, count=3)
    process.kill()
    first = tap.finish(process, status=None)
    sandbox.faults.clear()
    second = tap.run(**span, lookback_days=0, state=first.states[-1])
    assert numbers(first) + numbers(second) == list(range(12))
