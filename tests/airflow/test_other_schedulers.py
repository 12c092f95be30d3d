"""The plan without Airflow: any scheduler gives the same result as a single run."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.processes import output_of
from tests.pipelines.meltano import MELTANO, MeltanoProject, sandbox_settings
from tests.pipelines.postgres import postgres
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)

JOB = "sandbox:tap-robotmia-to-target-mona"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The environment of every worker, with the states in one PostgreSQL database."""
    with postgres("SELECT") as server:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TAP_", "TARGET_", "MELTANO_"))
        }
        path = [str(Path(os.environ["AIRFLOW"]).parent), str(MELTANO.parent), os.environ["PATH"]]
        place = f"{server['user']}@{server['host']}:{server['port']}/{server['database']}"
        yield {
            **inherited,
            "MELTANO_DATABASE_URI": f"postgresql+psycopg://{place}",
            "PATH": os.pathsep.join(path),
        }


def test_states_in_a_database_work_with_the_lines_of_a_plan(
    environment: dict[str, str], tmp_path: Path
) -> None:
    project = MeltanoProject(tmp_path / "project").folder

    def run(*command: str, stdin: str = "", **settings: str) -> str:
        return output_of(
            *command, folder=project, environment={**environment, **settings}, stdin=stdin
        )

    with Sandbox(seed=1) as sandbox:
        environment |= sandbox_settings(sandbox)
        today = sandbox.robotmia.today
        first, last = today - timedelta(days=6), today - timedelta(days=1)
        lines = run(
            *("singer-martech-shards", "plan", "days", "--tap=tap-robotmia"),
            *("--target=target-mona", "--environment=sandbox", "--zone=America/Los_Angeles"),
            *(f"--first={first}", f"--last={last}", "--days=3"),
        )
        plan = tmp_path / "plan.jsonl"
        plan.write_text(lines, encoding="utf-8")
        shards: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
        assert len(shards) == 2

        run("meltano", "state", "list")  # creates the tables
        with ThreadPoolExecutor() as workers:
            list(workers.map(lambda each: run(*each["command"], **each["environment"]), shards))
        after = run(
            "singer-martech-shards",
            "hand-over",
            str(plan),
            stdin=run("meltano", "state", "export"),
        )
        run("meltano", "state", "import", stdin=after)

        kept = json.loads(run("meltano", "state", "get", JOB))["singer_state"]["bookmarks"]
        assert kept["events"]["replication_key_value"] == shards[-1]["until"]
        assert kept["events"]["start_date"] == str(first)
        delivered = sandbox.mona.records()
        times = {record["properties"]["time"] for record in delivered.values()}
        expected = {
            json.loads(event.line)["properties"]["time"]
            for event in sandbox.robotmia.events(first, last)
        }
        assert times == expected
