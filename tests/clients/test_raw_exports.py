"""Three clients fetch the same days and agree on each event, each property and each time.

mixpanel-utils and tap-mixpanel are third-party clients of the same wire format. The first returns
the body as the server sent it, so that every digit can be compared. The second puts the properties
beside the event's name and writes times in UTC.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.programs import exact, run_client, run_plugin
from tests.sandbox.robotmia_events import EXTRA_KEYS

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox

    Event = dict[str, Any]

DAYS = 3

#: No types of properties, since the tap converts values to the types of its catalog.
_CATALOG = {
    "streams": [
        {
            "tap_stream_id": "export",
            "stream": "export",
            "key_properties": [],
            "schema": {"type": "object", "properties": {}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
        },
    ],
}


@pytest.fixture
def robotmia(sandbox: Sandbox) -> Robotmia:
    vendor = sandbox.robotmia
    # The vendor's clock is stopped, so that no event arrives between two exports.
    vendor.now = datetime.now(timezone.utc)
    return vendor


def with_mixpanel_utils(
    robotmia: Robotmia, days: tuple[date, date], *, parsed: bool = False, **parameters: Any
) -> list[Event]:
    given = {
        "api": robotmia.api_url.removesuffix("/2.0"),
        "api_secret": robotmia.api_secret,
        "parameters": {"from_date": str(days[0]), "to_date": str(days[1]), **parameters},
        "parsed": parsed,
    }
    output = run_client("export_with_mixpanel_utils", given=given)
    read = json.loads if parsed else exact
    return [read(line) for line in output.split(b"\n") if line]


def with_tap_mixpanel(
    robotmia: Robotmia, days: tuple[date, date], folder: Path, **settings: str
) -> list[Event]:
    config, catalog = folder / "tap-mixpanel.json", folder / "catalog.json"
    catalog.write_text(json.dumps(_CATALOG))
    config.write_text(
        json.dumps(
            {
                "api_secret": robotmia.api_secret,
                "project_timezone": "UTC",
                "attribution_window": "1",
                "user_agent": "tap-mixpanel",
                "start_date": f"{days[0]}T00:00:00Z",
                "end_date": f"{days[1]}T23:59:59Z",
                **settings,
            },
        ),
    )
    output = run_client(
        "export_with_tap_mixpanel",
        *("--config", str(config), "--catalog", str(catalog)),
        environment={"EXPORT_URL": robotmia.api_url},
    )
    return records(json.loads(line) for line in output.splitlines())


def with_tap_robotmia(
    robotmia: Robotmia,
    days: tuple[date, date],
    folder: Path,
    *,
    parsed: bool = False,
    **settings: Any,
) -> list[Event]:
    config = {
        **robotmia.credentials(),
        "start_date": str(days[0]),
        "end_date": str(days[1]),
        **settings,
    }
    output = run_plugin("tap-robotmia", config, folder)
    return records(map(json.loads, output) if parsed else map(exact, output))


def records(messages: Any) -> list[Event]:
    return [message["record"] for message in messages if message["type"] == "RECORD"]


def as_exported(record: Event) -> Event:
    """Return the exported row of a record of tap-robotmia."""
    extra = record["_extra"] or {}
    return {"event": record["event"], "properties": record["properties"], **extra}


def days_of(robotmia: Robotmia, count: int) -> tuple[date, date]:
    """Return the first and the last of this number of past days, in the project's time zone."""
    last = robotmia.today - timedelta(days=2)
    return last - timedelta(days=count - 1), last


def in_utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def side_by_side(row: Event) -> Event:
    """Return an exported row as tap-mixpanel writes it: its properties beside its name."""
    flat = {name: value for name, value in row.items() if name != "properties"}
    for name, value in row["properties"].items():
        flat[f"mp_reserved_{name[1:]}" if name.startswith("$") else name] = value
    return flat


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Chatham"])
def test_rows_are_equal_to_the_last_digit(robotmia: Robotmia, tmp_path: Path, zone: str) -> None:
    robotmia.project_timezone = zone
    days = days_of(robotmia, DAYS)
    theirs = with_mixpanel_utils(robotmia, days)
    ours = with_tap_robotmia(robotmia, days, tmp_path)
    assert len(theirs) > DAYS * 100
    assert [as_exported(record) for record in ours] == theirs


def test_three_clients_agree_on_every_event_property_and_time(
    robotmia: Robotmia, tmp_path: Path
) -> None:
    # In a project of another zone tap-mixpanel writes the raw time as if it were UTC.
    robotmia.project_timezone = "UTC"
    robotmia.extra_keys = EXTRA_KEYS
    days = days_of(robotmia, DAYS)
    rows = with_mixpanel_utils(robotmia, days, parsed=True)
    flat = with_tap_mixpanel(robotmia, days, tmp_path)
    ours = with_tap_robotmia(robotmia, days, tmp_path, parsed=True)
    assert len(rows) == len(flat) == len(ours) > DAYS * 100
    for row, record, own in zip(rows, flat, ours, strict=True):
        moment = datetime.fromtimestamp(row["properties"]["time"], timezone.utc)
        assert in_utc(own["time"]) == moment
        assert in_utc(record["time"]) == moment
        assert {**record, "time": row["properties"]["time"]} == side_by_side(row)
        assert own["_extra"] == EXTRA_KEYS
        assert row == as_exported(own)


def test_three_clients_agree_on_chosen_events(robotmia: Robotmia, tmp_path: Path) -> None:
    names = ["Purchase Completed", "Added to Cart"]
    robotmia.project_timezone = "UTC"
    days = days_of(robotmia, 1)
    expected = [event.name for event in robotmia.events(*days) if event.name in names]
    assert set(expected) == set(names)
    rows = with_mixpanel_utils(robotmia, days, event=names)
    flat = with_tap_mixpanel(robotmia, days, tmp_path, export_events=", ".join(names))
    ours = with_tap_robotmia(robotmia, days, tmp_path, events=names)
    assert [row["event"] for row in rows] == expected
    assert [record["event"] for record in ours] == expected
    assert len(flat) == len(expected)
    asked = [json.loads(item.parameters["event"]) for item in robotmia.exports]
    assert asked == [names, names, names]


def test_the_clients_omit_slash_and_colon(robotmia: Robotmia, tmp_path: Path) -> None:
    robotmia.project_timezone = "UTC"
    days = days_of(robotmia, 1)
    with_mixpanel_utils(robotmia, days)
    with_tap_mixpanel(robotmia, days, tmp_path)
    assert [item.method for item in robotmia.exports] == ["GET", "GET"]
    assert {item.path for item in robotmia.exports} == {"/robotmia/api/2.0/export"}
    assert [item.status for item in robotmia.exports] == [200, 200]
