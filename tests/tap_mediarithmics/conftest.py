"""Run the tap against the sandbox, in the test's process or as a command."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox


class Output:
    """The output of a run."""

    def __init__(self, text: str) -> None:
        self.messages = [json.loads(line, parse_float=Decimal) for line in text.splitlines()]

    @property
    def state(self) -> dict[str, Any]:
        """The last STATE; empty when there was none."""
        states = [each["value"] for each in self.messages if each["type"] == "STATE"]
        return dict(states[-1]) if states else {}

    @property
    def counts(self) -> Counter[str]:
        """How many records each stream had."""
        return Counter(each["stream"] for each in self.messages if each["type"] == "RECORD")

    def records(self, stream: str) -> list[dict[str, Any]]:
        """The records of a stream."""
        return [
            each["record"]
            for each in self.messages
            if each["type"] == "RECORD" and each["stream"] == stream
        ]

    def schema(self, stream: str) -> dict[str, Any]:
        """The SCHEMA message of a stream."""
        (message,) = (
            each for each in self.messages if each["type"] == "SCHEMA" and each["stream"] == stream
        )
        return dict(message)

    def bookmark(self, stream: str) -> dict[str, Any]:
        """The bookmark of a stream in the last STATE."""
        return dict(self.state.get("bookmarks", {}).get(stream, {}))


@dataclass
class Command:
    """A finished run of the console script."""

    status: int
    stderr: str
    output: Output

    @property
    def last_line(self) -> str:
        """The last line of the log."""
        return self.stderr.strip().splitlines()[-1]


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    """The sandbox's mediarithmics."""
    return sandbox.mediarithmics


@pytest.fixture
def config(vendor: Mediarithmics) -> dict[str, Any]:
    """Settings for the sandbox with short waits."""
    return {**vendor.credentials(), "poll_interval_seconds": 0.01, "max_attempts": 2}


@pytest.fixture
def sync() -> Callable[..., Output]:
    """Run the tap within this process and return what it wrote."""

    def run(
        config: dict[str, Any],
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
    ) -> Output:
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            TapMediarithmics(config=config, state=state, catalog=catalog).sync_all()
        return Output(written.getvalue())

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Command]:
    """Run the console script and wait for its end."""

    def run(
        config: dict[str, Any],
        *arguments: str,
        state: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> Command:
        config_file = tmp_path / "config.json"
        config_file.write_text(json.dumps(config))
        line = [sys.executable, "-m", "tap_mediarithmics", "--config", str(config_file)]
        if state is not None:
            (tmp_path / "state.json").write_text(json.dumps(state))
            line += ["--state", str(tmp_path / "state.json")]
        ended = subprocess.run(
            [*line, *arguments], capture_output=True, text=True, check=False, env=env, timeout=60
        )
        is_messages = ended.stdout.startswith('{"type"') or not ended.stdout
        output = Output(ended.stdout if is_messages else "")
        return Command(ended.returncode, ended.stderr, output)

    return run


@pytest.fixture(scope="session")
def lines() -> Callable[..., bytes]:
    """Write objects as the lines of a result."""

    def written(*objects: dict[str, Any]) -> bytes:
        return b"".join(json.dumps(each).encode() + b"\n" for each in objects)

    return written
