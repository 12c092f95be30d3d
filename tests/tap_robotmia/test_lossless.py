from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.values.timestamps import instant_text
from tap_robotmia.malformed_lines import MalformedLines
from tests.sandbox.robotmia_events import EXTRA_KEYS, ODDITIES
from tests.tap_robotmia.conftest import day, event

if TYPE_CHECKING:
    from pathlib import Path

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
    assert len(records) == len(sent) > 500
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


def test_odd_properties_are_written_byte_for_byte(vendor: Robotmia, tap: Tap) -> None:
    sent = ['{"time":1704100000,' + oddity + "}" for oddity in ODDITIES.values()]
    vendor.set_events('{"event":"Odd","properties":' + each + "}" for each in sent)
    run = tap.run(start_date=day(0), end_date=day(0))
    records = [line for line in run.lines if b'"RECORD"' in line]
    for line, record, properties in zip(records, run.records(), sent, strict=True):
        assert properties.encode() in line or "\\ud83d" in properties
        assert record["properties"] == exactly(properties)


def test_both_instants_of_an_ambiguous_hour_are_distinguished(vendor: Robotmia, tap: Tap) -> None:
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
    assert "the export of 2024-01-01 has a line that is not an event (it is not JSON)" in run.reason
    assert "raise setting 'max_malformed_lines' (now 0)" in run.reason
    assert not run.states


def test_malformed_lines_are_kept_as_received_up_to_the_limit(vendor: Robotmia, tap: Tap) -> None:
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
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    again = tap.run(start_date=day(0), end_date=day(0), max_malformed_lines=2, status=1)
    assert "(now 2)" in again.reason


LAST_LINES = [b"nope", b'{"error":"internal"}', b'{"event":"e","properties":{"time":"soon"}}']


@pytest.mark.parametrize("line", LAST_LINES)
def test_a_last_line_counts_as_malformed_like_any_other(
    vendor: Robotmia, tap: Tap, line: bytes
) -> None:
    good = b'{"event":"e","properties":{"time":1704100000}}'
    vendor.set_body(day(0), good + b"\n" + line + b"\n")
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(0)}
    run = tap.run(**span, max_malformed_lines=1)
    assert len(run.records()) == 1
    (kept,) = (tap.folder / "rejects").iterdir()
    assert kept.read_bytes() == line + b"\n"
    failed = tap.run(**span, status=1)
    assert "has a line that is not an event" in failed.reason
    assert "internal" in failed.reason or b"error" not in line
    assert not failed.states


def test_keys_beside_event_and_properties_are_in_extra(vendor: Robotmia, tap: Tap) -> None:
    vendor.extra_keys = EXTRA_KEYS
    span: dict[str, Any] = {"start_date": days_ago(vendor, 1), "end_date": days_ago(vendor, 1)}
    run = tap.run(**span)
    slow = tap.run(**span, stream_maps={"*": {}})
    assert run.schema()["properties"]["_extra"]["type"] == ["object", "null"]
    assert len(run.records()) > 100
    assert all(record["_extra"] == EXTRA_KEYS for record in run.records())
    assert run.records() == slow.records()
    vendor.extra_keys = {}
    plain = tap.run(**span)
    assert plain.ids() == run.ids()
    assert all(record["_extra"] is None for record in plain.records())


def test_sanitized_text_can_be_written_as_utf_8_in_all_streams(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(
        [
            '{"event":"e","properties":{"time":1704100000,"a\\ud800":"\\u0000","b":"\\ud83d"}}',
            '{"event":"e","properties":{"time":1704100001,"b":"plain"}}',
        ]
    )
    settings: dict[str, Any] = {"start_date": day(0), "end_date": day(0), "event_streams": ["e"]}
    settings["sanitize_text"] = True
    catalog = tap.discover(**settings)
    run = tap.run(**settings, catalog=catalog)
    assert "a\ufffd" in run.schema("event_e")["properties"]
    assert [record["b"] for record in run.records("event_e")] == ["\ufffd", "plain"]
    assert run.records()[0]["properties"]["a\ufffd"] == "\ufffd"
    text = b"".join(run.lines)
    assert b"\\u0000" not in text
    assert b"\\ud8" not in text


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"e","properties":{"time":%b}}' % (b"9" * 4301),
        b'{"event":"e","properties":{"time":"%b"}}' % (b"9" * 4301),
        b'{"event":"e","properties":{"time":1e999990}}',
        b'{"event":"e","properties":{"time":-1e999990,"$insert_id":"i"}}',
        b'{"event":"e","properties":{"time":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
    ids=["digits", "digits as text", "exponent", "negative exponent", "nested"],
)
def test_no_line_ends_a_run_that_may_reject(vendor: Robotmia, tap: Tap, line: bytes) -> None:
    good = b'{"event":"e","properties":{"time":1704100000}}'
    vendor.set_body(day(0), good + b"\n" + line + b"\n" + good + b"\n")
    run = tap.run(start_date=day(0), end_date=day(0), event_streams=["e"], max_malformed_lines=1)
    assert len(run.records()) == len(run.records("event_e")) == 2
    (kept,) = (tap.folder / "rejects").iterdir()
    assert kept.read_bytes() == line + b"\n"


@pytest.mark.parametrize("value", ["1e999990", "9" * 4301, "-1e-999990"])
def test_numbers_of_any_size_are_kept_as_properties(vendor: Robotmia, tap: Tap, value: str) -> None:
    line = '{"event":"e","properties":{"time":1704100000,"x":%s}}'
    vendor.set_body(day(0), "\n".join([line % 1, line % value]).encode())
    settings: dict[str, Any] = {"start_date": day(0), "end_date": day(0), "event_streams": ["e"]}
    run = tap.run(**settings, catalog=tap.discover(**settings))
    assert f'"x":{value}'.encode() in b"".join(run.lines)
    assert len(run.records("event_e")) == 2


@pytest.mark.parametrize("stream_maps", [{}, {"*": {}}], ids=["encoded", "by the SDK"])
@pytest.mark.parametrize("odd", ["", ',"half":"\\ud800"'])
def test_an_event_of_any_depth_is_written_or_malformed(
    vendor: Robotmia, tap: Tap, stream_maps: dict[str, Any], odd: str
) -> None:
    line = '{"event":"e","properties":{"time":1704100000%s,"x":%s}}'
    depths = [1, *range(380, 420, 5), *range(900, 1010, 10)]
    lines = [line % (odd, "[" * depth + "]" * depth) for depth in depths]
    vendor.set_body(day(0), "\n".join(lines).encode() + b"\n")
    run = tap.run(
        start_date=day(0),
        end_date=day(0),
        event_streams=["e"],
        max_malformed_lines=len(lines),
        stream_maps=stream_maps,
    )
    assert len(run.records()) == len(run.records("event_e")) == 5
    (kept,) = (tap.folder / "rejects").iterdir()
    assert len(kept.read_bytes().splitlines()) == len(lines) - 5


@pytest.mark.parametrize("is_link", [True, False])
def test_malformed_lines_are_not_written_to_a_link_or_a_file_of_others(
    tmp_path: Path, is_link: bool
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    malformed = MalformedLines(tmp_path / "rejects", 1)
    malformed.path.parent.mkdir()
    if is_link:
        malformed.path.symlink_to(victim)
    else:
        malformed.path.hardlink_to(victim)
    with pytest.raises(MartechError, match="cannot be saved in setting 'reject_path'"):
        malformed.add(b"nope", "it is not JSON", "the export")
    assert victim.read_text() == "kept"
