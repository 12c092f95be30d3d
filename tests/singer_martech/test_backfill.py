"""The plan of a backfill, and the state of the daily job after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.cli.backfill.complete import complete
from singer_martech.cli.backfill.plan import (
    Days,
    only_writer,
    plan_days,
    plan_days_each,
    plan_streams,
)
from singer_martech.cli.backfill.shard import Job, read_shards
from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from singer_martech.cli.backfill.shard import Shard

COMMAND = Path(sys.executable).with_name("singer-martech-shards")
JOB = Job("tap-shop", "target-mona", "production", "2026")
DAY = timedelta(days=1)

zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
dates = st.dates(date(1970, 1, 2), date(2100, 1, 1))


@st.composite
def some_days(draw: st.DrawFn) -> Days:
    first, zone = draw(dates), draw(zones)
    # The plan is made in the middle of these days, or after them.
    passed = draw(st.timedeltas(timedelta(days=1), timedelta(days=500)))
    now = datetime(first.year, first.month, first.day, tzinfo=zone) + passed
    last = draw(st.none() | st.integers(0, 500).map(lambda number: first + number * DAY))
    return Days.until(last, first, zone, now.astimezone(timezone.utc), draw(st.integers(1, 40)))


def days_of(shard: Shard) -> list[date]:
    assert shard.first_day is not None
    assert shard.last_day is not None
    return [shard.first_day + n * DAY for n in range((shard.last_day - shard.first_day).days + 1)]


def planned(days: Days, shards: int, days_each: int | None) -> list[Shard]:
    if days_each is None:
        return plan_days(JOB, days, shards=shards)
    return plan_days_each(JOB, days, days_each * days.window_days)


def ready(state: dict[str, Any]) -> dict[str, Any]:
    return {"completed": {"singer_state": {"bookmarks": state}}, "partial": {}}


def bookmark(value: str | None, start: str = "2026-01-01") -> dict[str, Any]:
    return {"replication_key": "time", "replication_key_value": value, "start_date": start}


# The plan of days


@given(some_days(), st.integers(1, 500), st.none() | st.integers(1, 50))
def test_every_day_is_in_exactly_one_shard_in_order(
    days: Days, shards: int, days_each: int | None
) -> None:
    plan = planned(days, shards, days_each)
    assert [day for shard in plan for day in days_of(shard)] == [
        days.first + number * DAY for number in range((days.last - days.first).days + 1)
    ]


@given(some_days(), st.integers(1, 500), st.none() | st.integers(1, 50))
def test_only_the_last_shard_has_an_incomplete_window(
    days: Days, shards: int, days_each: int | None
) -> None:
    *raw_json, last = planned(days, shards, days_each)
    assert all(len(days_of(shard)) % days.window_days == 0 for shard in raw_json)
    assert days_of(last)


@given(some_days(), st.integers(1, 500))
def test_the_requested_number_of_shards_is_planned_with_similar_sizes(
    days: Days, shards: int
) -> None:
    plan = plan_days(JOB, days, shards=shards)
    windows = [-(-len(days_of(shard)) // days.window_days) for shard in plan]
    assert len(plan) == min(shards, sum(windows))
    assert max(windows) - min(windows) <= 1


@given(some_days(), st.integers(1, 50))
def test_a_shard_ends_after_its_last_day_or_at_the_time_of_the_plan(
    days: Days, shards: int
) -> None:
    for shard in plan_days(JOB, days, shards=shards):
        assert shard.until is not None
        assert shard.last_day is not None
        until = datetime.fromisoformat(shard.until.replace("Z", "+00:00"))
        if until == days.planned_at:
            assert until.astimezone(days.zone).date() <= shard.last_day + DAY
            continue
        assert until < days.planned_at
        assert until.astimezone(days.zone).date() > shard.last_day
        before = (until - timedelta(microseconds=1)).astimezone(days.zone).date()
        assert before <= shard.last_day


@given(some_days())
def test_no_shard_requests_a_future_day_of_the_project(days: Days) -> None:
    assert plan_days(JOB, days)[-1].last_day == days.last
    assert days.last <= days.planned_at.astimezone(days.zone).date()


@pytest.mark.parametrize(
    ("day", "until"),
    [
        (date(2026, 3, 8), "2026-03-09T07:00:00.000000Z"),  # 23 hours long
        (date(2026, 3, 7), "2026-03-08T08:00:00.000000Z"),
        (date(2026, 11, 1), "2026-11-02T08:00:00.000000Z"),  # 25 hours long
        (date(2026, 10, 31), "2026-11-01T07:00:00.000000Z"),
    ],
)
def test_days_end_at_midnight_in_the_project_also_on_dst_changes(day: date, until: str) -> None:
    now = datetime(2027, 1, 1, tzinfo=timezone.utc)
    days = Days.until(day, day, ZoneInfo("America/Los_Angeles"), now)
    assert plan_days(JOB, days)[0].until == until


def test_today_is_computed_in_the_project_time_zone() -> None:
    now = datetime(2026, 6, 1, 3, tzinfo=timezone.utc)
    for zone, today in (("America/Los_Angeles", 31), ("Asia/Tokyo", 1)):
        days = Days.until(None, date(2026, 5, 1), ZoneInfo(zone), now)
        assert days.last.day == today
        assert plan_days(JOB, days)[-1].until == "2026-06-01T03:00:00.000000Z"


@given(some_days(), st.integers(1, 20), some_days(), st.integers(1, 20))
def test_shards_with_other_days_never_share_a_state(
    days: Days, shards: int, others: Days, other_shards: int
) -> None:
    days_by_state: dict[str, list[date]] = {}
    for shard in [
        *plan_days(JOB, days, shards=shards),
        *plan_days(JOB, others, shards=other_shards),
    ]:
        assert days_by_state.setdefault(shard.state_id, days_of(shard)) == days_of(shard)


def test_a_shard_has_the_environment_for_meltano() -> None:
    now = datetime(2027, 1, 1, tzinfo=timezone.utc)
    days = Days.until(date(2026, 1, 31), date(2026, 1, 1), ZoneInfo("UTC"), now, window_days=7)
    shard, *_ = plan_days(JOB, days, shards=2)
    assert shard.environment == {
        "MELTANO_ENVIRONMENT": "production",
        "MELTANO_RUN_STATE_ID_SUFFIX": "2026-2026-01-01-to-2026-01-21",
        "MELTANO_SYS_DIR_ROOT": ".meltano/shards/2026-2026-01-01-to-2026-01-21",
        "TAP_SHOP_START_DATE": "2026-01-01",
        "TAP_SHOP_END_DATE": "2026-01-21",
        "TAP_SHOP_PROJECT_TIMEZONE": "UTC",
        "TAP_SHOP_WINDOW_DAYS": "7",
        "TAP_SHOP_LOOKBACK_DAYS": "0",
    }
    assert shard.state_id == "production:tap-shop-to-target-mona:2026-2026-01-01-to-2026-01-21"


@given(st.text(min_size=1))
def test_a_state_id_has_no_colon_from_the_name(name: str) -> None:
    shard, *_ = plan_streams(Job("tap-shop", "target-mona", "production", name), ["orders"])
    assert shard.state_id.count(":") == 2
    assert "/" not in shard.name


@given(some_days(), st.integers(1, 20))
def test_each_line_of_the_plan_is_a_shard(days: Days, shards: int) -> None:
    plan = plan_days(JOB, days, shards=shards)
    assert read_shards(shard.line() for shard in plan) == plan


# The plan of streams


def test_each_stream_gets_a_shard_that_selects_only_that_stream() -> None:
    plan = plan_streams(JOB, ["orders", "public.customers"])
    assert [shard.streams for shard in plan] == [("orders",), ("public.customers",)]
    assert [json.loads(shard.environment["TAP_SHOP__SELECT"]) for shard in plan] == [
        ["orders.*"],
        [r"public\.customers.*"],
    ]
    assert len({shard.state_id for shard in plan}) == 2


def test_one_shard_can_select_all_streams() -> None:
    (shard,) = plan_streams(JOB, ["orders", "customers"], one_shard=True)
    assert json.loads(shard.environment["TAP_SHOP__SELECT"]) == ["orders.*", "customers.*"]


@pytest.mark.parametrize("streams", [["*"], ["orders", "orders"], [""], ["a b", "a-b"]])
def test_streams_are_listed_by_full_name_without_duplicates(streams: list[str]) -> None:
    with pytest.raises(MartechError, match="name"):
        plan_streams(JOB, streams)


@pytest.mark.parametrize(
    ("target", "writers", "one"),
    [
        ("target-duckdb", "auto", True),
        ("target-jsonl", "auto", True),
        ("target-jsonl", "many", False),
        ("target-mona", "auto", False),
        ("target-mona", "one", True),
    ],
)
def test_a_single_writer_loader_gets_one_shard(target: str, writers: str, *, one: bool) -> None:
    assert (only_writer(target, writers) is not None) == one


# The state of the job


NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PLAN = plan_days(
    JOB, Days.until(None, date(2026, 1, 1), ZoneInfo("America/Los_Angeles"), NOW), shards=3
)
DONE = {
    shard.state_id: ready({"events": bookmark(shard.until, str(shard.first_day))}) for shard in PLAN
}


def given_over(states: dict[str, Any], lookback_days: int = 5) -> dict[str, Any]:
    after = complete(PLAN, states, lookback_days)
    if not after:
        return {}
    bookmarks: dict[str, Any] = after[JOB.state_id]["completed"]["singer_state"]["bookmarks"]
    return bookmarks


def test_the_job_continues_from_the_time_of_the_plan_with_the_first_start_date() -> None:
    # The last shard may have exported later events, but perhaps not all of them.
    later = {PLAN[-1].state_id: ready({"events": bookmark("2026-03-04T08:00:00.000000Z")})}
    assert given_over({**DONE, **later}) == {
        "events": bookmark("2026-03-01T12:00:00.000000Z", "2026-01-01")
    }


@given(st.sampled_from(range(3)), st.sampled_from([None, "earlier", "none"]))
def test_an_incomplete_shard_is_named_and_no_state_is_written(
    number: int, state: str | None
) -> None:
    shard = PLAN[number]
    states = dict(DONE)
    if state is None:
        del states[shard.state_id]
    elif state == "none":
        states[shard.state_id] = ready({"events": bookmark(None), "other": bookmark(shard.until)})
    else:
        states[shard.state_id] = ready({"events": bookmark("2025-12-31T00:00:00.000000Z")})
    with pytest.raises(MartechError, match="not complete") as failed:
        given_over(states)
    assert shard.name in str(failed.value)
    if state != "none":
        assert sum(each.name in str(failed.value) for each in PLAN) == 1


def test_a_stream_missing_in_one_shard_is_an_error() -> None:
    more = {"events": bookmark(PLAN[1].until), "event_login": bookmark(PLAN[1].until)}
    with pytest.raises(MartechError, match="has no bookmark of stream 'event_login'"):
        given_over({**DONE, PLAN[1].state_id: ready(more)})


def test_partial_progress_counts_as_in_the_next_run() -> None:
    shard = PLAN[0]
    states = ready({"events": bookmark("2025-12-31T00:00:00.000000Z", "2026-01-01")})
    states["partial"] = ready({"events": {"replication_key_value": shard.until}})["completed"]
    assert given_over({**DONE, shard.state_id: states})["events"]["start_date"] == "2026-01-01"


def test_a_later_bookmark_is_kept() -> None:
    further = {
        "events": bookmark("2026-03-05T00:00:00.000000Z"),
        "other": {"replication_key_value": 7},
    }
    assert given_over({**DONE, JOB.state_id: ready(further)}) == {}


def test_a_bookmark_in_between_advances_and_other_state_is_kept() -> None:
    state = ready({"events": bookmark("2026-02-01T08:00:00.000000Z", "2026-01-20"), "x": {"y": 1}})
    state["completed"]["singer_state"]["version"] = 2
    after = complete(PLAN, {**DONE, JOB.state_id: state}, 5)
    assert after[JOB.state_id]["completed"]["singer_state"] == {
        "bookmarks": {
            "events": bookmark("2026-03-01T12:00:00.000000Z", "2026-01-01"),
            "x": {"y": 1},
        },
        "version": 2,
    }


@pytest.mark.parametrize(
    ("value", "lookback_days", "stays"),
    [
        ("2025-12-20T00:00:00.000000Z", 0, True),  # days would be skipped
        ("2026-01-01T07:59:59.000000Z", 0, True),  # the end of a day would be skipped
        ("2026-01-01T08:00:00.000000Z", 0, False),
        ("2026-01-06T07:59:59.000000Z", 5, True),  # days that still get events would be skipped
        ("2026-01-06T08:00:00.000000Z", 5, False),
    ],
)
def test_a_bookmark_never_passes_days_that_were_not_exported(
    value: str, lookback_days: int, *, stays: bool
) -> None:
    states = {**DONE, JOB.state_id: ready({"events": bookmark(value, "2025-01-01")})}
    if stays:
        with pytest.raises(MartechError, match=r"begins with 2026-01-01.*back-fill from"):
            given_over(states, lookback_days)
    else:
        assert given_over(states, lookback_days)["events"] == bookmark(
            "2026-03-01T12:00:00.000000Z", "2025-01-01"
        )


def test_bookmarks_of_all_streams_are_merged_and_none_moves_back() -> None:
    plan = plan_streams(JOB, ["orders", "customers", "visits"])
    values = {"orders": "2026-02-01T00:00:00Z", "customers": 17, "visits": "2026-02-01T00:00:00Z"}
    states = {
        shard.state_id: ready(
            {shard.streams[0]: {"replication_key_value": values[shard.streams[0]]}}
        )
        for shard in plan
    }
    before = {
        "orders": {"replication_key_value": "2026-01-31T23:00:00-02:00"},
        "customers": {"replication_key_value": 9},
    }
    after = complete(plan, {**states, JOB.state_id: ready(before)}, 5)
    bookmarks = after[JOB.state_id]["completed"]["singer_state"]["bookmarks"]
    assert {name: each["replication_key_value"] for name, each in bookmarks.items()} == {
        "orders": "2026-01-31T23:00:00-02:00",
        "customers": 17,
        "visits": "2026-02-01T00:00:00Z",
    }


# The command


def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MELTANO_ENVIRONMENT": "production",
        "MELTANO_STATE_BACKEND_URI": "s3://states",
        **variables,
    }
    return subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )


ASKED = ("--tap=tap-shop", "--target=target-mona", "--first=2026-01-01", "--zone=Asia/Tokyo")


def test_the_command_plans_and_completes_a_backfill(tmp_path: Path) -> None:
    plan = run("plan", "days", *ASKED, "--last=2026-01-31", "--shards=4", "--window-days=7")
    assert plan.returncode == 0, plan.stderr
    shards = read_shards(plan.stdout.splitlines())
    assert [len(days_of(shard)) for shard in shards] == [14, 7, 7, 3]
    assert [json.loads(line)["command"][:2] for line in plan.stdout.splitlines()] == [
        ["meltano", "run"]
    ] * 4

    lines = tmp_path / "plan.jsonl"
    lines.write_text(plan.stdout, encoding="utf-8")
    states = {shard.state_id: ready({"events": bookmark(shard.until)}) for shard in shards}
    done = run("hand-over", str(lines), stdin=json.dumps(states))
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)["production:tap-shop-to-target-mona"]
    assert after == ready({"events": bookmark("2026-01-31T15:00:00.000000Z")})

    missing = run("hand-over", str(lines), stdin="{}")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1
    assert all(shard.name in missing.stderr for shard in shards)


@pytest.mark.parametrize(
    "variables",
    [
        {"MELTANO_STATE_BACKEND_URI": "systemdb"},
        {
            "MELTANO_STATE_BACKEND_URI": "systemdb",
            "MELTANO_DATABASE_URI": "sqlite:///{folder}/a.db",
        },
    ],
)
def test_a_plan_without_shared_states_is_an_error(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "meltano.yml").write_text("version: 1\nenvironments: [{name: production}]\n")
    variables = {key: value.format(folder=tmp_path) for key, value in variables.items()}
    variables["MELTANO_PROJECT_ROOT"] = str(tmp_path)
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    plan = run("plan", "days", *ASKED, "--shards=4", **variables, PATH=path)
    assert (plan.returncode, plan.stdout) == (1, "")
    assert "set MELTANO_STATE_BACKEND_URI (such as s3" in plan.stderr
    assert plan.stderr.count("\n") == 1


def test_a_plan_outside_of_a_meltano_project_says_what_is_missing() -> None:
    plan = run("plan", "days", *ASKED, "--shards=4", MELTANO_STATE_BACKEND_URI="systemdb", PATH="")
    assert (plan.returncode, plan.stdout) == (1, "")
    assert "run this in the folder of the Meltano project" in plan.stderr


def test_a_shared_database_is_enough() -> None:
    places = {
        "MELTANO_STATE_BACKEND_URI": "systemdb",
        "MELTANO_DATABASE_URI": "postgresql+psycopg://states",
    }
    assert run("plan", "days", *ASKED, "--shards=4", **places).returncode == 0


def test_the_command_explains_why_a_loader_gets_one_shard() -> None:
    plan = run("plan", "days", *ASKED, "--shards=6", "--target=target-duckdb")
    assert len(plan.stdout.splitlines()) == 1
    assert "DuckDB" in plan.stderr
    plan = run("plan", "days", *ASKED, "--shards=6", "--target=target-duckdb", "--writers=many")
    assert len(plan.stdout.splitlines()) == 6
    assert not plan.stderr


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--first=2026-02-30", "--shards=2"], "'2026-02-30' is not a day"),
        (["--zone=PDT", "--shards=2"], "'PDT' is not an IANA time zone"),
        (["--last=2025-12-31", "--shards=2"], "comes after the last one"),
        (["--days=1", "--window-days=7"], "1 day is not a whole number of windows of 7 days"),
        (["--shards=2", "--days=2"], "either --shards or --days"),
        ([], "either --shards or --days"),
        (["--shards=0"], "--shards"),
        (["--shards=2", "--target=--full-refresh"], "'--full-refresh' is not the name"),
        (["--shards=2", "--tap=tap-shop; id"], "'tap-shop; id' is not the name"),
        (["--shards=2", "--environment=a:b"], "'a:b' is not the name"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(wrong: list[str], reason: str) -> None:
    done = run("plan", "days", *ASKED, *wrong)
    assert done.returncode in {1, 2}
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(("plan", "states"), [("", "{}"), ("[]\n", "{}"), ("{}\n", "{}")])
def test_an_invalid_plan_is_an_error(tmp_path: Path, plan: str, states: str) -> None:
    lines = tmp_path / "plan.jsonl"
    lines.write_text(plan, encoding="utf-8")
    done = run("hand-over", str(lines), stdin=states)
    assert done.returncode == 1
    assert "plan" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("states", ["", "[]", "no states"])
def test_invalid_states_are_an_error(tmp_path: Path, states: str) -> None:
    lines = tmp_path / "plan.jsonl"
    lines.write_text(PLAN[0].line(), encoding="utf-8")
    done = run("hand-over", str(lines), stdin=states)
    assert done.returncode == 1
    assert "meltano state export" in done.stderr
