from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.tap_robotmia.conftest import day, event, numbered
from tests.tap_robotmia.test_state import start_of

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Tap

LOGIN, PAY = "event_login", "event_pay_now_"


@pytest.fixture
def span(vendor: Robotmia) -> dict[str, Any]:
    """Three days with logins and payments."""
    vendor.set_events(
        [
            event(0.1, "Login", insert_id="a", plan="pro", age=30),
            event(0.2, "Pay now!", insert_id="b", amount=10),
            event(1.1, "Login", insert_id="c", plan="free", City="Lyon", city="lyon"),
            event(1.2, "Pay now!", insert_id="d", amount=9.5, paid=True),
            event(2.1, "Logout", insert_id="e"),
            event(2.2, "Login", insert_id="f", plan=None, time_=3),
        ]
    )
    return {"start_date": day(0), "end_date": day(2)}


def test_discovery_without_typed_streams_sends_no_request(vendor: Robotmia, tap: Tap) -> None:
    catalog = tap.discover()
    assert [stream["tap_stream_id"] for stream in catalog["streams"]] == ["events"]
    assert catalog["streams"][0]["key_properties"] == ["event_id"]
    assert catalog["streams"][0]["replication_key"] == "time"
    assert not vendor.requests


def test_discovery_types_the_streams_from_recent_days(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    catalog = tap.discover(**span, event_streams=["Login", "Pay now!"], sample_days=2)
    schemas = {s["tap_stream_id"]: s["schema"]["properties"] for s in catalog["streams"]}
    assert set(schemas) == {"events", LOGIN, PAY}
    own = ["event_id", "time", "distinct_id", "insert_id"]
    assert list(schemas[LOGIN]) == [*own, "$insert_id", "City", "city", "plan", "time_", "_extra"]
    assert schemas[LOGIN]["plan"]["type"] == ["string", "null"]
    assert schemas[PAY]["amount"]["type"] == ["number", "null"]
    assert schemas[PAY]["paid"]["type"] == ["boolean", "null"]
    asked = [request.parameters for request in vendor.exports]
    assert sorted(each["from_date"] for each in asked) == [day(1), day(2)]
    assert {each["event"] for each in asked} == {'["Login", "Pay now!"]'}


def test_events_with_only_a_time_count_as_found(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([event(0.1, "Login")])
    process = tap.start(
        "--discover", start_date=day(0), end_date=day(0), event_streams=["Login", "Other"]
    )
    _, log = process.communicate(timeout=60)
    assert b"no event 'Other' in the last 7 days" in log
    assert b"no event 'Login'" not in log


def test_events_and_typed_streams_share_each_download(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {**span, "event_streams": ["Login", "Pay now!"]}
    catalog = tap.discover(**settings)
    vendor.requests.clear()
    run = tap.run(**settings, catalog=catalog)
    assert sorted(each.parameters["from_date"] for each in vendor.exports) == [
        day(0),
        day(1),
        day(2),
    ]
    assert len(run.records()) == 6
    assert [record["plan"] for record in run.records(LOGIN)] == ["pro", "free", None]
    assert [record["amount"] for record in run.records(PAY)] == [10, 9.5]
    assert [message["stream"] for message in run.messages if message["type"] == "SCHEMA"] == [
        LOGIN,
        PAY,
        "events",
    ]
    assert {run.bookmark(stream) for stream in ("events", LOGIN, PAY)} == {start_of(3)}
    ids = set(run.ids())
    assert set(run.ids(LOGIN)) < ids
    assert set(run.ids(PAY)) < ids


def test_what_the_schema_does_not_know_is_in_extra(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {**span, "event_streams": ["Login"]}
    catalog = tap.discover(**settings)
    vendor.add_event(event(2.5, "Login", insert_id="g", age="old", new=[1], event_id="mine"))
    last = tap.run(**settings, catalog=catalog).records(LOGIN)[-1]
    assert last["age"] is None
    extra = {name: last["_extra"][name] for name in ("age", "new", "event_id")}
    assert extra == {"age": "old", "new": [1], "event_id": "mine"}
    assert last["_extra"]["time"] == 1704283200


def test_typed_streams_alone_request_only_their_events(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {**span, "event_streams": ["Login", "Pay now!"]}
    catalog = tap.discover(**settings)
    deselect(catalog, "events")
    vendor.requests.clear()
    run = tap.run(**settings, catalog=catalog)
    assert {each.parameters["event"] for each in vendor.exports} == {'["Login", "Pay now!"]'}
    assert (len(run.records(LOGIN)), len(run.records(PAY)), run.records()) == (3, 2, [])


def test_a_stream_that_is_new_catches_up_with_the_others(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    first = tap.run(**span)
    vendor.requests.clear()
    settings: dict[str, Any] = {
        **span,
        "event_streams": ["Login"],
        "lookback_days": 1,
        "window_days": 3,
    }
    catalog = tap.discover(**settings)
    vendor.requests.clear()
    run = tap.run(**settings, catalog=catalog, state=first.states[-1], parallel_downloads=1)
    asked = [(each.parameters["from_date"], each.parameters["to_date"]) for each in vendor.exports]
    assert asked == [(day(0), day(1)), (day(2), day(2))]
    assert [each.parameters.get("event") for each in vendor.exports] == ['["Login"]', None]
    assert len(run.records(LOGIN)) == 3
    assert len(run.records()) == 2
    assert run.bookmark(LOGIN) == run.bookmark() == start_of(3)


def test_a_failed_run_leaves_every_stream_at_the_same_window(
    sandbox: Sandbox, tap: Tap, span: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {
        **span,
        "event_streams": ["Login"],
        "parallel_downloads": 1,
        "lookback_days": 0,
    }
    catalog = tap.discover(**settings)
    sandbox.faults.add("robotmia", "/export/", after=2, status=400)
    first = tap.run(**settings, catalog=catalog, status=1)
    assert first.bookmark(LOGIN) == first.bookmark() == start_of(2)
    second = tap.run(**settings, catalog=catalog, state=first.states[-1])
    assert len(first.ids() + second.ids()) == 6
    assert len(first.ids(LOGIN) + second.ids(LOGIN)) == 3


def test_a_name_without_recent_events_gets_a_stream_and_a_warning(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    run = tap.run(**span, event_streams=["Never"])
    assert "no event 'Never' in the last" in run.log
    assert list(run.schema("event_never")["properties"])[-1] == "_extra"
    assert vendor.exports


def test_a_stream_missing_in_the_catalog_is_not_exported_with_a_warning(
    vendor: Robotmia, tap: Tap, span: dict[str, Any]
) -> None:
    catalog = tap.discover()
    vendor.requests.clear()
    run = tap.run(**span, event_streams=["Login"], catalog=catalog)
    assert "'Login' of setting 'event_streams' is not in the catalog" in run.log
    assert (len(run.records()), run.records(LOGIN)) == (6, [])
    assert len(vendor.exports) == 3


def test_a_failed_discovery_names_the_stream_and_the_days(sandbox: Sandbox, tap: Tap) -> None:
    sandbox.faults.add("robotmia", "/export/", times=None, status=401)
    run = tap.run(start_date=day(0), event_streams=["Login"], status=1)
    assert "setting 'api_secret'" in run.reason


def test_many_events_are_typed_once_and_read_in_blocks(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(numbered(5000, per_day=2500))
    run = tap.run(start_date=day(0), end_date=day(1), event_streams=["Login"])
    assert [record["n"] for record in run.records(LOGIN)] == list(range(5000))


def deselect(catalog: dict[str, object], stream: str, *columns: str) -> None:
    """Deselect columns of a stream, or the stream."""
    streams = catalog["streams"]
    assert isinstance(streams, list)
    (entry,) = (each for each in streams if each["tap_stream_id"] == stream)
    wanted = [["properties", column] for column in columns] or [[]]
    for metadata in entry["metadata"]:
        if metadata["breadcrumb"] in wanted:
            metadata["metadata"]["selected"] = False


def test_a_stream_map_renames_columns_that_loaders_reject(vendor: Robotmia, tap: Tap) -> None:
    long = "long name " * 8
    vendor.set_events([event(0.5, "Login", **{'say "hi"': 1, "": "nameless", long: 2})])
    settings: dict[str, Any] = {
        "start_date": day(0),
        "end_date": day(0),
        "event_streams": ["Login"],
    }
    catalog = tap.discover(**settings)
    renamed = {
        "say_hi": "record['say \"hi\"']",
        'say "hi"': "__NULL__",
        "nameless": "record['']",
        "": "__NULL__",
        "long_name": f"record['{long}']",
        long: "__NULL__",
    }
    run = tap.run(**settings, catalog=catalog, stream_maps={LOGIN: renamed})
    (record,) = run.records(LOGIN)
    assert (record["say_hi"], record["nameless"], record["long_name"]) == (1, "nameless", 2)
    assert not {'say "hi"', "", long} & set(record)
    assert not {'say "hi"', "", long} & set(run.schema(LOGIN)["properties"])
