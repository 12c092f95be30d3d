"""Executions of exports and imports, which advance with polls or by a test."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import weakref
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.sandbox.vendor import whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.sandbox.store import Store

Kind = Literal["export", "import"]

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SUCCESS"})

TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_executions ("
        " id INTEGER PRIMARY KEY, kind TEXT, parent TEXT, status TEXT, creation_date INTEGER,"
        " detail TEXT)"
    ),
)


@dataclass
class Outcome:
    """The outcome of an execution; see `Mediarithmics.plan`."""

    status: str = "SUCCEEDED"
    error: Any = None
    error_file: str = ""
    erroneous_ratio: float | None = None
    null_result: bool = False
    files: list[bytes] | None = None
    possible_issue_on_identifiers: bool | None = None
    lose_error_file: bool = False
    land_when_failed: bool = False


@dataclass
class Execution:
    """One execution; `detail` has what its kind needs (query, upload, result files)."""

    id: int
    kind: Kind
    parent: str
    creation_date: int
    status: str = "PENDING"
    start_date: int | None = None
    end_date: int | None = None
    polls: int = 0
    held: bool = False
    parameters: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: Any = None
    num_tasks: int | None = None
    completed_tasks: int | None = None
    erroneous_tasks: int | None = None
    outcome: Outcome = field(default_factory=Outcome)
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status not in ENDED

    def as_dict(self, organisation_id: str) -> dict[str, Any]:
        """Return the execution as in the API."""
        export = self.kind == "export"
        duration = None
        if self.start_date is not None and self.end_date is not None:
            duration = self.end_date - self.start_date
        described: dict[str, Any] = {
            "parameters": {} if export else self.parameters,
            "organisation_id": organisation_id,
            "user_id": "2886" if export else None,
            "result": self.result,
            "error": self.error,
            "id": str(self.id),
            "status": self.status,
            "creation_date": self.creation_date,
            "start_date": self.start_date,
            "duration": duration,
            "cancel_status": None,
            "debug": None,
            "is_retryable": False,
            "permalink_uri": f"execution-{self.id}",
            "num_tasks": self.num_tasks,
            "completed_tasks": self.completed_tasks,
            "erroneous_tasks": self.erroneous_tasks,
            "retry_count": 0,
            "job_type": "DATAMART_QUERY_EXPORT" if export else "DOCUMENT_IMPORT",
        }
        if not export:
            described.update(import_mode="MANUAL_FILE", import_type=None)
        if self.end_date is not None:
            described["end_date"] = self.end_date
        return described


class Executions:
    """All executions and their files.

    Files are stored beside the database file, or in a temporary folder without one.

    Args:
        store: The database.
        milliseconds: The vendor's clock.
    """

    def __init__(self, store: Store, milliseconds: Callable[[], int]) -> None:
        self.lock = threading.RLock()
        self.polls_until_done = 2
        self.holding = False
        self.plans: dict[Kind, deque[Outcome]] = {"export": deque(), "import": deque()}
        #: Called when an execution ends, to set result and counts.
        self.finishers: dict[Kind, Callable[[Execution], None]] = {}
        #: The maximum number of concurrently open executions of one parent.
        self.max_open: dict[str, int] = {}
        self._store = store
        self._milliseconds = milliseconds
        self._all: dict[int, Execution] = {}
        self._folder: Path | None = None
        for row in store.rows("SELECT detail FROM mediarithmics_executions ORDER BY id"):
            saved = json.loads(row["detail"])
            execution = Execution(**{**saved, "outcome": Outcome(**saved["outcome"])})
            self._all[execution.id] = execution

    def file(self, name: str) -> Path:
        """Return the path of a file that belongs to an execution."""
        if self._folder is None:
            database = self._store.rows("PRAGMA database_list")[0]["file"]
            if database:
                self._folder = Path(f"{database}.files")
                self._folder.mkdir(exist_ok=True)
            else:
                self._folder = Path(tempfile.mkdtemp(prefix="sandbox-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / name

    def create(self, kind: Kind, parent: str, detail: dict[str, Any]) -> Execution:
        """Start an execution; it is PENDING."""
        with self.lock:
            outcome = self.plans[kind].popleft() if self.plans[kind] else Outcome()
            execution = Execution(
                id=max(self._all, default=7_000_000) + 1,
                kind=kind,
                parent=parent,
                creation_date=self._milliseconds(),
                held=self.holding,
                outcome=outcome,
                detail=detail,
            )
            self._all[execution.id] = execution
            open_now = sum(item.is_open for item in self.of(kind, parent))
            self.max_open[parent] = max(self.max_open.get(parent, 0), open_now)
            self.save(execution)
            return execution

    def add(self, execution: Execution) -> Execution:
        """Add a past execution as described."""
        with self.lock:
            self._all[execution.id] = execution
            self.save(execution)
            return execution

    def next_id(self) -> int:
        """Return the id of the next execution."""
        return max(self._all, default=7_000_000) + 1

    def of(self, kind: Kind, parent: str | None = None) -> list[Execution]:
        """Return the executions of an export or import, newest first."""
        with self.lock:
            found = [
                item
                for item in self._all.values()
                if item.kind == kind and parent in {None, item.parent}
            ]
        return sorted(found, key=lambda item: (item.creation_date, item.id), reverse=True)

    def get(self, execution_id: int | str) -> Execution | None:
        """Return an execution, or None."""
        number = whole_number(str(execution_id))
        return None if number is None else self._all.get(number)

    def save(self, execution: Execution) -> None:
        """Write an execution into the database."""
        outcome = asdict(execution.outcome)
        # Planned files were written when it ended; bytes cannot be stored as JSON.
        outcome["files"] = None
        detail = {**vars(execution), "outcome": outcome}
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO mediarithmics_executions"
                " (id, kind, parent, status, creation_date, detail) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    execution.id,
                    execution.kind,
                    execution.parent,
                    execution.status,
                    execution.creation_date,
                    json.dumps(detail),
                ),
            )

    def poll(self, executions: Sequence[Execution]) -> None:
        """Advance executions that a client has polled."""
        for execution in executions:
            with self.lock:
                if not execution.is_open:
                    continue
                execution.polls += 1
                if not execution.held and execution.polls >= self.polls_until_done:
                    self.end(execution)
                elif not execution.held and execution.polls >= self.polls_until_done - 1:
                    self.start(execution)
                self.save(execution)

    def start(self, execution: Execution) -> None:
        """Make a PENDING execution RUNNING, with half of its tasks done."""
        with self.lock:
            if execution.status == "PENDING":
                execution.status = "RUNNING"
                execution.start_date = self._milliseconds()
                execution.num_tasks = execution.num_tasks or 1000
                execution.completed_tasks = execution.num_tasks // 2
                execution.erroneous_tasks = 0
                self.save(execution)

    def end(self, execution: Execution) -> None:
        """End an execution as planned; an ended execution does not change."""
        with self.lock:
            if not execution.is_open:
                return
            self.start(execution)
            execution.error = execution.outcome.error
            self.finishers[execution.kind](execution)
            execution.status = execution.outcome.status
            execution.end_date = self._milliseconds()
            self.save(execution)

    def release(self) -> None:
        """Let held executions advance with the next poll."""
        with self.lock:
            self.holding = False
            for execution in self._all.values():
                execution.held = False
