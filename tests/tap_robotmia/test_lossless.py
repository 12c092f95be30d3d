from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_robotmia.project_time import instant_text
from tests.sandbox.robotmia_events import ODDITIES
from tests.tap_robotmia.conftest import day, event

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.tap_robotmia.conftest import Tap


def days_ago(vendor: Robotmia, number: int) -> str:
    return day(-number, vendor.today.isoformat())


def exactly(text: bytes | str) -> Any:
    return json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    "zone", ["America/Los_Angeles", "UTC", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]
)
def test_every_event_comes_with_its_properties_and_its_true_time(
    vendor: Robotmia, tap: Tap, zone: str
) -> None:
    vendor.project_timezone = zone
    run = tap.run(start_date=days_ago(vendor, 3), end_date=days_ago(vendor, 1))
    sent = vendor.events(days_ago(vendor, 3), days_ago(vendor, 1))
    records = run.records()
    assert len(records) == len(sent) >= 900
    for record, original in zip(records, sent, strict=True):
        line = exactly(original.line)
        assert record["event"] == line["event"]
        assert record["properties"] == line["properties"]
        assert original.true_time is not None
        moment = datetime.fromtimestamp(original.true_time, timezone.utc)
        assert record["time"][:19] == instant_text(moment)[:19]


def test_a_project_in_true_utc_needs_the_setting(vendor: Robotmia, tap: Tap) -> None:
    vendor.utc_times = True
    run = tap.run(start_date=days_ago(vendor, 1), end_date=days_ago(vendor, 1), timestamps="utc")
    sent = vendor.events(days_ago(vendor, 1))
    assert [record["time"][:19] for record in run.records()] == [
        instant_text(datetime.fromtimestamp(original.true_time or 0, timezone.utc))[:19]
        for original in sent
    ]


def test_odd_properties_pass_to_the_byte(vendor: Robotmia, tap: Tap) -> None:
    sent = ['{"time":1704100000,' + oddity + "}" for oddity in ODDITIES.values()]
    vendor.set_events('{"event":"Odd","properties":' + each + "}" for each in sent)
    run = tap.run(start_date=day(0), end_date=day(0))
    records = [line for line in run.lines if b'"RECORD"' in line]
    for line, record, properties in zip(records, run.records(), sent, strict=True):
        assert properties.encode() in line or "\\ud83d" in properties
        assert record["properties"] == exactly(properties)


def test_both_instants_of_an_hour_that_stands_twice_are_told_apart(
    vendor: Robotmia, tap: Tap
) -> None:
    twice = int(datetime(2018, 11, 4, 1, 30, tzinfo=timezone.utc).timestamp())
    arrivals = [1541320200000, 1541323800000, None]
    vendor.set_events(
        {"event": "e", "properties": {"time": twice, "n": n, "mp_processing_time_ms": arrival}}
        for n, arrival in enumerate(arrivals)
    )
    run = tap.run(start_date="2018-11-04", end_date="2018-11-04")
    assert [record["time"] for record in run.records()] == [
        "2018-11-04T08:30:00.000000Z",
        "2018-11-04T09:30:00.000000Z",
        "2018-11-04T08:30:00.000000Z",
    ]


def test_duplicates_in_one_export_are_emitted_with_one_id(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([event(0.5, insert_id="a")] * 2 + [event(0.5, insert_id="b")])
    first, second, third = tap.run(start_date=day(0), end_date=day(0)).ids()
    assert first == second != third


def test_an_event_has_the_same_id_in_every_export(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(
        [
            '{"event":"e","properties":{"time":1704100000,"a":1,"$insert_id":"x"}}',
            '{"event":"e","properties":{"time":1704100001,"a":1.50,"b":"\\u00fc"}}',
        ]
    )
    first = tap.run(start_date=day(0), end_date=day(0)).ids()
    vendor.set_events(
        [
            '{"properties": {"$insert_id": "x", "a": 2, "time": 1704100000}, "event": "e"}',
            '{"properties": {"b": "ü", "a": 1.5, "time": 1704100001}, "event": "e"}',
        ]
    )
    assert tap.run(start_date=day(0), end_date=day(0)).ids() == first


def test_malformed_lines_end_the_run_by_default(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_body(day(0), b'nope\n{"event":"e","properties":{"time":1704100000}}\n')
    run = tap.run(start_date=day(0), end_date=day(0), status=1)
    assert "the export of 2024-01-01 has a line that is no event (it is not JSON)" in run.reason
    assert "raise setting 'max_malformed_lines' (now 0)" in run.reason
    assert not run.states


def test_malformed_lines_are_kept_as_received_up_to_the_allowance(
    vendor: Robotmia, tap: Tap
) -> None:
    bad = [b"nope", b'{"event":"e","properties":{"time":1704100000,"x":"\xff"}}', b"[1]"]
    good = b'{"event":"e","properties":{"time":1704100000}}'
    vendor.set_body(day(0), b"\n".join([*bad, good]) + b"\n")
    run = tap.run(
        start_date=day(0), end_date=day(0), max_malformed_lines=3, reject_path="kept/here"
    )
    assert len(run.records()) == 1
    (kept,) = (tap.folder / "kept" / "here").iterdir()
    assert kept.read_bytes() == b"".join(line + b"\n" for line in bad)
    assert kept.stat().st_mode & 0o777 == 0o600
    again = tap.run(start_date=day(0), end_date=day(0), max_malformed_lines=2, status=1)
    assert "(now 2)" in again.reason
