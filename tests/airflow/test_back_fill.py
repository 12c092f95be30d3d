"""Airflow backfills a month in shards; one shard is killed, and the daily job continues."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psutil
import pytest
import yaml

from tests.airflow.engine import Engine, wait_for
from tests.airflow.object_store import ObjectStore
from tests.kit.processes import output_of
from tests.pipelines.meltano import MELTANO, MeltanoProject, sandbox_settings
from tests.sandbox.recording import max_concurrent
from tests.sandbox.robotmia_data import EventData
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.robotmia_data import Export
    from tests.sandbox.robotmia_events import Event

    Records = dict[Any, dict[str, Any]]

pytestmark = pytest.mark.timeout(600)

ZONE = ZoneInfo("America/Los_Angeles")
DAYS, SHARDS, SLOTS, DOWNLOADS = 30, 6, 2, 2
JOB = "sandbox:tap-robotmia-to-target-mona"
BACK_FILL = "back_fill_tap_robotmia"
DAY = timedelta(days=1)


class HeldDay(EventData):
    """The events of a project; the export of one day is held until released."""

    def hold(self, day: date) -> None:
        self.day_held = day
        self.asked, self.go = threading.Event(), threading.Event()

    def body(self, export: Export) -> bytes:
        if export.first == self.day_held:
            self.asked.set()
            self.go.wait()
        return super().body(export)


@dataclass(frozen=True)
class BackFill:
    """The result of a backfill.

    Attributes:
        asked_after_the_kill: The days requested after the kill, in order.
        delivered: The final records at Mona, by arc class and context id.
        single_run: The records after a single run of the same days.
    """

    asked_after_the_kill: list[str]
    delivered: Records
    single_run: Records


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=1) as server:
        server.robotmia.history_days = DAYS + 15
        today = server.robotmia.today
        events = server.robotmia.events(today - (DAYS + 14) * DAY, today)
        server.robotmia.data = HeldDay(server.robotmia)
        server.robotmia.data.hold(date.min)
        server.robotmia.set_events(event.line for event in events)
        yield server
        server.robotmia.data.go.set()
        assert not server.errors, "\n".join(server.errors)


@pytest.fixture(scope="module")
def days(sandbox: Sandbox) -> list[date]:
    """The days to backfill; they end two days ago."""
    last = sandbox.robotmia.today - 2 * DAY
    return [last - number * DAY for number in reversed(range(DAYS))]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as served:
        yield served


@pytest.fixture(scope="module")
def engine(
    sandbox: Sandbox, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("airflow")
    project = MeltanoProject(folder / "project").folder
    described = yaml.safe_load((project / "meltano.yml").read_text(encoding="utf-8"))
    described["schedules"] = [
        {"name": "events-every-day", "job": "robotmia-to-mona", "interval": "@daily"}
    ]
    loaders = {loader["name"]: loader for loader in described["plugins"]["loaders"]}
    loaders["target-mona"]["config"]["checkpoint_interval_seconds"] = 0.2
    (project / "meltano.yml").write_text(yaml.safe_dump(described), encoding="utf-8")
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TAP_", "TARGET_", "MELTANO_", "AIRFLOW__"))
        },
        **sandbox_settings(sandbox),
        **store.settings,
        "MELTANO_PROJECT_ROOT": str(project),
        # Meltano in Airflow's environment supports S3; the plugins are those of this project.
        "PATH": os.pathsep.join(
            [str(Path(os.environ["AIRFLOW"]).parent), str(MELTANO.parent), os.environ["PATH"]]
        ),
        "TAP_ROBOTMIA_PARALLEL_DOWNLOADS": str(DOWNLOADS),
    }
    with Engine(folder / "home", environment, {"robotmia": SLOTS, "mediarithmics": 1}) as started:
        yield started


@pytest.fixture(scope="module")
def single_run(sandbox: Sandbox, engine: Engine, days: list[date]) -> Records:
    """The records at Mona after a single run of the same days."""
    meltano(
        engine,
        "run",
        "--state-id-suffix=single",
        "tap-robotmia",
        "target-mona",
        TAP_ROBOTMIA_START_DATE=str(days[0]),
        TAP_ROBOTMIA_END_DATE=str(days[-1]),
        MELTANO_ENVIRONMENT="sandbox",
    )
    records = delivered(sandbox)
    sandbox.store.clear()
    for vendor in (sandbox.mona, sandbox.mediarithmics):
        vendor.reset()
    return records


@pytest.fixture(scope="module")
def back_filled(
    sandbox: Sandbox,
    engine: Engine,
    store: ObjectStore,
    days: list[date],
    single_run: Records,
) -> BackFill:
    """The month, backfilled in shards; the third is killed in its fourth day."""
    held = sandbox.robotmia.data
    assert isinstance(held, HeldDay)
    third = days[10:15]
    held.hold(third[3])
    before = len(sandbox.robotmia.exports)
    conf = {
        "target": "target-mona",
        "environment": "sandbox",
        "first": str(days[0]),
        "last": str(days[-1]),
        "zone": ZONE.key,
        "shards": SHARDS,
    }
    engine.trigger(BACK_FILL, "month", conf)
    assert held.asked.wait(180), engine.logs()

    # The third day is loaded and in Meltano's state.
    state_id = f"{JOB}:month-{third[0]}-to-{third[-1]}"
    loaded = instant(third[3])
    wait_for(
        lambda: (
            store.bookmarks(state_id).get("events", {}).get("replication_key_value") == loaded
            or None
        ),
        60,
        engine.logs,
    )
    kill(state_id.rpartition(":")[2])
    killed_at = len(sandbox.robotmia.exports)
    assert killed_at > before
    held.day_held = date.min
    held.go.set()
    assert engine.ended(BACK_FILL) == "success", engine.logs()
    asked = [request.parameters["from_date"] for request in sandbox.robotmia.exports[killed_at:]]
    return BackFill(asked, delivered(sandbox), single_run)


def kill(suffix: str) -> None:
    """Kill a run and its child processes, as if the machine failed."""
    runs = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("MELTANO_RUN_STATE_ID_SUFFIX") == suffix:
                runs.append(process)
    assert len(runs) >= 3, "Meltano, the tap and the target"
    for process in runs:
        process.kill()


def meltano(engine: Engine, *command: str, **environment: str) -> str:
    return output_of(
        "meltano",
        *command,
        folder=engine.environment["MELTANO_PROJECT_ROOT"],
        environment={**engine.environment, **environment},
    )


def delivered(sandbox: Sandbox) -> Records:
    return dict(sandbox.mona.records())


def distinct(events: list[Event]) -> set[Any]:
    """Return the identity of an event: its insert id, or its whole content."""
    found = set()
    for event in events:
        said = json.loads(event.line)
        properties = said["properties"]
        keys = [properties.get(key) for key in ("distinct_id", "time", "$insert_id")]
        found.add((said["event"], *keys) if keys[-1] else event.line)
    return found


def instant(day: date) -> str:
    start = datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(timezone.utc)
    return start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_the_shards_give_the_same_result_as_a_single_run(
    back_filled: BackFill, sandbox: Sandbox, days: list[date]
) -> None:
    events = distinct(sandbox.robotmia.events(days[0], days[-1]))
    assert len(back_filled.single_run) == len(events) > DAYS * 100
    assert back_filled.delivered == back_filled.single_run


def test_only_the_killed_shard_is_retried_and_continues_from_its_state(
    back_filled: BackFill, engine: Engine, days: list[date]
) -> None:
    tasks = engine.tasks(BACK_FILL)
    assert [task.name for task in tasks["run"]] == [
        f"month-{days[start]}-to-{days[start + 4]}" for start in range(0, DAYS, 5)
    ]
    assert {task.state for each in tasks.values() for task in each} == {"success"}
    assert [task.tries for task in tasks["run"]] == [1, 1, 2, 1, 1, 1]
    again = [
        day for day in back_filled.asked_after_the_kill if str(days[10]) <= day <= str(days[14])
    ]
    assert sorted(again) == [str(days[13]), str(days[14])]


def test_the_pool_limits_parallel_shards_and_exports(
    back_filled: BackFill, sandbox: Sandbox, engine: Engine
) -> None:
    assert back_filled.delivered
    shards = engine.tasks(BACK_FILL)["run"]
    at_once = [
        sum(other.began <= shard.began < other.ended for other in shards) for shard in shards
    ]
    assert max(at_once) == SLOTS
    assert 1 < max_concurrent(sandbox.robotmia.exports) <= SLOTS * DOWNLOADS


def test_the_daily_job_continues_without_a_gap_and_reads_only_the_lookback_again(
    back_filled: BackFill, sandbox: Sandbox, engine: Engine, store: ObjectStore, days: list[date]
) -> None:
    bookmark = store.bookmarks(JOB)["events"]
    assert bookmark["replication_key_value"] == instant(days[-1] + DAY)
    assert bookmark["start_date"] == str(days[0])

    before = len(sandbox.robotmia.exports)
    engine.begin("events-every-day")
    assert engine.ended("events-every-day") == "success", engine.logs()
    asked = [request.parameters["from_date"] for request in sandbox.robotmia.exports[before:]]
    today = sandbox.robotmia.today
    lookback = days[-1] + DAY - 5 * DAY
    assert sorted(asked) == [
        str(lookback + number * DAY) for number in range((today - lookback).days + 1)
    ]
    new = distinct(sandbox.robotmia.events(days[-1] + DAY, today))
    found = delivered(sandbox)
    assert len(found) == len(back_filled.delivered) + len(new)
    assert {key: found[key] for key in back_filled.delivered} == back_filled.delivered
    assert store.bookmarks(JOB)["events"]["replication_key_value"] > instant(today)


def test_shards_by_stream_pass_their_bookmarks_to_the_job(
    sandbox: Sandbox, engine: Engine, store: ObjectStore
) -> None:
    conf = {
        "target": "target-mona",
        "environment": "sandbox",
        "stream": ["customers", "export_executions"],
    }
    engine.trigger("back_fill_tap_mediarithmics", "streams", conf)
    assert engine.ended("back_fill_tap_mediarithmics") == "success", engine.logs()
    tasks = engine.tasks("back_fill_tap_mediarithmics")
    assert [task.name for task in tasks["run"]] == [
        "streams-customers",
        "streams-export_executions",
    ]
    job = "sandbox:tap-mediarithmics-to-target-mona"
    assert store.bookmarks(job) == {
        **store.bookmarks(f"{job}:streams-customers"),
        **store.bookmarks(f"{job}:streams-export_executions"),
    }
    assert set(store.bookmarks(job)) == {"customers", "export_executions"}
    assert {"customers", "export_executions"} <= {arc for arc, _ in sandbox.mona.records()}


def test_states_kept_on_the_worker_are_an_error(engine: Engine) -> None:
    arguments = ["--tap=tap-robotmia", "--target=target-mona", "--environment=sandbox"]
    days = ["--first=2026-01-01", "--last=2026-01-02", "--zone=UTC", "--shards=2"]

    def refused(**settings: str) -> str:
        done = subprocess.run(
            ["singer-martech-shards", "plan", "days", *arguments, *days],
            cwd=engine.environment["MELTANO_PROJECT_ROOT"],
            env={**engine.environment, **settings},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stderr if done.returncode else ""

    assert "MELTANO_STATE_BACKEND_URI" in refused(MELTANO_STATE_BACKEND_URI="systemdb")
    assert refused() == ""
