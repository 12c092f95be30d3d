"""Fixtures for target-monetate: the sandbox's Monetate and helpers to load records."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from target_monetate.target import TargetMonetate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox

KEY = {"type": "string"}
TEXT = {"type": ["string", "null"]}
NUMBER = {"type": ["number", "null"]}


@pytest.fixture
def monetate(sandbox: Sandbox) -> Monetate:
    return sandbox.monetate


def schema_message(
    stream: str, properties: dict[str, Any], key_properties: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties},
        "key_properties": list(key_properties),
    }


def record_message(stream: str, **record: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": stream, "record": record}


def state_message(number: int) -> dict[str, Any]:
    return {"type": "STATE", "value": {"bookmarks": {"n": number}}}


def as_input(messages: Sequence[dict[str, Any] | str]) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in messages)


@dataclass
class Loader:
    """Runs the target in this process, over real HTTP."""

    monetate: Monetate
    folder: Path
    output: Callable[[], str]
    log: pytest.LogCaptureFixture

    def settings(self, **settings: Any) -> dict[str, Any]:
        folder = str(self.folder / "rejects")
        return {**self.monetate.credentials(), "reject_path": folder, **settings}

    def __call__(self, *messages: dict[str, Any] | str, **settings: Any) -> list[Any]:
        """Load messages; return the emitted STATEs, also those of a failed run."""
        target = TargetMonetate(config=self.settings(**settings))
        target.listen(io.StringIO(as_input(messages)))
        return self.states()

    def states(self) -> list[Any]:
        return [json.loads(line) for line in self.output().splitlines()]

    def rows(
        self, *records: dict[str, Any], stream: str = "customer_attributes", **more: Any
    ) -> None:
        """Load records with a schema that lists all their fields and accepts any value."""
        names = dict.fromkeys(name for record in records for name in record)
        self(
            schema_message(stream, {name: {} for name in names}),
            *(record_message(stream, **record) for record in records),
            **more,
        )

    def rejects(self) -> list[Any]:
        return [
            json.loads(line)
            for path in sorted((self.folder / "rejects").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]

    def summaries(self) -> dict[str, Any]:
        found = {}
        for line in self.lines():
            if line.startswith("summary: "):
                summary = json.loads(line.removeprefix("summary: "))
                found[summary["stream"]] = summary
        return found

    def lines(self, level: str | None = None) -> list[str]:
        return [
            record.getMessage()
            for record in self.log.records
            if level is None or record.levelname == level
        ]


@pytest.fixture
def load(
    monetate: Monetate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Loader:
    caplog.set_level("INFO")
    return Loader(monetate, tmp_path, lambda: capsys.readouterr().out, caplog)
