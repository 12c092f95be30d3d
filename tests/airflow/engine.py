"""Airflow with a scheduler and real worker processes, in its own folder."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tests.kit.processes import free_port, output_of
from tests.pipelines.meltano import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from typing_extensions import Self

DAGS = ROOT / "orchestrate" / "airflow"
_SECONDS_BETWEEN_LOOKS = 0.2

Found = TypeVar("Found")


@dataclass(frozen=True)
class TaskTries:
    """The result of a task of a run: number of attempts, start and end of the last one."""

    name: str
    state: str
    tries: int
    began: str
    ended: str


class Engine:
    """A scheduler, and the API server of its tasks.

    Args:
        folder: The folder for all its files.
        environment: The environment of Airflow and of the tasks that it starts.
        pools: The pools and their slots.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], pools: dict[str, int]) -> None:
        self._folder = folder
        self._command = os.environ["AIRFLOW"]
        self._pools = pools
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = free_port()
        self.environment = {
            **environment,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
        }

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self.say("db", "migrate")
        for pool, slots in self._pools.items():
            self.say("pools", "set", pool, str(slots), "runs that ask this vendor at once")
        self.say("dags", "reserialize")
        api = ("api-server", "--apps", "execution", "--host", "127.0.0.1", "--port")
        for command in ((*api, str(self._port)), ("scheduler",)):
            with (self._folder / f"{command[0]}.log").open("wb") as log:
                process = subprocess.Popen(
                    [self._command, *command],
                    env=self.environment,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._processes.append(process)
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def say(self, *command: str) -> str:
        """Run an Airflow command."""
        return output_of(
            self._command,
            *command,
            folder=self._folder,
            environment=self.environment,
            with_errors=True,
        )

    def begin(self, dag: str) -> None:
        """Activate a DAG; its first run is due immediately."""
        self.say("dags", "unpause", dag)

    def trigger(self, dag: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run of a DAG."""
        self.begin(dag)
        self.say("dags", "trigger", dag, "--run-id", run_id, "--conf", json.dumps(conf))

    def ended(self, dag: str, timeout: float = 240) -> str:
        """Wait for the end of a DAG's first run, and return its state."""

        def state() -> str | None:
            found = self._rows("SELECT state FROM dag_run WHERE dag_id = ? ORDER BY id", dag)
            return found[0][0] if found and found[0][0] in {"success", "failed"} else None

        return wait_for(state, timeout, self.logs)

    def tasks(self, dag: str) -> dict[str, list[TaskTries]]:
        """Return the tasks of a DAG run, mapped ones in order."""
        query = (
            "SELECT task_id, rendered_map_index, state, try_number, start_date, end_date"
            " FROM task_instance WHERE dag_id = ? ORDER BY task_id, map_index"
        )
        found: dict[str, list[TaskTries]] = {}
        for task, name, *rest in self._rows(query, dag):
            found.setdefault(task, []).append(TaskTries(name or task, *rest))
        return found

    def logs(self) -> str:
        """Return the last lines of all logs, for a failed assertion."""
        files = sorted(self._folder.rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(
            f"--- {path.relative_to(self._folder)}\n{path.read_text(errors='replace')[-3000:]}"
            for path in files
        )

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        database = (self._folder / "airflow.db").as_uri() + "?mode=ro"
        with closing(sqlite3.connect(database, uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()


def wait_for(look: Callable[[], Found | None], timeout: float, explain: Callable[[], str]) -> Found:
    """Poll until there is a value, and return it.

    Raises:
        AssertionError: There was no value in time.
    """
    deadline = time.monotonic() + timeout
    while (found := look()) is None:
        assert time.monotonic() < deadline, explain()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return found
