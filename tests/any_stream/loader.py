"""Each of the three targets, with mappings that load any record as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_mediarithmics.target import TargetMediarithmics
from target_mona.target import TargetMona
from target_monetate.target import TargetMonetate
from tests.kit.singer import as_bytes
from tests.robustness.plugins import IMPATIENT, Plugin, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.singer import Line
    from tests.robustness.plugins import Outcome
    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.server import Sandbox


def _mona(sandbox: Sandbox) -> dict[str, Any]:
    return {**sandbox.mona.credentials(), "streams": {"*": {"arc_class": "any", "context_id": ""}}}


def _monetate(sandbox: Sandbox) -> dict[str, Any]:
    # a dataset has fixed fields, so one of them holds the record as text
    sandbox.monetate.add_dataset("records", {"customer_id": "STRING", "record": "STRING"})
    row = {"customer_id": "c", "record": "{{ record | tojson }}"}
    mapping = {"schema": "records", "row": row, "allow_append": True}
    return {**sandbox.monetate.credentials(), "streams": {"*": mapping}}


def _mediarithmics(sandbox: Sandbox) -> dict[str, Any]:
    given = sandbox.mediarithmics.credentials()
    del given["organisation_id"]
    mapping = {"document_type": "ANYTHING", "document_import_name": "any"}
    return {**given, "poll_interval_seconds": 0.001, "streams": {"*": mapping}}


@dataclass(frozen=True)
class AnyTarget:
    """A target and the records at its vendor.

    Attributes:
        plugin: The target, with settings for any stream.
        records: Returns the records that arrived, in their order.
        requests: Returns the requests that carried records.
    """

    plugin: Plugin
    records: Callable[[Sandbox], list[Any]]
    requests: Callable[[Sandbox], list[RecordedRequest]]

    def __str__(self) -> str:
        """Return the name, as the test id."""
        return self.plugin.name


ANY_TARGETS = (
    AnyTarget(
        Plugin("target-mona", TargetMona, "mona", _mona),
        lambda sandbox: [each["message"] for each in sandbox.mona.messages()],
        lambda sandbox: sandbox.mona.exports,
    ),
    AnyTarget(
        Plugin("target-monetate", TargetMonetate, "monetate", _monetate),
        lambda sandbox: [json.loads(row["record"]) for row in sandbox.monetate.rows("records")],
        lambda sandbox: sandbox.monetate.posts,
    ),
    AnyTarget(
        Plugin("target-mediarithmics", TargetMediarithmics, "mediarithmics", _mediarithmics),
        lambda sandbox: sandbox.mediarithmics.documents(),
        lambda sandbox: sandbox.mediarithmics.requests_to("/executions$", "POST"),
    ),
)


class Loader:
    """Runs one of the targets and returns what arrived."""

    def __init__(self, target: AnyTarget, sandbox: Sandbox, folder: Path) -> None:
        self._target = target
        self._sandbox = sandbox
        self._folder = folder
        self.name = target.plugin.name
        self.settings = {**target.plugin.settings(sandbox), **IMPATIENT}

    def __call__(self, *lines: Line, **settings: Any) -> Outcome:
        """Run the target's command with the lines; it must succeed."""
        outcome = run(
            self._target.plugin,
            {**self.settings, **settings},
            self._folder,
            data=as_bytes(lines),
        )
        assert outcome.status == 0, outcome.log
        return outcome

    def in_process(self, *lines: Line, max_files: int, **settings: Any) -> str:
        """Run the command in a process with a limit of open files; return its log."""
        (self._folder / "config.json").write_text(json.dumps({**self.settings, **settings}))
        (self._folder / "input").write_bytes(as_bytes(lines))
        command = Path(sys.executable).with_name(self.name)
        script = f"ulimit -n {max_files}; exec {command} --config config.json <input"
        ended = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stderr

    @property
    def records(self) -> list[Any]:
        """The records that arrived, in their order."""
        return self._target.records(self._sandbox)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests that carried records."""
        return self._target.requests(self._sandbox)

    @property
    def reports(self) -> list[str]:
        """The lines of all reject reports."""
        paths = sorted((self._folder / "rejects").glob("*.jsonl"))
        return [line for path in paths for line in path.read_text().splitlines()]
