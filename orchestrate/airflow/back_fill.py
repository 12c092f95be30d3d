"""Back-fill a tap into a target on many workers, then set the bookmark of the regular job.

One DAG per tap; the target and the days or streams are its parameters. See docs/scaling.md.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag, task

log = logging.getLogger("airflow.task")

#: The folder of the Meltano project, the same on all workers.
PROJECT = os.environ.get("MELTANO_PROJECT_ROOT") or str(Path(__file__).resolve().parents[2])

TARGET = Param("target-mona", type="string", description="The loader.")
ENVIRONMENT = Param(
    os.environ.get("MELTANO_ENVIRONMENT", "production"),
    type="string",
    description="The environment in meltano.yml.",
)
WRITERS = Param(
    "auto",
    enum=["auto", "one", "many"],
    description="Number of runs that the loader accepts at once. With one, there is one shard.",
)
DAYS = {
    "first": Param("2026-01-01", type="string", format="date", description="The first day."),
    "last": Param(
        None,
        type=["null", "string"],
        format="date",
        description="The last day, inclusive; empty: today.",
    ),
    "zone": Param(
        os.environ.get("TAP_ROBOTMIA_PROJECT_TIMEZONE", "UTC"),
        type="string",
        description="The project's time zone, as in the project's settings.",
    ),
    "shards": Param(12, type="integer", minimum=1, description="Number of shards."),
    "window_days": Param(1, type="integer", minimum=1, description="Days per request."),
}
STREAMS = {"stream": Param([], type="array", description="The streams, one per line.")}
LOOKBACK = Param(
    5,
    type="integer",
    minimum=0,
    description="The setting lookback_days of the regular job.",
)


def run(*command: str, stdin: str = "") -> str:
    """Run a command in the project, and raise its last line if it fails."""
    done = subprocess.run(
        command, cwd=PROJECT, check=False, input=stdin, capture_output=True, text=True
    )
    log.info(done.stderr.rstrip())
    if done.returncode:
        raise RuntimeError(done.stderr.rstrip().rpartition("\n")[2])
    return done.stdout


def back_fill(tap: str, pool: str, kind: str, plan_params: dict[str, Param]) -> None:
    """Create the DAG of a tap.

    Args:
        tap: The extractor.
        pool: The Airflow pool that limits its runs on all workers.
        kind: The kind of its shards: days or streams.
        plan_params: Further parameters of the plan, named like the options of the command.
    """

    @dag(
        dag_id=f"back_fill_{tap}".replace("-", "_"),
        params={
            "target": TARGET,
            "environment": ENVIRONMENT,
            "writers": WRITERS,
            "lookback_days": LOOKBACK,
            **plan_params,
        },
        schedule=None,
        max_active_runs=1,
        tags=["meltano"],
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def plan(params: dict[str, Any], run_id: str) -> list[dict[str, Any]]:
            os.environ["MELTANO_ENVIRONMENT"] = params["environment"]
            arguments = ["--tap", tap, "--name", run_id]
            for name in ("target", "environment", "writers", *plan_params):
                value = params[name]
                for each in value if isinstance(value, list) else [value]:
                    if each is not None:
                        arguments += [f"--{name.replace('_', '-')}", str(each)]
            lines = run("singer-martech-shards", "plan", kind, *arguments)
            return [json.loads(line) for line in lines.splitlines()]

        @task(retries=2)
        def hand_over(shards: list[dict[str, Any]], params: dict[str, Any]) -> None:
            os.environ["MELTANO_ENVIRONMENT"] = params["environment"]
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(shard) + "\n" for shard in shards)
                lines.flush()
                after = run(
                    "singer-martech-shards",
                    "hand-over",
                    f"--lookback-days={params['lookback_days']}",
                    lines.name,
                    stdin=run("meltano", "state", "export"),
                )
            run("meltano", "state", "import", stdin=after)

        shards = plan()
        runs = BashOperator.partial(
            task_id="run",
            # the bookmark of a shard moves with each window, and a retry resumes there
            retries=5,
            pool=pool,
            cwd=PROJECT,
            append_env=True,
            skip_on_exit_code=None,
            do_xcom_push=False,
            map_index_template="{{ task.env['MELTANO_RUN_STATE_ID_SUFFIX'] }}",
        ).expand_kwargs(
            shards.map(
                lambda shard: {
                    "bash_command": "exec " + shlex.join(shard["command"]),
                    "env": shard["environment"],
                }
            )
        )
        runs >> hand_over(shards)

    build()


back_fill("tap-robotmia", "robotmia", "days", DAYS)
back_fill("tap-mediarithmics", "mediarithmics", "streams", STREAMS)
