"""One DAG per schedule of meltano.yml, with the tasks of its job in sequence."""

from __future__ import annotations

import os
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import chain, dag

#: The folder of the Meltano project, the same on every worker.
PROJECT = os.environ.get("MELTANO_PROJECT_ROOT") or str(Path(__file__).resolve().parents[2])

#: The pools that limit the concurrent runs per vendor; the same as in back_fill.py.
POOLS = {"tap-robotmia": "robotmia", "tap-mediarithmics": "mediarithmics"}

#: Intervals of Meltano that Airflow does not know.
INTERVALS = {"@none": None, "@manual": None}


def run(number: int, command: str, environment: dict[str, str]) -> BashOperator:
    """Return a task that is one block of a job."""
    return BashOperator(
        task_id=f"{number}-{'-'.join(command.split())}".replace(":", "-"),
        bash_command=f"exec meltano run {shlex.join(command.split())}",
        env={name: str(value) for name, value in environment.items()},
        append_env=True,
        cwd=PROJECT,
        skip_on_exit_code=None,
        do_xcom_push=False,
        pool=POOLS.get(command.split(maxsplit=1)[0], "default_pool"),
        retries=2,
    )


def scheduled(schedule: dict[str, Any], tasks: list[str | list[str]]) -> None:
    """Make the DAG of a schedule."""
    interval = schedule["interval"]

    @dag(
        dag_id=schedule["name"],
        schedule=INTERVALS.get(interval, interval),
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        catchup=False,  # each run loads everything since the last one
        max_active_runs=1,  # all runs share one state
        tags=["meltano"],
        doc_md=__doc__,
    )
    def build() -> None:
        environment = schedule.get("env", {})
        commands = [task if isinstance(task, str) else " ".join(task) for task in tasks]
        chain(*(run(number, each, environment) for number, each in enumerate(commands, start=1)))

    build()


project = yaml.safe_load((Path(PROJECT) / "meltano.yml").read_text(encoding="utf-8"))
jobs = {job["name"]: job["tasks"] for job in project.get("jobs", [])}
for each in project.get("schedules", []):
    if "job" in each:
        scheduled(each, jobs[each["job"]])
