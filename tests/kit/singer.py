"""Singer messages, and the results of a target run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Line = dict[str, Any] | str | bytes


def schema(stream: str = "orders", keys: list[str] | None = None, **properties: Any) -> Line:
    """Return a SCHEMA message; without properties, it accepts any record."""
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties or {"id": {}}},
        "key_properties": ["id"] if keys is None else keys,
    }


def record(stream: str = "orders", /, **fields: Any) -> Line:
    """Return a RECORD message."""
    return {"type": "RECORD", "stream": stream, "record": fields}


def state(value: Any) -> Line:
    """Return a STATE message."""
    return {"type": "STATE", "value": value}


def records(count: int, stream: str = "orders", **fields: Any) -> list[Line]:
    """Return messages of records with ids from 1."""
    return [record(stream, id=number, **fields) for number in range(1, count + 1)]


def as_bytes(lines: tuple[Line, ...] | list[Line]) -> bytes:
    """Return the messages as the lines of an input."""
    return b"".join(
        (line if isinstance(line, bytes) else _text(line).encode()) + b"\n" for line in lines
    )


def _text(line: dict[str, Any] | str) -> str:
    return line if isinstance(line, str) else json.dumps(line)


@dataclass
class Run:
    """The result of a run.

    Attributes:
        status: Its exit status.
        output: Its standard output.
        log: Its standard error.
        reject_path: Its setting.
    """

    status: int
    output: str
    log: str
    reject_path: Path

    @property
    def states(self) -> list[Any]:
        """Every STATE that it wrote."""
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def reason(self) -> str:
        """The last line of the log, without its date."""
        return self.log.splitlines()[-1].split("|", maxsplit=3)[-1].strip()

    def summary(self, stream: str = "orders") -> dict[str, Any]:
        """Return the stream's summary, without members that differ between runs."""
        for line in self.log.splitlines():
            _, found, text = line.partition("summary: ")
            if found and json.loads(text)["stream"] == stream:
                counts: dict[str, Any] = json.loads(text)
                return counts
        raise AssertionError(f"No summary of {stream} in:\n{self.log}")

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """The lines of all reject reports."""
        return [
            json.loads(line)
            for path in sorted(self.reject_path.glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]

    @property
    def reports(self) -> list[Path]:
        """The reject reports."""
        return sorted(self.reject_path.glob("*.jsonl"))
