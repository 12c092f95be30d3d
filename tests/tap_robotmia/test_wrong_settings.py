"""Valid settings that do not match the events."""

from __future__ import annotations

import socket
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tap_robotmia.events import EventReader
from tap_robotmia.project_time import ProjectClock, time_zone
from tap_robotmia.zone_check import ZoneCheck
from tests.tap_robotmia.conftest import day, event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sandbox.robotmia import Robotmia
    from tests.tap_robotmia.conftest import Tap

WINTER, SUMMER = datetime(2024, 1, 10, 12), datetime(2024, 7, 10, 12)  # noqa: DTZ001 - wall clocks
MINUTE, HOUR, DAY = 60, 3600, 86400


def checked(
    zone: str, configured: str, delays: Iterable[float], days: Iterable[datetime] = (WINTER,)
) -> str:
    """Return the problem of a zone, given events that arrive some seconds after they happen."""
    check = ZoneCheck(time_zone(configured))
    reader = EventReader(ProjectClock(time_zone(configured)), lambda line, reason: None)  # noqa: ARG005
    for wall in days:
        for delay in delays:
            arrived_at = wall.replace(tzinfo=time_zone(zone)).timestamp() + delay
            properties = {
                "time": int(wall.replace(tzinfo=timezone.utc).timestamp()),
                "mp_processing_time_ms": int(arrived_at * 1000) + 200,
                "$mp_api_timestamp_ms": int(arrived_at * 1000),
            }
            line = msgspec.json.encode({"event": "e", "properties": properties})
            check.add(reader.read([line]))
    return check.problem() or ""


@pytest.mark.parametrize(
    ("zone", "configured"),
    [
        ("Asia/Tokyo", "America/Los_Angeles"),
        ("Europe/Paris", "Europe/London"),
        ("Asia/Kathmandu", "Asia/Kolkata"),
        ("UTC", "America/New_York"),
        ("Pacific/Kiritimati", "Etc/GMT+12"),
    ],
)
def test_a_zone_that_puts_events_after_their_arrival_is_wrong(zone: str, configured: str) -> None:
    problem = checked(zone, configured, [1, 5, 30, 4 * DAY])
    assert "3 of 4 events seem to happen after they arrived" in problem
    assert "check settings 'project_timezone' and 'timestamps'" in problem
    assert zone in problem.partition("would fit: ")[2]


@pytest.mark.parametrize(
    ("zone", "configured", "hours"),
    [
        ("America/Los_Angeles", "Europe/Berlin", "9"),
        ("America/New_York", "UTC", "5"),
        ("Asia/Kolkata", "Asia/Singapore", "2.5"),
    ],
)
def test_a_zone_that_puts_events_hours_before_their_arrival_is_wrong(
    zone: str, configured: str, hours: str
) -> None:
    problem = checked(zone, configured, [*range(20), 4 * DAY, 2 * HOUR])
    assert f"20 of 22 events seem to arrive {hours} h after they happened" in problem
    assert "check settings 'project_timezone' and 'timestamps'" in problem
    assert zone in problem.partition("would fit: ")[2]


@pytest.mark.parametrize(
    "delays", [range(0, 6 * HOUR, 10 * MINUTE), [9 * HOUR] * 19, [4 * DAY] * 40], ids=str
)
def test_events_that_arrive_late_do_not_make_the_right_zone_wrong(delays: Iterable[float]) -> None:
    assert not checked("Asia/Tokyo", "Asia/Tokyo", delays)


def test_only_zones_with_the_same_daylight_saving_time_fit() -> None:
    problem = checked("Europe/Paris", "America/Los_Angeles", [1, 5], [WINTER, SUMMER])
    fitting = problem.partition("would fit: ")[2]
    assert "Europe/Paris" in fitting
    assert "Africa/Algiers" not in fitting


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Paris", "UTC"])
def test_a_few_wrong_clocks_do_not_make_the_right_zone_wrong(zone: str) -> None:
    delays = [1, 30, 2 * DAY, -5 * MINUTE, -20 * HOUR, 5 * DAY]
    assert not checked(zone, zone, delays, [WINTER, SUMMER])
    assert not checked(zone, zone, [1, -3 * DAY, -400 * DAY])


@pytest.mark.parametrize("stamp", ["null", "true", '"soon"', "1e400", "9" * 400, "-1", "[]"])
def test_an_invalid_arrival_is_ignored(stamp: str) -> None:
    line = f'{{"event":"e","properties":{{"time":1541295000,"mp_processing_time_ms":{stamp}}}}}'
    events = EventReader(ProjectClock(time_zone("US/Pacific")), lambda *_: None).read(
        [line.encode()]
    )
    check = ZoneCheck(time_zone("US/Pacific"))
    check.add(events)
    assert len(events) == 1
    assert check.problem() is None


def test_a_run_with_a_wrong_zone_warns_with_the_count_and_the_zones(
    vendor: Robotmia, tap: Tap
) -> None:
    vendor.project_timezone = "Asia/Tokyo"
    span: dict[str, Any] = {
        "start_date": day(-3, vendor.today.isoformat()),
        "end_date": day(-2, vendor.today.isoformat()),
    }
    assert "seem to happen" not in tap.run(**span).log
    run = tap.run(**span, project_timezone="America/Los_Angeles")
    assert "events seem to happen after they arrived" in run.log
    assert "Asia/Tokyo" in run.log
    assert run.log.count("seem to happen") == 1


def test_event_names_without_events_are_named_at_the_end(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([event(0.5, "Login", insert_id="a"), event(1.5, "Logout", insert_id="b")])
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(1)}
    assert "no event '" not in tap.run(**span, events=["Login", "Logout"]).log
    run = tap.run(**span, events=["Login", "Logoff"])
    assert "no event 'Logoff' in the exported days" in run.log
    assert run.log.count("no event '") == 1
    typed = tap.run(**span, event_streams=["login"])
    assert "did you mean 'Login'?" in typed.log


def check(tap: Tap, status: int = 0, **config: Any) -> list[str]:
    """Return the lines of ``--check``."""
    process = tap.start("--check", **config)
    out, log = process.communicate(timeout=60)
    assert process.returncode == status, log.decode()
    return out.decode().splitlines()


def test_check_verifies_login_zone_and_events(vendor: Robotmia, tap: Tap) -> None:
    lines = check(tap, events=["Page Viewed"], event_streams=["Page Viewed"])
    assert lines == [
        "✓ settings",
        "✓ login and export",
        "✓ time zone",
        "✓ event 'Page Viewed'",
    ]
    assert all(request.parameters["from_date"] for request in vendor.exports)


def test_check_fails_on_a_wrong_secret_and_stops(tap: Tap) -> None:
    lines = check(tap, 1, api_secret="wrong", events=["Page Viewed"])
    assert lines[0] == "✓ settings"
    assert lines[1].startswith("✗ login and export: the export of")
    assert "setting 'api_secret'" in lines[1]
    assert len(lines) == 2


def test_check_fails_on_a_wrong_zone(vendor: Robotmia, tap: Tap) -> None:
    vendor.project_timezone = "Asia/Tokyo"
    lines = check(tap, 1, project_timezone="America/Los_Angeles")
    assert any("✗ time zone" in line and "Asia/Tokyo" in line for line in lines)


def test_check_fails_on_an_event_that_does_not_exist(tap: Tap) -> None:
    lines = check(tap, 1, event_streams=["page viewed"])
    assert lines[-1].startswith("✗ event 'page viewed': no event 'page viewed' of setting")
    assert lines[-1].endswith("did you mean 'Page Viewed'?")


def test_check_finds_the_event_that_was_meant_beside_those_of_the_filter(tap: Tap) -> None:
    lines = check(tap, 1, events=["Page Veiwed", "Page Viewed"])
    assert lines[-2].endswith("did you mean 'Page Viewed'?")
    assert lines[-1] == "✓ event 'Page Viewed'"


def test_check_suggests_an_event_that_the_setting_events_excludes(tap: Tap) -> None:
    (line,) = [line for line in check(tap, 1, events=["Page Veiwed"]) if line.startswith("✗")]
    assert line.endswith("did you mean 'Page Viewed'?")


def test_check_fails_on_a_start_date_in_the_future(tap: Tap) -> None:
    (line,) = check(tap, 1, start_date="2099-01-01")
    assert line.startswith("✗ settings: setting 'start_date' (2099-01-01) is after today in")


def test_a_filter_that_no_event_passes_is_named_at_the_end(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([event(0.5, "Login", insert_id="a")])
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(1)}
    assert "'where'" not in tap.run(**span, where='properties["$insert_id"] == "a"').log
    run = tap.run(**span, where='properties["$insert_id"] == "b"')
    assert "no event of the exported days passes the filter; check setting 'where'" in run.log


def test_check_names_the_setting_of_a_closed_port(tap: Tap) -> None:
    with socket.socket() as bound:  # no server listens on its port
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        lines = check(tap, 1, api_url=url, max_attempts=1)
    assert lines[-1].endswith("check setting 'api_url'")


def test_check_finds_events_that_are_older_than_the_most_recent_days(
    vendor: Robotmia, tap: Tap
) -> None:
    old = int(datetime.now(timezone.utc).timestamp()) - 4 * DAY
    vendor.add_event({"event": "Refund", "properties": {"time": old}})
    assert check(tap, events=["Refund"])[-1] == "✓ event 'Refund'"
    assert check(tap, 1, events=["Refund"], sample_days=2)[-1].endswith("'sample_days')")


def test_check_leaves_no_file_behind(tap: Tap) -> None:
    before = sorted(tap.folder.rglob("*"))
    check(tap)
    created = {path.name for path in tap.folder.rglob("*")} - {path.name for path in before}
    assert created == {"config.json"}
