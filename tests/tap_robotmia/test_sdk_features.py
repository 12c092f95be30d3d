"""Selection, stream maps, flattening, BATCH and STATE work as in any tap of the SDK."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.robotmia_events import ODDITIES
from tests.tap_robotmia.conftest import day, numbered
from tests.tap_robotmia.test_typed_streams import deselect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Run, Tap

IDENTITY: dict[str, Any] = {"stream_maps": {"*": {}}}
"""A stream map that changes nothing, but forces the SDK's own path for every record."""


@pytest.fixture
def span(vendor: Robotmia) -> dict[str, Any]:
    vendor.set_events(numbered(12))
    return {"start_date": day(0), "end_date": day(2)}


def records_without_clock(run: Run) -> list[bytes]:
    return [
        line.partition(b',"time_extracted"')[0] for line in run.lines if b'"type":"RECORD"' in line
    ]


def test_the_fast_path_and_the_sdks_path_write_the_same_records(vendor: Robotmia, tap: Tap) -> None:
    vendor.events_per_day = 500
    days = [day(-number, vendor.today.isoformat()) for number in (3, 1)]
    settings: dict[str, Any] = {
        "start_date": days[0],
        "end_date": days[1],
        "event_streams": ["Page Viewed"],
    }
    catalog = tap.discover(**settings)
    fast = tap.run(**settings, catalog=catalog)
    slow = tap.run(**settings, catalog=catalog, **IDENTITY)
    assert len(fast.records()) > 1000
    assert len(fast.records("event_page_viewed")) > 100
    for stream in ("events", "event_page_viewed"):
        assert fast.records(stream) == slow.records(stream)
        assert fast.schema(stream) == slow.schema(stream)


def test_both_paths_write_compact_json_byte_for_byte(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(
        [
            (
                '{"event":"e","properties":{"time":1704100000,"n":123456789012345678901,"f":1.10,'
                '"text":"Zürich \u2028 \\"x\\" 😀","z":null,"list":[1,{"a":[]}],"$insert_id":"i"}}'
            ),
            '{"event":"e \\\\ ü","properties":{"time":1704100000.5,"distinct_id":"\\n"}}',
        ]
    )
    settings: dict[str, Any] = {"start_date": day(0), "end_date": day(0), "event_streams": ["e"]}
    fast, slow = tap.run(**settings), tap.run(**settings, **IDENTITY)
    assert records_without_clock(fast) == records_without_clock(slow)
    assert len(records_without_clock(fast)) == 3
    (extracted,) = {each["time_extracted"] for each in fast.messages if each["type"] == "RECORD"}
    assert extracted.endswith("Z")


def test_both_paths_write_odd_properties_equally(vendor: Robotmia, tap: Tap) -> None:
    odd = [*ODDITIES.values(), '"\\udc00":1', '"distinct_id":"\\ud83d"']
    vendor.set_events(
        ['{"event":"Odd","properties":{"time":1704100000,' + each + "}}" for each in odd]
    )
    vendor.add_event('{"event":"\\ud83d","properties":{"time":1704100000}}')
    settings: dict[str, Any] = {"start_date": day(0), "end_date": day(0)}
    settings["event_streams"] = ["Odd"]
    fast, slow = tap.run(**settings), tap.run(**settings, **IDENTITY)
    assert (len(fast.records()), len(fast.records("event_odd"))) == (len(odd) + 1, len(odd))
    for stream in ("events", "event_odd"):
        assert fast.records(stream) == slow.records(stream)


def test_a_deselected_column_is_gone(tap: Tap, span: dict[str, Any]) -> None:
    settings: dict[str, Any] = {**span, "event_streams": ["Login"]}
    catalog = tap.discover(**settings)
    deselect(catalog, "events", "properties", "insert_id")
    deselect(catalog, "event_login", "n")
    run = tap.run(**settings, catalog=catalog)
    assert set(run.records()[0]) == {"event_id", "event", "time", "distinct_id", "_extra"}
    assert "properties" not in run.schema()["properties"]
    typed = run.records("event_login")
    assert len(typed) == 12
    assert all("n" not in record and "n" not in record["_extra"] for record in typed)


def test_a_deselected_stream_is_not_exported(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    catalog = tap.discover()
    deselect(catalog, "events")
    run = tap.run(**span, catalog=catalog)
    assert not vendor.exports
    assert not run.records()


def test_stream_maps_filter_rename_and_compute(tap: Tap, span: dict[str, Any]) -> None:
    maps = {
        "events": {
            "__alias__": "logins",
            "__filter__": "properties['n'] >= 10",
            "number": "int(properties['n'])",
            "properties": "__NULL__",
        }
    }
    run = tap.run(**span, stream_maps=maps)
    assert [record["number"] for record in run.records("logins")] == [10, 11]
    assert "properties" not in run.records("logins")[0]
    assert run.records() == []
    assert run.bookmark()


def test_a_stream_map_may_make_a_second_stream(tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run(
        **span,
        stream_maps={"users": {"__source__": "events", "event_id": "event_id", "__else__": None}},
    )
    assert len(run.records()) == len(run.records("users")) == 12


def test_stream_maps_may_leave_out_every_other_stream(tap: Tap, span: dict[str, Any]) -> None:
    maps: dict[str, Any] = {"event_login": {}, "__else__": None}
    run = tap.run(**span, event_streams=["Login"], stream_maps=maps)
    assert len(run.records("event_login")) == 12
    assert run.records() == []


def test_the_stream_map_of_a_deselected_stream_is_ignored(tap: Tap, span: dict[str, Any]) -> None:
    settings: dict[str, Any] = {**span, "event_streams": ["Login"]}
    catalog = tap.discover(**settings)
    deselect(catalog, "event_login")
    maps = {"event_login": {"__key_properties__": ["n"], "number": "n"}}
    run = tap.run(**settings, catalog=catalog, stream_maps=maps)
    assert len(run.records()) == 12
    assert not run.records("event_login")


def test_a_stream_map_that_does_not_fit_its_stream_is_named(tap: Tap, span: dict[str, Any]) -> None:
    maps = {"events": {"__key_properties__": ["nothing"]}}
    run = tap.run(**span, stream_maps=maps, status=1)
    assert run.reason.startswith("setting 'stream_maps': stream 'events': Invalid key properties")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [("record['nothing']", "KeyError: 'nothing'"), ("event.nothing()", "MapExpressionError: ")],
)
def test_a_stream_map_that_fails_for_a_record_is_named(
    tap: Tap, span: dict[str, Any], expression: str, reason: str
) -> None:
    run = tap.run(**span, stream_maps={"events": {"x": expression}}, status=1)
    expected = f"setting 'stream_maps': stream 'events': a record cannot be mapped ({reason}"
    assert run.reason.startswith(expected)
    assert not run.states


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"type": "STATE", "value": state},
        lambda state: {"singer_state": state},
        lambda state: {"completed": {"singer_state": state}, "partial": {}},
        lambda state: {"completed": {}, "partial": {"singer_state": state}},
        lambda state: {"partial": {"singer_state": state}},
        lambda state: {
            "completed": {"singer_state": {"bookmarks": {"events": {"start_date": day(0)}}}},
            "partial": {"singer_state": state},
        },
        lambda state: {"value": state},
    ],
)
def test_a_state_that_another_program_wrapped_is_accepted(
    tap: Tap, span: dict[str, Any], wrap: Callable[[Any], Any]
) -> None:
    first = tap.run(**{**span, "end_date": day(1)})
    run = tap.run(**span, lookback_days=0, state=wrap(first.states[-1]))
    assert run.ids() == tap.run(**span, lookback_days=0, state=first.states[-1]).ids()
    assert 0 < len(run.ids()) < 12


@pytest.mark.parametrize(
    "state",
    [
        {"type": "STATE"},
        {"events": "2024-01-02"},
        {"partial": {}},
        {"value": None},
        {"value": {"a": 1}},
    ],
    ids=str,
)
def test_a_state_without_bookmarks_is_an_error(
    tap: Tap, span: dict[str, Any], state: dict[str, Any]
) -> None:
    run = tap.run(**span, state=state, status=1)
    assert run.reason.startswith("the STATE is not one of a Singer tap: it ")
    assert not run.messages


def test_files_with_a_byte_order_mark_are_read(tap: Tap, span: dict[str, Any]) -> None:
    catalog = tap.discover()
    state = tap.run(**span).states[-1]
    files = {
        "--config": {**tap.vendor.credentials(), **span},
        "--state": state,
        "--catalog": catalog,
    }
    arguments: list[str] = []
    for option, content in files.items():
        path = tap.folder / f"marked{option}"
        path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
        arguments += [option, str(path)]
    assert tap.run(*arguments).status == 0


def test_flattening_keeps_all_properties(tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run(**span, flattening_enabled=True, flattening_max_depth=1)
    kept = json.loads(run.records()[0]["properties"])
    assert kept == {"time": 1704067200, "distinct_id": "u0", "$insert_id": "i0", "n": 0}
    assert run.schema()["properties"]["properties"]["type"] == ["string", "null"]


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_batch_files_hold_every_record_and_state_is_never_ahead(
    tap: Tap, span: dict[str, Any], batch_size: int
) -> None:
    (tap.folder / "batches").mkdir()
    catalog = tap.discover()
    deselect(catalog, "events", "properties")
    run = tap.run(
        **span,
        catalog=catalog,
        batch_config={
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": f"file://{tap.folder}/batches"},
            "batch_size": batch_size,
        },
    )
    records: list[dict[str, Any]] = []
    for message in run.messages:
        if message["type"] == "BATCH":
            for url in message["manifest"]:
                text = gzip.decompress(Path(urlsplit(url).path).read_bytes())
                records += map(json.loads, text.splitlines())
        elif message["type"] == "STATE" and "replication_key_value" in str(message):
            bookmark = message["value"]["bookmarks"]["events"]["replication_key_value"]
            done = int(bookmark[8:10]) - 1
            assert len(records) >= done * 4
    assert [record["distinct_id"] for record in records] == [f"u{n}" for n in range(12)]
    assert all("properties" not in record for record in records)
    assert run.bookmark().startswith("2024-01-04")


def test_a_connection_test_writes_one_record_per_stream(tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run("--test", **span, event_streams=["Login"])
    assert len(run.records()) == len(run.records("event_login")) == 1
    assert not run.bookmarks()


def test_settings_come_from_the_environment(tap: Tap, span: dict[str, Any]) -> None:
    environment = {
        "TAP_ROBOTMIA_LOOKBACK_DAYS": "0",
        "TAP_ROBOTMIA_PARALLEL_DOWNLOADS": "3",
        "TAP_ROBOTMIA_EVENT_STREAMS": '["Login"]',
        "TAP_ROBOTMIA_START_DATE": span["start_date"],
        "TAP_ROBOTMIA_END_DATE": span["end_date"],
    }
    run = tap.run("--config", "ENV", start_date=None, environment=environment)
    assert len(run.records("event_login")) == 12
    assert os.environ.get("TAP_ROBOTMIA_START_DATE") is None


def test_a_number_that_a_stream_map_would_expand_for_minutes_ends_the_run_with_one_line(
    tap: Tap, span: dict[str, Any], sandbox: Sandbox
) -> None:
    line = b'{"event":"Login","properties":{"time":1704103200,"$insert_id":"a","n":1e999990}}\n'
    sandbox.faults.add("robotmia", "/export/", status=200, body=line, times=None)
    maps = {"events": {"number": "int(properties['n'])"}}
    run = tap.run(**span, stream_maps=maps, status=1)
    assert run.reason.startswith(
        "setting 'stream_maps': stream 'events': a record cannot be mapped"
    )
    assert "the number is too large" in run.reason
