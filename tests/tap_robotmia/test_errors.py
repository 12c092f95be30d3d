"""Every failure ends with one line that says what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.impostors import IMPOSTORS
from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Tap

SETTINGS: list[tuple[dict[str, Any], str]] = [
    (
        {"project_timezone": "Mars/Olympus"},
        "setting 'project_timezone' ('Mars/Olympus') is not an IANA",
    ),
    ({"start_date": "2024-02-30"}, "setting 'start_date' ('2024-02-30') must be a day"),
    ({"end_date": "soon"}, "setting 'end_date' ('soon') must be a day such as 2018-02-11"),
    (
        {"start_date": "2024-01-02", "end_date": "2024-01-01"},
        "setting 'end_date' (2024-01-01) is before 'start_date' (2024-01-02)",
    ),
    ({"start_date": "2099-01-01"}, "setting 'start_date' (2099-01-01) is after today"),
    ({"event_streams": ["A b", "A-b"]}, "'A b' and 'A-b' would both be stream 'event_a_b'"),
    ({"event_streams": ["A", "A"]}, "'A' and 'A' would both be stream 'event_a'"),
    ({"event_streams": ["A"], "events": ["B"]}, "has 'A', which setting 'events' excludes"),
    ({"api_secret": None}, "setting 'api_secret' is required"),
    ({"project_timezone": None}, "setting 'project_timezone' is required"),
    ({"start_date": None}, "setting 'start_date' is required"),
    ({"window_days": 0}, "setting 'window_days' must be at least 1"),
    ({"lookback_days": -1}, "setting 'lookback_days' must be at least 0"),
    ({"parallel_downloads": 0}, "setting 'parallel_downloads' must be at least 1"),
    ({"timestamps": "local"}, "setting 'timestamps' must be one of project, utc"),
    ({"window_days": "many"}, "setting 'window_days' must be a whole number"),
    ({"api_url": "http://data.robotmia.com/api"}, "setting 'api_url' must start with https://"),
]


@pytest.mark.parametrize(("config", "line"), SETTINGS, ids=[line for _, line in SETTINGS])
def test_a_wrong_setting_is_named(
    vendor: Robotmia, tap: Tap, config: dict[str, Any], line: str
) -> None:
    run = tap.run(**config, status=1)
    assert line in run.reason
    assert not vendor.requests


@pytest.mark.parametrize("status", [401, 400, 403])
def test_a_rejected_secret_is_named_and_not_shown(vendor: Robotmia, tap: Tap, status: int) -> None:
    vendor.refusal_status = status
    run = tap.run(api_secret="not-the-secret", status=1)
    assert "the API rejected setting 'api_secret'" in run.reason
    assert "not-the-secret" not in run.log
    assert len(vendor.requests) <= 2


def test_a_zone_other_than_the_projects_is_named(vendor: Robotmia, tap: Tap) -> None:
    vendor.project_timezone = "Etc/GMT+12"
    start = vendor.today.isoformat()
    run = tap.run(project_timezone="Pacific/Kiritimati", start_date=start, status=1)
    assert "setting 'project_timezone' (Pacific/Kiritimati) must be the time zone" in run.reason


def test_a_plan_without_access_is_named(vendor: Robotmia, tap: Tap) -> None:
    vendor.has_api_access = False
    run = tap.run(status=1)
    assert "the project's plan does not include the raw export API" in run.reason


def test_a_filter_that_the_api_rejects_is_named(tap: Tap) -> None:
    run = tap.run(where="properties[", status=1)
    assert "check setting 'where'" in run.reason


def test_a_wrong_address_is_named(tap: Tap) -> None:
    run = tap.run(api_url=tap.vendor.api_url + "/wrong", status=1)
    assert "no export API at setting 'api_url'" in run.reason


def test_a_redirect_is_not_followed_with_the_secret(sandbox: Sandbox, tap: Tap) -> None:
    headers = {"Location": "https://example.com/export/"}
    sandbox.faults.add("robotmia", "/export/", times=None, status=307, headers=headers)
    run = tap.run(status=1)
    assert "redirects to https://example.com" in run.reason


NOT_THE_VENDORS = [name for name in IMPOSTORS if name not in {"empty", "empty JSON"}]


@pytest.mark.parametrize("impostor", NOT_THE_VENDORS)
def test_a_success_response_of_another_server_is_retried_and_never_an_export(
    sandbox: Sandbox, vendor: Robotmia, tap: Tap, impostor: str
) -> None:
    vendor.set_events(numbered(8))
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(1), "parallel_downloads": 1}
    sandbox.faults.add("robotmia", "/export/", after=1, impostor=impostor)
    assert len(tap.run(**span).records()) == 8
    sandbox.faults.add("robotmia", "/export/", after=1, times=None, impostor=impostor)
    failed = tap.run(**span, max_attempts=1, max_malformed_lines=99, status=1)
    assert f"the export of {day(1)}" in failed.reason
    assert len(failed.records()) == 4
    assert failed.bookmark() == "2024-01-02T08:00:00.000000Z"


def test_a_line_of_a_gigabyte_is_an_error(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_body(day(0), b"x" * 17 * 1024 * 1024)
    run = tap.run(start_date=day(0), end_date=day(0), status=1)
    assert "the export of 2024-01-01: the response has a line of more than" in run.reason


def test_the_secret_appears_in_no_output(sandbox: Sandbox, vendor: Robotmia, tap: Tap) -> None:
    secret = "s3cr3t+with/odd=characters%"
    vendor.api_secret = secret
    vendor.set_events(numbered(4))
    sandbox.faults.add("robotmia", "/export/", status=500, body=f"you sent {secret}")
    environment = {"LOGLEVEL": "DEBUG"}
    run = tap.run(start_date=day(0), end_date=day(0), environment=environment, max_attempts=2)
    failed = tap.run(
        api_secret=secret + "x", start_date=day(0), environment=environment, status=None
    )
    assert len(run.records()) == 4
    for text in (run.log, failed.log, b"".join(run.lines).decode()):
        assert secret not in text
        assert "czNjcjN0" not in text


def test_a_missing_file_is_named(tap: Tap) -> None:
    assert "'--state': 'nowhere.json'" in tap.run("--state", "nowhere.json", status=1).reason


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        ({"key_properties": [{}]}, "streams/0/key_properties/0"),
        ({"schema": {"properties": {"x": {"type": True}}}}, "streams/0/schema/properties/x/type"),
        ({"replication_method": "SOMETIMES"}, "streams/0/replication_method"),
    ],
)
def test_an_invalid_catalog_is_named_with_the_path(
    vendor: Robotmia, tap: Tap, odd: dict[str, Any], place: str
) -> None:
    stream = {"tap_stream_id": "events", "schema": {"properties": {}}, "metadata": [], **odd}
    run = tap.run(catalog={"streams": [stream]}, status=1)
    assert "the file given with --catalog is not the catalog" in run.reason
    assert place in run.reason
    assert not vendor.requests
