"""Queries with {start}: the inserted value, and how the bookmark moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

QUERY = "SELECT { id creation_ts profiles { city } } FROM UserPoint WHERE creation_ts >= {start}"
NAME = "singer-martech users"
START = 1_577_836_800_000  # 2020-01-01


@pytest.fixture
def users(config: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Settings with one incremental stream."""

    def made(query: str = QUERY, **item: Any) -> dict[str, Any]:
        item = {"stream": "users", "query": query, "replication_key": "creation_ts", **item}
        return {**config, "start_date": "2020-01-01", "exports": [item]}

    return made


@pytest.fixture
def written(vendor: Mediarithmics) -> Callable[[], str]:
    """Return the text that is stored as the tap's query."""

    def text() -> str:
        (export,) = (each for each in vendor.exports() if each["name"] == NAME)
        return str(vendor.query_text(export["query_id"]))

    return text


def points(*moments: int) -> list[dict[str, Any]]:
    return [{"id": f"u{at}", "creation_ts": at, "profiles": []} for at in moments]


def test_the_first_run_starts_at_the_start_date(
    vendor: Mediarithmics, users: Any, sync: Any, written: Any
) -> None:
    vendor.set_objects("UserPoint", points(START - 1, START, START + 5))
    output = sync(users())
    assert written().endswith(f">= {START}")
    assert {each["id"] for each in output.records("users")} == {f"u{START}", f"u{START + 5}"}
    assert output.bookmark("users")["replication_key"] == "creation_ts"
    assert output.bookmark("users")["replication_key_value"] == "2020-01-01T00:00:00.005Z"
    assert output.schema("users")["bookmark_properties"] == ["creation_ts"]


def test_later_runs_rewrite_the_query_and_use_the_same_export(
    vendor: Mediarithmics, users: Any, sync: Any, written: Any
) -> None:
    vendor.set_objects("UserPoint", points(START + 5, START + 9, START + 7))
    first = sync(users())
    vendor.set_objects("UserPoint", points(START + 5, START + 12))
    second = sync(users(), state=first.state)
    assert written().endswith(f">= {START + 9}")
    assert [each["id"] for each in second.records("users")] == [f"u{START + 12}"]
    assert second.bookmark("users")["replication_key_value"] == "2020-01-01T00:00:00.012Z"
    assert [each["name"] for each in vendor.exports()].count(NAME) == 1


def test_a_result_without_rows_keeps_the_bookmark(
    vendor: Mediarithmics, users: Any, sync: Any
) -> None:
    vendor.set_objects("UserPoint", points(START + 5))
    first = sync(users())
    vendor.set_objects("UserPoint", points())
    second = sync(users(), state=first.state)
    assert second.counts["users"] == 0
    assert second.bookmark("users")["replication_key_value"] == "2020-01-01T00:00:00.005Z"


def test_older_rows_and_nulls_never_move_the_bookmark_back(
    vendor: Mediarithmics, users: Any, sync: Any, lines: Any
) -> None:
    state = {
        "bookmarks": {
            "users": {
                "replication_key": "creation_ts",
                "replication_key_value": "2024-01-01T00:00:00.000Z",
            }
        }
    }
    vendor.plan(
        "export",
        files=[
            lines({"id": "a", "creation_ts": None}, {"id": "b", "creation_ts": START}, {"id": "c"})
        ],
    )
    output = sync(users(), state=state)
    assert output.counts["users"] == 3
    assert output.bookmark("users")["replication_key_value"] == "2024-01-01T00:00:00.000Z"


def test_the_lookback_is_subtracted_from_the_bookmark_but_not_from_the_start_date(
    vendor: Mediarithmics, users: Any, sync: Any, written: Any
) -> None:
    vendor.set_objects("UserPoint", points(START + 5_000))
    first = sync(users(lookback_seconds=1.5))
    assert written().endswith(f">= {START}")
    sync(users(lookback_seconds=1.5), state=first.state)
    assert written().endswith(f">= {START + 3_500}")


@pytest.mark.parametrize(
    ("start_format", "expected"),
    [
        (None, str(START)),
        ("epoch_ms", str(START)),
        ("iso", '"2020-01-01T00:00:00.000Z"'),
        ("date", '"2020-01-01"'),
    ],
)
def test_the_start_is_formatted_as_configured(
    vendor: Mediarithmics, users: Any, sync: Any, written: Any, *, start_format: str, expected: str
) -> None:
    vendor.set_objects("UserPoint", points(START))
    quoted = '"{start}"' if expected.startswith('"') else "{start}"
    sync(users(QUERY.replace("{start}", quoted), start_format=start_format))
    assert written().endswith(f">= {expected}")


def test_a_date_key_is_written_as_a_date_and_moves_by_date(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    query = 'SELECT { id birth_date } FROM UserProfile WHERE birth_date >= "{start}"'
    item = {"stream": "users", "query": query, "replication_key": "birth_date"}
    settings = {**config, "start_date": "1950-01-01", "exports": [item]}
    vendor.plan(
        "export",
        files=[
            lines({"id": "a", "birth_date": "1999-12-31"}, {"id": "b", "birth_date": "1960-01-01"})
        ],
    )
    output = sync(settings)
    assert output.bookmark("users")["replication_key_value"] == "1999-12-31"
    sync(settings, state=output.state)
    (export,) = (each for each in vendor.exports() if each["name"] == NAME)
    assert str(vendor.query_text(export["query_id"])).endswith('>= "1999-12-31"')


def test_numbers_are_compared_as_numbers(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    item = {
        "stream": "users",
        "query": "SELECT { id n } FROM Odd ORDER {start}",
        "replication_key": "n",
        "schema": {"properties": {"id": {"type": "string"}, "n": {"type": "number"}}},
    }
    vendor.plan("export", files=[lines({"id": "a", "n": 9}, {"id": "b", "n": 100.5}, {"n": 20})])
    vendor.sandbox.faults.add("mediarithmics", "query_check", status=404, times=None)
    output = sync({**config, "start_date": "2020-01-01", "exports": [item]})
    assert float(output.bookmark("users")["replication_key_value"]) == 100.5


def test_the_first_run_needs_a_start_date(vendor: Mediarithmics, users: Any, command: Any) -> None:
    settings = users()
    del settings["start_date"]
    ended = command(settings)
    assert ended.status == 1
    assert "start_date" in ended.last_line
    assert "'users'" in ended.last_line
    assert vendor.requests_to("", "POST") == []


def test_the_query_check_names_the_position_before_anything_is_created(
    vendor: Mediarithmics, users: Any, command: Any
) -> None:
    ended = command(
        users("SELECT { id\n creation_ts nope } FROM UserPoint WHERE creation_ts >= {start}")
    )
    assert ended.status == 1
    assert "VALIDATION_ERROR at line 2" in ended.last_line
    assert "'users'" in ended.last_line
    assert NAME not in [each["name"] for each in vendor.exports()]


def test_it_attaches_to_a_running_execution_of_the_same_text(
    vendor: Mediarithmics, users: Any, sync: Any
) -> None:
    query = vendor.add_query(QUERY.replace("{start}", str(START)))
    export = vendor.add_export(NAME, query)
    running = vendor.add_execution(export, status="RUNNING")
    vendor.polls_until_done = 3
    output = sync(users())
    assert {each["_execution_id"] for each in output.records("users")} == {running}
    assert vendor.requests_to("queries/", "PUT") == []
    assert vendor.requests_to("executions$", "POST") == []


def test_it_waits_for_an_execution_of_another_text_and_launches_its_own(
    vendor: Mediarithmics, users: Any, sync: Any
) -> None:
    export = vendor.add_export(NAME, vendor.add_query(QUERY.replace("{start}", "1")))
    running = vendor.add_execution(export, status="RUNNING")
    vendor.polls_until_done = 3
    output = sync(users())
    own = {each["_execution_id"] for each in output.records("users")}
    assert own
    assert running not in own
    assert vendor.max_open_executions <= 1
    order = [
        (each.method, each.path.rpartition("/")[2])
        for each in vendor.requests
        if each.method in {"PUT", "POST"}
    ]
    assert order[-2:] == [("PUT", vendor.exports()[0]["query_id"]), ("POST", "executions")]


def test_it_waits_even_when_the_other_execution_fails(
    vendor: Mediarithmics, users: Any, sync: Any
) -> None:
    export = vendor.add_export(NAME, vendor.add_query(QUERY.replace("{start}", "1")))
    running = vendor.add_execution(export, status="RUNNING")
    execution = vendor.executions.get(running)
    assert execution is not None
    execution.outcome.status = "FAILED"
    vendor.polls_until_done = 3
    assert sync(users()).counts["users"]


def test_failed_tasks_fail_an_incremental_query_and_its_bookmark_stays(
    vendor: Mediarithmics, users: Any, command: Any
) -> None:
    vendor.plan("export", erroneous_ratio=0.07)
    ended = command(users())
    assert ended.status == 1
    assert "70 of 1000 tasks failed (7.00%)" in ended.last_line
    assert "max_error_ratio" in ended.last_line
    assert ended.output.counts["users"] == 0
    assert ended.output.bookmark("users") == {}


def test_failed_tasks_within_the_allowance_are_a_warning(
    vendor: Mediarithmics, users: Any, sync: Any, caplog: Any
) -> None:
    vendor.plan("export", erroneous_ratio=0.07)
    output = sync(users(max_error_ratio=0.07))
    assert output.counts["users"]
    assert "70 of 1000 tasks failed (7.00%)" in caplog.text


def test_failed_tasks_of_other_streams_are_a_warning_unless_a_limit_is_set(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, caplog: Any, lines: Any
) -> None:
    export = vendor.add_export("Samples", "SELECT { id } FROM UserPoint")
    vendor.add_sample_executions(export, lines({"id": "1"}))
    item = {"stream": "samples", "export_id": export, "mode": "all"}
    output = sync({**config, "exports": [item]})
    assert output.counts["samples"] == 3
    assert "22703 of 299808 tasks failed (7.57%)" in caplog.text
    with pytest.raises(MartechError, match=r"stream 'samples'.*max_error_ratio \(0.05\)"):
        sync({**config, "exports": [{**item, "max_error_ratio": 0.05}]})


def test_a_broken_download_keeps_the_bookmark(users: Any, command: Any, sandbox: Sandbox) -> None:
    sandbox.faults.add("mediarithmics", "files/", status=500, times=None)
    sandbox.faults.add("mediarithmics", "data_file", status=500, times=None)
    ended = command(users())
    assert ended.status == 1
    assert ended.output.bookmark("users") == {}
    assert ended.output.counts["users"] == 0


@pytest.mark.parametrize("value", ['x" OR "1"="1', "a}", "line\nend", "back\\slash"])
def test_a_bookmark_that_would_change_the_query_is_an_error(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, value: str
) -> None:
    item = {
        "stream": "users",
        "query": 'SELECT { id } FROM UserPoint WHERE id >= "{start}"',
        "replication_key": "id",
    }
    state = {"bookmarks": {"users": {"replication_key": "id", "replication_key_value": value}}}
    with pytest.raises(MartechError, match="cannot be written into a query"):
        sync({**config, "start_date": "2020-01-01", "exports": [item]}, state=state)
    assert vendor.requests_to("", "POST") == []


def test_a_text_bookmark_is_inserted_unchanged(config: dict[str, Any], sync: Any) -> None:
    query = 'SELECT { id } FROM UserPoint WHERE id >= "{start}"'
    item = {"stream": "users", "query": query, "replication_key": "id"}
    settings = {**config, "start_date": "2020-01-01", "exports": [item]}
    state = {"bookmarks": {"users": {"replication_key": "id", "replication_key_value": "f00"}}}
    output = sync(settings, state=state)
    ids = [each["id"] for each in output.records("users")]
    assert output.bookmark("users")["replication_key_value"] == max(ids)
    assert min(ids) >= "f00"
    with pytest.raises(MartechError, match="lookback_seconds"):
        sync({**settings, "exports": [{**item, "lookback_seconds": 5}]}, state=state)


def test_a_query_without_start_is_run_unchanged(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    item = {"stream": "users", "query": "SELECT { id } FROM UserPoint"}
    first = sync({**config, "exports": [item]})
    second = sync({**config, "exports": [item]}, state=first.state)
    assert first.counts["users"] == second.counts["users"] == len(vendor.objects("UserPoint"))
    assert vendor.requests_to("queries/", "PUT") == []
