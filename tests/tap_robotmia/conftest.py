"""Run the tap as a command against the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox

COMMAND = Path(sys.executable).with_name("tap-robotmia")


@dataclass
class Run:
    """The result of a run of the tap."""

    status: int
    lines: list[bytes]
    log: str
    messages: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.messages = [
            json.loads(line, parse_float=Decimal, parse_int=_integer) for line in self.lines
        ]

    @property
    def reason(self) -> str:
        """The last line of the log without its date."""
        return self.log.splitlines()[-1].split("|", maxsplit=3)[-1].strip()

    @property
    def states(self) -> list[dict[str, Any]]:
        return [each["value"] for each in self.messages if each["type"] == "STATE"]

    def records(self, stream: str = "events") -> list[dict[str, Any]]:
        return [
            each["record"]
            for each in self.messages
            if each["type"] == "RECORD" and each["stream"] == stream
        ]

    def ids(self, stream: str = "events") -> list[str]:
        return [record["event_id"] for record in self.records(stream)]

    def schema(self, stream: str = "events") -> dict[str, Any]:
        (schema,) = (
            each["schema"]
            for each in self.messages
            if each["type"] == "SCHEMA" and each["stream"] == stream
        )
        return schema  # type: ignore[no-any-return]

    def bookmark(self, stream: str = "events") -> str:
        return self.states[-1]["bookmarks"][stream]["replication_key_value"]  # type: ignore[no-any-return]

    def bookmarks(self, stream: str = "events") -> list[str]:
        entries = [state["bookmarks"].get(stream, {}) for state in self.states]
        return [
            entry["replication_key_value"] for entry in entries if "replication_key_value" in entry
        ]


class Tap:
    """The tap with settings for the sandbox."""

    def __init__(self, vendor: Robotmia, folder: Path) -> None:
        self.vendor = vendor
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.config: dict[str, Any] = {"max_attempts": 3}
        self.command = [str(COMMAND)]

    def run(
        self,
        *arguments: str,
        state: Mapping[str, Any] | None = None,
        catalog: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        status: int | None = 0,
        **config: Any,
    ) -> Run:
        process = self.start(
            *arguments, state=state, catalog=catalog, environment=environment, **config
        )
        return self.finish(process, status)

    def start(
        self,
        *arguments: str,
        state: Mapping[str, Any] | None = None,
        catalog: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        **config: Any,
    ) -> subprocess.Popen[bytes]:
        settings = {**self.vendor.credentials(), **self.config, **config}
        settings = {name: value for name, value in settings.items() if value is not None}
        command = [*self.command, "--config", self._file("config", settings), *arguments]
        if state is not None:
            command += ["--state", self._file("state", state)]
        if catalog is not None:
            command += ["--catalog", self._file("catalog", catalog)]
        return subprocess.Popen(
            command,
            bufsize=0,  # unbuffered, so that reading a line does not consume more
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.temporary), **(environment or {})},
        )

    def finish(self, process: subprocess.Popen[bytes], status: int | None = 0) -> Run:
        out, log = process.communicate(timeout=60)
        run = Run(process.returncode, out.splitlines(keepends=True), log.decode())
        assert status is None or run.status == status, run.log
        assert not list(self.temporary.iterdir())
        assert "Traceback" not in run.log or "| DEBUG" in run.log
        return run

    def discover(self, **config: Any) -> dict[str, Any]:
        process = self.start("--discover", **config)
        out, log = process.communicate(timeout=60)
        assert process.returncode == 0, log.decode()
        return json.loads(out)  # type: ignore[no-any-return]

    def _file(self, name: str, content: Any) -> str:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)


@pytest.fixture
def vendor(sandbox: Sandbox) -> Robotmia:
    return sandbox.robotmia


@pytest.fixture
def tap(vendor: Robotmia, tmp_path: Path) -> Tap:
    return Tap(vendor, tmp_path)


def day(number: int, first: str = "2024-01-01") -> str:
    """Return a day counted from the first of January 2024."""
    return (date.fromisoformat(first) + timedelta(days=number)).isoformat()


def event(days: float, name: str = "Login", **properties: Any) -> dict[str, Any]:
    """Return an event this number of days after 1 January 2024, wall clock."""
    midnight = datetime(2024, 1, 1, tzinfo=timezone.utc).timestamp()
    properties = {name.replace("insert_id", "$insert_id"): v for name, v in properties.items()}
    return {"event": name, "properties": {"time": int(midnight + days * 86400), **properties}}


def numbered(count: int, per_day: int = 4) -> list[dict[str, Any]]:
    """Return events with unique ids, ``per_day`` a day from 1 January 2024."""
    return [
        event(number / per_day, distinct_id=f"u{number}", insert_id=f"i{number}", n=number)
        for number in range(count)
    ]


def _integer(text: str) -> int | Decimal:
    """Parse an integer, even if it is too long for Python's own parser."""
    return int(text) if len(text) < 1000 else Decimal(text)
