"""Every job of `meltano.yml` with the real `meltano run`, and again with new data."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipelines.meltano import sandbox_settings
from tests.pipelines.pipelines import PIPELINES

if TYPE_CHECKING:
    from tests.pipelines.meltano import MeltanoProject, Run
    from tests.pipelines.pipelines import Pipeline
    from tests.sandbox.server import Sandbox

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

JOBS = {pipeline.job: pipeline for pipeline in PIPELINES}
FROM_ROBOTMIA = [pipeline for pipeline in PIPELINES if pipeline.tap == "tap-robotmia"]


def run(project: MeltanoProject, job: str, sandbox: Sandbox) -> Run:
    done = project.run(job, settings=sandbox_settings(sandbox))
    assert done.status == 0, done.log
    assert '"level": "error"' not in done.log
    assert "deprecat" not in done.log.lower()
    return done


def event(sandbox: Sandbox, insert_id: str, days_ago: int) -> dict[str, Any]:
    day = sandbox.robotmia.today - timedelta(days=days_ago)
    raw_time = datetime(day.year, day.month, day.day, second=5, tzinfo=timezone.utc).timestamp()
    properties = {
        "time": int(raw_time),
        "distinct_id": f"visitor-{insert_id}",
        "$insert_id": insert_id,
        "$device_id": f"device-{insert_id}",
        "$os": "iOS",
        "amount": 2.50,
    }
    return {"event": "Order Completed", "properties": properties}


def insert_ids(pipeline: Pipeline, sandbox: Sandbox, project: MeltanoProject) -> list[str]:
    loaded = pipeline.loaded(sandbox, project)
    if pipeline.target == "target-duckdb":
        return [row["insert_id"] for row in loaded]
    if pipeline.target == "target-mona":
        return [record["properties"]["$insert_id"] for record in loaded]
    return [activity["$events"][0]["$properties"]["$insert_id"] for activity in loaded]


@pytest.mark.parametrize("pipeline", FROM_ROBOTMIA, ids=lambda pipeline: pipeline.job)
def test_events_are_loaded_once_and_the_next_run_loads_late_and_new_ones(
    pipeline: Pipeline,
    project: MeltanoProject,
    sandbox: Sandbox,
) -> None:
    sandbox.robotmia.set_events(event(sandbox, f"day-{days}", days) for days in range(25))
    first = run(project, pipeline.job, sandbox)
    assert sorted(insert_ids(pipeline, sandbox, project)) == sorted(
        f"day-{days}" for days in range(25)
    )
    assert first.block.extracted == {"events": 25}

    requests = len(sandbox.robotmia.exports)
    sandbox.robotmia.add_event(event(sandbox, "new", 0))
    sandbox.robotmia.add_event(event(sandbox, "late", 4))
    sandbox.robotmia.add_event(event(sandbox, "too-late", 12))
    second = run(project, pipeline.job, sandbox)
    assert sorted(insert_ids(pipeline, sandbox, project)) == sorted(
        ["late", "new", *(f"day-{days}" for days in range(25))],
    )
    # today and the five look-back days, with the two events added to them
    assert second.block.extracted == {"events": 8}
    asked = [export.parameters["from_date"] for export in sandbox.robotmia.exports[requests:]]
    assert min(asked) == str(sandbox.robotmia.today - timedelta(days=5))


def test_a_job_with_batch_files_loads_the_same_and_leaves_no_file(
    project: MeltanoProject, sandbox: Sandbox
) -> None:
    sandbox.robotmia.set_events(event(sandbox, f"day-{days}", days) for days in range(25))
    loaded = {}
    for job in ("robotmia-to-mona", "robotmia-to-mona-batch"):
        before = len(sandbox.mona.messages())
        done = project.run("--full-refresh", job, settings=sandbox_settings(sandbox))
        assert done.status == 0, done.log
        assert done.block.extracted == {"events": 25}
        loaded[job] = sandbox.mona.messages()[before:]
    plain, batch = loaded.values()
    assert [each["message"] for each in batch] == [each["message"] for each in plain]
    assert len(batch) == 25
    folder = project.folder / ".meltano" / "run" / "batches"
    assert list(folder.iterdir()) == []


def test_events_are_mapped_as_configured(project: MeltanoProject, sandbox: Sandbox) -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
    known = event(sandbox, "known", 1)
    known["properties"]["time"] = int(noon.timestamp())
    known["properties"]["$user_id"] = "user-1"
    sandbox.robotmia.set_events([known])
    settings = {**sandbox_settings(sandbox), "TAP_ROBOTMIA_START_DATE": "2026-07-01"}
    settings["TAP_ROBOTMIA_END_DATE"] = "2026-07-01"
    # noon local time, seven hours behind UTC in summer
    instant = noon.timestamp() + 7 * 3600

    for target in ("target-mona", "target-mediarithmics"):
        done = project.run("--full-refresh", "tap-robotmia", target, settings=settings)
        assert done.status == 0, done.log

    (message,) = sandbox.mona.messages()
    assert message["arc_class"] == "SHOP_EVENT"
    assert json.loads(message["export_timestamp"]) == instant
    assert message["message"]["os"] == "iOS"
    assert message["message"]["properties"] == known["properties"]

    (activity,) = sandbox.mediarithmics.activities()
    assert activity["$user_account_id"] == "user-1"
    assert "$user_agent_id" not in activity
    assert activity["$ts"] == instant * 1000
    assert activity["$events"] == [
        {
            "$event_name": "Order Completed",
            "$ts": instant * 1000,
            "$properties": known["properties"],
        },
    ]


def test_an_export_is_loaded_once_and_the_next_run_loads_the_next_execution(
    project: MeltanoProject,
    sandbox: Sandbox,
) -> None:
    pipeline = JOBS["mediarithmics-to-monetate"]
    export_id = next(
        item["id"] for item in sandbox.mediarithmics.exports() if "Monetate" in item["name"]
    )
    customers: list[dict[str, Any]] = [
        {
            "id": f"point-{number}",
            "accounts": [{"user_account_id": f"C{number}"}],
            "emails": [],
            "profiles": [{"city": "Köln", "loyalty_points": number, "newsletter": True}],
        }
        for number in range(3)
    ]

    def execute(objects: list[dict[str, Any]]) -> None:
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in objects)
        sandbox.mediarithmics.set_result(export_id, [lines])
        sandbox.mediarithmics.add_execution(export_id)

    execute(customers)
    assert run(project, pipeline.job, sandbox).block.extracted == {"customers": 3}
    loaded = pipeline.loaded(sandbox, project)
    assert [(row["customer_id"], row["loyalty_points"]) for row in loaded] == [
        ("C0", 0),
        ("C1", 1),
        ("C2", 2),
    ]
    assert [row["email"] for row in loaded] == [None, None, None]

    assert run(project, pipeline.job, sandbox).block.extracted.get("customers", 0) == 0

    customers[0]["profiles"][0]["loyalty_points"] = 50
    execute(customers[:1])
    assert run(project, pipeline.job, sandbox).block.extracted == {"customers": 1}
    points = [row["loyalty_points"] for row in pipeline.loaded(sandbox, project)]
    assert points == [50, 1, 2]


def test_warehouse_files_are_loaded_once_and_the_next_run_loads_the_next_file(
    project: MeltanoProject,
    sandbox: Sandbox,
) -> None:
    pipeline = JOBS["warehouse-to-monetate"]
    assert run(project, pipeline.job, sandbox).block.extracted == {"orders": 90}
    assert len(pipeline.loaded(sandbox, project)) == 90

    unloaded = project.folder / "warehouse" / "orders-2026-11.csv"
    unloaded.write_text(
        "order_id,customer_id,ordered_at,amount\nO-1,C100001,2026-11-01T10:00:00Z,12.50\n",
        encoding="utf-8",
    )
    later = datetime.now(timezone.utc).timestamp() + 60
    os.utime(unloaded, (later, later))
    assert run(project, pipeline.job, sandbox).block.extracted == {"orders": 1}
    loaded = pipeline.loaded(sandbox, project)
    assert len(loaded) == 91
    assert loaded[-1] == {
        "order_id": "O-1",
        "customer_id": "C100001",
        "ordered_at": "2026-11-01T10:00:00Z",
        "amount": 12.5,
    }


def test_a_tap_feeds_a_third_party_loader(project: MeltanoProject, sandbox: Sandbox) -> None:
    (project.folder / "output").mkdir(exist_ok=True)
    numbers = {  # from the environment, where everything is text
        "TAP_MEDIARITHMICS_POLL_INTERVAL_SECONDS": "0.25",
        "TAP_MEDIARITHMICS_MAX_ATTEMPTS": "3",
        "TAP_MEDIARITHMICS_DISCOVER_EXPORTS": "false",
    }
    settings = {**sandbox_settings(sandbox), **numbers}
    done = project.run("tap-mediarithmics", "target-jsonl", settings=settings)
    assert done.status == 0, done.log
    lines = (project.folder / "output" / "customers.jsonl").read_text(encoding="utf-8")
    customers = [json.loads(line) for line in lines.splitlines()]
    assert len(customers) == done.block.extracted["customers"] > 50
    assert project.state(done.block)["bookmarks"]["customers"]


def test_a_wrong_setting_fails_the_run_with_its_name(
    project: MeltanoProject,
    sandbox: Sandbox,
) -> None:
    settings = {**sandbox_settings(sandbox), "TAP_ROBOTMIA_PROJECT_TIMEZONE": "Mars/Olympus"}
    done = project.run("robotmia-to-mona", settings=settings)
    assert done.status == 1
    assert "project_timezone" in done.log
    assert sandbox.mona.messages() == []
