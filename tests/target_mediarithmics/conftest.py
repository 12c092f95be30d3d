"""Run the target in this process against the sandbox."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from target_mediarithmics.target import TargetMediarithmics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox


TABLE: dict[str, Any] = {
    "list": {
        "document_type": "USER_SEGMENT",
        "mime_type": "TEXT_CSV",
        "document": {
            "operation": "UPDATE",
            "email_hash": "{{ id }}",
            "segment_id": "8",
            "expiration_duration": 60,
            "data_bag": "{{ name }}",
        },
    }
}
"""A mapping of the stream ``list`` that is sent as CSV."""


@dataclass
class Run:
    """The result of a run."""

    states: list[Any]
    log: list[str]
    error: MartechError | None
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        found = [line for line in self.log if line.startswith("summary: ")]
        parsed = [json.loads(line.removeprefix("summary: ")) for line in found]
        return {summary["stream"]: summary for summary in parsed}

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """The lines of all reject reports."""
        texts = [text for name, text in self.reports.items() if name.endswith(".jsonl")]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def counts(self, stream: str = "list") -> dict[str, int]:
        """The counts of a stream's summary; also checks that they add up."""
        summary = self.summaries[stream]
        names = ("delivered", "rejected", "skipped_deletes", "superseded")
        assert summary["read"] == sum(summary[name] for name in names) + summary.get(
            "undelivered", 0
        )
        return {name: summary[name] for name in ("read", "delivered", "rejected")}


def schema(stream: str = "list", keys: Iterable[str] = ("id",), **properties: Any) -> str:
    """Return a SCHEMA message; properties that are not given accept any value."""
    message = {
        "type": "SCHEMA",
        "stream": stream,
        "key_properties": list(keys),
        "schema": {"properties": {"id": {}, **properties}},
    }
    return json.dumps(message)


def record(stream: str = "list", /, **fields: Any) -> str:
    """Return a RECORD message."""
    return json.dumps({"type": "RECORD", "stream": stream, "record": fields})


def state(value: Any) -> str:
    """Return a STATE message."""
    return json.dumps({"type": "STATE", "value": value})


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    return sandbox.mediarithmics


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The lines that are logged from INFO on."""
    handler = _Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def settings(vendor: Mediarithmics, tmp_path: Path) -> dict[str, Any]:
    """Settings for the sandbox with short waits."""
    given = vendor.credentials()
    return {
        "api_url": given["api_url"],
        "api_token": given["api_token"],
        "datamart_id": given["datamart_id"],
        "poll_interval_seconds": 0.001,
        "reject_path": str(tmp_path / "rejects"),
        "max_attempts": 2,
    }


@pytest.fixture
def load(
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    log: list[str],
) -> Callable[..., Run]:
    """Run the target with messages and further settings."""

    def run(*messages: str, **more: Any) -> Run:
        capsys.readouterr()
        log.clear()
        error = None
        try:
            target = TargetMediarithmics(config={**settings, **more})
            target.listen(io.StringIO("\n".join(messages) + "\n"))
        except MartechError as caught:
            error = caught
        out = capsys.readouterr().out
        folder = tmp_path / "rejects"
        reports = {path.name: path.read_text() for path in sorted(folder.glob("*"))}
        return Run([json.loads(line) for line in out.splitlines()], list(log), error, reports)

    return run
