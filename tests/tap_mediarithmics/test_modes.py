"""The executions that are read, and the bookmark afterwards."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.tap_mediarithmics.conftest import Output

DAY = 86_400_000
NOON = 1_700_000_000_000


@pytest.fixture
def export(vendor: Mediarithmics) -> str:
    """An export without any execution."""
    return vendor.add_export("Things", "SELECT { id } FROM UserPoint")


@pytest.fixture
def things(config: dict[str, Any], export: str) -> Callable[..., dict[str, Any]]:
    """Settings with one stream of that export."""

    def made(**item: Any) -> dict[str, Any]:
        return {**config, "exports": [{"stream": "things", "export_id": export, **item}]}

    return made


def read(output: Output) -> list[str]:
    """The executions that a run has read, in order."""
    return list(dict.fromkeys(each["_execution_id"] for each in output.records("things")))


def test_latest_reads_the_newest_execution_that_succeeded(
    vendor: Mediarithmics, export: str, things: Any, sync: Any
) -> None:
    vendor.polls_until_done = 1000
    vendor.add_execution(export, created=NOON, files=[b'{"id":"old"}\n'])
    new = vendor.add_execution(export, created=NOON + 1, files=[b'{"id":"a"}\n{"id":"b"}'])
    vendor.add_execution(export, created=NOON + 2, status="FAILED")
    vendor.add_execution(export, created=NOON + 3, status="PENDING")
    output = sync(things())
    assert output.records("things") == [
        {
            "id": "a",
            "_execution_id": new,
            "_execution_creation_date": "2023-11-14T22:13:20.001Z",
            "_line": 1,
        },
        {
            "id": "b",
            "_execution_id": new,
            "_execution_creation_date": "2023-11-14T22:13:20.001Z",
            "_line": 2,
        },
    ]
    assert output.schema("things")["key_properties"] == ["_execution_id", "_line"]
    assert output.schema("things")["bookmark_properties"] == ["_execution_creation_date"]


@pytest.mark.parametrize("mode", ["latest", "all"])
def test_a_second_run_with_nothing_new_emits_no_record(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, mode: str
) -> None:
    vendor.add_execution(export, created=NOON, files=[b'{"id":"a"}\n'])
    first = sync(things(mode=mode))
    second = sync(things(mode=mode), state=first.state)
    assert first.counts["things"] == 1
    assert second.counts["things"] == 0
    assert second.bookmark("things") == first.bookmark("things")


def test_all_reads_every_new_execution_oldest_first(
    vendor: Mediarithmics, export: str, things: Any, sync: Any
) -> None:
    made = [
        vendor.add_execution(export, created=NOON + number * DAY, files=[b'{"id":"a"}\n'])
        for number in range(3)
    ]
    first = sync(things(mode="all"))
    made += [vendor.add_execution(export, created=NOON + 5 * DAY, files=[b'{"id":"a"}\n'])]
    second = sync(things(mode="all"), state=first.state)
    assert read(first) == made[:3]
    assert read(second) == made[3:]


def test_executions_of_one_millisecond_are_distinguished_by_their_ids(
    vendor: Mediarithmics, export: str, things: Any, *, sync: Any, command: Any, sandbox: Sandbox
) -> None:
    made = [vendor.add_execution(export, created=NOON, files=[b'{"id":"a"}\n']) for _ in range(3)]
    sandbox.faults.add("mediarithmics", f"executions/{made[1]}/files", times=None, status=404)
    sandbox.faults.add("mediarithmics", "data_file", times=None, status=404)
    ended = command(things(mode="all"))
    sandbox.faults.clear()
    assert ended.status == 1
    assert read(ended.output) == made[:1]
    assert ended.output.bookmark("things")["execution"]["id"] == made[0]
    assert read(sync(things(mode="all"), state=ended.output.state)) == made[1:]


def test_all_stops_before_the_oldest_execution_that_has_not_ended(
    vendor: Mediarithmics, export: str, things: Any, sync: Any
) -> None:
    vendor.polls_until_done = 1000
    first = vendor.add_execution(export, created=NOON, files=[b'{"id":"1"}\n'])
    vendor.add_execution(export, created=NOON + 1, status="FAILED")
    running = vendor.add_execution(export, created=NOON + 2, status="RUNNING")
    third = vendor.add_execution(export, created=NOON + 3, files=[b'{"id":"3"}\n'])
    output = sync(things(mode="all"))
    assert read(output) == [first]
    vendor.finish(running, files=[b'{"id":"2"}\n'])
    assert read(sync(things(mode="all"), state=output.state)) == [running, third]


@pytest.mark.parametrize("mode", ["latest", "all"])
def test_executions_before_the_start_date_are_ignored(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, mode: str
) -> None:
    vendor.add_execution(export, created=NOON - 2 * DAY, status="PENDING")
    vendor.add_execution(export, created=NOON - DAY, files=[b'{"id":"a"}\n'])
    assert sync({**things(mode=mode), "start_date": "2023-11-14"}).counts["things"] == 0
    new = vendor.add_execution(export, created=NOON, files=[b'{"id":"a"}\n'])
    assert read(sync({**things(mode=mode), "start_date": "2023-11-14"})) == [new]


def test_no_more_pages_are_requested_than_needed(
    vendor: Mediarithmics, export: str, things: Any, sync: Any
) -> None:
    made = [
        vendor.add_execution(export, created=NOON + number, files=[b'{"id":"a"}\n'])
        for number in range(125)
    ]
    first = sync(things(mode="all"))
    assert read(first) == made
    vendor.requests.clear()
    new = vendor.add_execution(export, created=NOON + 500, files=[b'{"id":"a"}\n'])
    assert read(sync(things(mode="all"), state=first.state)) == [new]
    pages = [
        request.query["first_result"]
        for request in vendor.requests_to(f"exports/{export}/executions$")
    ]
    assert set(pages) <= {"0", "50"}


@pytest.mark.parametrize("with_total", [True, False])
def test_lists_without_a_total_are_read_to_the_end(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, with_total: bool
) -> None:
    vendor.with_total = with_total
    vendor.max_results = 7
    made = [
        vendor.add_execution(export, created=NOON + number, files=[b'{"id":"a"}\n'])
        for number in range(21)
    ]
    assert read(sync(things(mode="all"))) == made


def test_run_launches_waits_and_reads(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, caplog: Any
) -> None:
    caplog.set_level("INFO")
    vendor.polls_until_done = 4
    output = sync(things(mode="run"))
    (execution,) = vendor.export_executions(export)
    assert read(output) == [str(execution.id)]
    assert output.counts["things"] == len(vendor.objects("UserPoint"))
    assert output.bookmark("things")["execution"]["id"] == str(execution.id)
    assert "500 of 1000 tasks done" in caplog.text
    (launch,) = vendor.requests_to(f"exports/{export}/executions", "POST")
    assert launch.body == b"{}"


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_run_attaches_to_an_execution_that_is_running(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, status: str
) -> None:
    running = vendor.add_execution(export, status=status)
    assert read(sync(things(mode="run"))) == [running]
    assert vendor.requests_to("executions$", "POST") == []


def test_run_of_a_query_id_finds_the_export_of_that_query(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    query = vendor.add_query("SELECT { id } FROM UserPoint")
    export = vendor.add_export("By hand", query)
    output = sync({**config, "exports": [{"stream": "things", "query_id": query}]})
    (execution,) = vendor.export_executions(export)
    assert read(output) == [str(execution.id)]


def test_run_of_a_query_id_without_an_export_creates_one_named_after_the_stream(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    query = vendor.add_query("SELECT { id } FROM UserPoint")
    settings = {**config, "exports": [{"stream": "things", "query_id": query}]}
    assert sync(settings).counts["things"]
    assert sync(settings).counts["things"]
    (made,) = (each for each in vendor.exports() if each["query_id"] == query)
    assert made["name"] == "singer-martech things"
    assert len(vendor.export_executions(made["id"])) == 2


def test_a_launch_with_a_lost_response_is_found_and_not_repeated(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mediarithmics", "executions", method="POST", reset="after")
    assert sync(things(mode="run")).counts["things"]
    assert len(vendor.export_executions(export)) == 1


def test_a_launch_that_never_arrived_is_repeated(
    vendor: Mediarithmics, export: str, things: Any, sync: Any, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mediarithmics", "executions", method="POST", reset="before")
    assert sync(things(mode="run")).counts["things"]
    assert len(vendor.export_executions(export)) == 1


def test_an_export_created_with_a_lost_response_is_found_by_its_name(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mediarithmics", "*/exports", method="POST", reset="after")
    item = {"stream": "things", "query": "SELECT { id } FROM UserPoint"}
    assert sync({**config, "exports": [item]}).counts["things"]
    assert [each["name"] for each in vendor.exports()].count("singer-martech things") == 1


def test_the_error_of_a_failed_execution_has_the_start_of_its_error_file(
    vendor: Mediarithmics, things: Any, command: Any
) -> None:
    vendor.plan(
        "export",
        status="FAILED",
        error={"message": "Index is gone"},
        error_file="java.lang.Oops\n" * 5000,
    )
    ended = command(things(mode="run"))
    assert ended.status == 1
    assert "stream 'things'" in ended.last_line
    assert "FAILED: Index is gone" in ended.last_line
    assert "java.lang.Oops java.lang.Oops" in ended.last_line
    assert len(ended.last_line) < 1500
    assert ended.output.counts["things"] == 0
    assert "things" not in ended.output.state.get("bookmarks", {})


@pytest.mark.parametrize("error", [None, "Quota"])
def test_a_failure_without_an_error_file_is_reported_too(
    vendor: Mediarithmics, things: Any, sync: Any, sandbox: Sandbox, error: str | None
) -> None:
    vendor.plan("export", status="FAILED", error=error)
    sandbox.faults.add("mediarithmics", "data_file", status=404, times=None)
    with pytest.raises(MartechError, match=error or "no reason"):
        sync(things(mode="run"))


def test_the_timeout_names_the_execution_and_leaves_it_running(
    vendor: Mediarithmics, export: str, things: Any, command: Any, sync: Any
) -> None:
    vendor.hold()
    ended = command({**things(mode="run"), "execution_timeout_seconds": 0.2})
    (execution,) = vendor.export_executions(export)
    assert ended.status == 1
    assert str(execution.id) in ended.last_line
    assert "execution_timeout_seconds" in ended.last_line
    assert execution.is_open
    vendor.release()
    vendor.polls_until_done = execution.polls + 3
    assert read(sync(things(mode="run"))) == [str(execution.id)]


def test_internal_statuses_are_polled_further(
    vendor: Mediarithmics, export: str, things: Any, sync: Any
) -> None:
    vendor.hold()
    running = vendor.add_execution(export, status="PENDING")
    execution = vendor.executions.get(running)
    assert execution is not None
    execution.held = True
    execution.status = "WAITING_DEPENDENT_JOB"
    outputs: list[Output] = []
    thread = threading.Thread(target=lambda: outputs.append(sync(things(mode="run"))))
    thread.start()
    vendor.sandbox.wait_for_requests("mediarithmics", f"{export}/executions", count=4)
    execution.status = "EXECUTOR_NOT_RESPONDING"
    vendor.sandbox.wait_for_requests("mediarithmics", f"{export}/executions", count=8)
    execution.status = "RUNNING"
    vendor.finish(running, status="SUCCESS", files=[b'{"id":"a"}\n'])
    thread.join()
    assert read(outputs[0]) == [running]
