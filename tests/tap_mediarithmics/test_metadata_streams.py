"""The streams about exports themselves."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.tap_mediarithmics.conftest import Output

DAY = 86_400_000


@pytest.fixture
def select(sync: Any) -> Callable[..., Output]:
    """Run the tap with the streams about exports selected."""

    def run(config: dict[str, Any], state: dict[str, Any] | None = None) -> Output:
        tap = TapMediarithmics(config=config, setup_mapper=False)
        catalog = tap.catalog_dict
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if entry["breadcrumb"] in ([], ()):
                    entry["metadata"]["selected"] = True
        output: Output = sync(config, state=state, catalog=catalog)
        return output

    return run


@pytest.mark.parametrize("with_catalog", [False, True])
def test_the_streams_are_not_selected_by_default(
    config: dict[str, Any], sync: Any, with_catalog: bool
) -> None:
    catalog = TapMediarithmics(config=config, setup_mapper=False).catalog_dict
    streams = {
        stream["tap_stream_id"]: entry["metadata"]["selected-by-default"]
        for stream in catalog["streams"]
        for entry in stream["metadata"]
        if not entry["breadcrumb"]
    }
    assert streams == {"exports": False, "export_executions": False}
    output = sync(config, catalog=catalog if with_catalog else None)
    assert not output.counts


def test_every_run_lists_all_exports(
    vendor: Mediarithmics, config: dict[str, Any], select: Any
) -> None:
    for number in range(120):
        vendor.add_export(f"Export {number}", "1")
    first = select(config)
    second = select(config, state=first.state)
    expected = {each["id"]: each for each in vendor.exports()}
    assert {each["id"]: each for each in first.records("exports")} == expected
    assert second.counts["exports"] == len(expected) == 123
    assert first.schema("exports")["key_properties"] == ["id"]
    assert "bookmark_properties" not in first.schema("exports")


def test_executions_of_all_exports_are_listed_once_they_have_ended(
    vendor: Mediarithmics, config: dict[str, Any], select: Any
) -> None:
    first = select(config)
    known = {str(each.id) for each in vendor.export_executions()}
    assert {each["id"] for each in first.records("export_executions")} == known
    assert first.schema("export_executions")["bookmark_properties"] == ["creation_date"]
    record = first.records("export_executions")[0]
    assert record["export_id"] in {each["id"] for each in vendor.exports()}
    assert record["creation_date"].endswith("Z")
    assert "_extra" not in record
    assert select(config, state=first.state).counts["export_executions"] == 0


def test_an_execution_that_has_not_ended_is_read_again_when_it_has(
    vendor: Mediarithmics, config: dict[str, Any], select: Any
) -> None:
    vendor.polls_until_done = 1000
    export = vendor.exports()[0]["id"]
    running = vendor.add_execution(export, status="RUNNING")
    newer = vendor.add_execution(export)
    first = select(config)
    vendor.finish(running)
    second = select(config, state=first.state)
    third = select(config, state=second.state)
    statuses = {each["id"]: each["status"] for each in second.records("export_executions")}
    assert statuses == {running: "SUCCEEDED", newer: "SUCCEEDED"}
    assert third.counts["export_executions"] == 0


def test_an_execution_still_running_after_a_week_is_skipped(
    vendor: Mediarithmics, config: dict[str, Any], select: Any
) -> None:
    vendor.polls_until_done = 1000
    export = vendor.exports()[0]["id"]
    vendor.add_execution(export, status="PENDING", created=int(time.time() * 1000) - 8 * DAY)
    vendor.add_execution(export)
    first = select(config)
    assert select(config, state=first.state).counts["export_executions"] == 0


def test_executions_before_the_start_date_are_not_listed(
    config: dict[str, Any], select: Any
) -> None:
    output = select({**config, "start_date": datetime.now(timezone.utc).isoformat()})
    assert output.counts["export_executions"] == 0


def test_a_state_with_only_a_date_is_understood(config: dict[str, Any], select: Any) -> None:
    state = {
        "bookmarks": {
            "export_executions": {
                "replication_key": "creation_date",
                "replication_key_value": "2999-01-01T00:00:00Z",
            }
        }
    }
    assert select(config, state=state).counts["export_executions"] == 0


def test_unknown_fields_and_numeric_ids_are_accepted(
    config: dict[str, Any], select: Any, sandbox: Sandbox
) -> None:
    body = {
        "status": "ok",
        "data": [{"id": 7, "name": "N", "query_id": 8, "new": {"a": 1}}],
        "count": 1,
        "total": 1,
        "first_result": 0,
        "max_results": 50,
    }
    sandbox.faults.add("mediarithmics", "*/exports", status=200, body=body, times=None)
    sandbox.faults.add(
        "mediarithmics", "*/executions", status=200, times=None, body={"status": "ok", "data": []}
    )
    assert select(config).records("exports") == [
        {"id": "7", "name": "N", "query_id": "8", "_extra": {"new": {"a": 1}}},
    ]
