"""A run ended by a signal: its status, its STATE, and the next run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    """Start the console script; it ends with the test at the latest."""
    running: list[subprocess.Popen[str]] = []

    def start(config: dict[str, Any]) -> subprocess.Popen[str]:
        (tmp_path / "config.json").write_text(json.dumps(config))
        process = subprocess.Popen(
            [sys.executable, "-m", "tap_mediarithmics", "--config", str(tmp_path / "config.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if isinstance(pipe, IO) or pipe is not None:
                pipe.close()


def last_state(text: str) -> dict[str, Any]:
    states = [json.loads(line) for line in text.splitlines() if line.startswith('{"type":"STATE"')]
    return dict(states[-1]["value"]) if states else {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_an_execution_at_once(
    vendor: Mediarithmics,
    config: dict[str, Any],
    started: Any,
    sandbox: Sandbox,
    *,
    sync: Any,
    number: signal.Signals,
) -> None:
    vendor.hold()
    export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
    settings = {
        **config,
        "poll_interval_seconds": 60,
        "exports": [{"stream": "things", "export_id": export, "mode": "run"}],
    }
    process = started(settings)
    sandbox.wait_for_requests("mediarithmics", f"{export}/executions", count=3)
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}" in errors.splitlines()[-1]
    assert last_state(output).get("bookmarks", {}).get("things") is None
    (execution,) = vendor.export_executions(export)
    vendor.release()
    vendor.polls_until_done = execution.polls + 3
    again = sync({**settings, "poll_interval_seconds": 0.01}, state=last_state(output))
    assert {each["_execution_id"] for each in again.records("things")} == {str(execution.id)}
    assert len(vendor.export_executions(export)) == 1


def test_a_killed_tap_finds_the_execution_that_it_had_launched(
    vendor: Mediarithmics, config: dict[str, Any], started: Any, sandbox: Sandbox, sync: Any
) -> None:
    vendor.hold()
    item = {"stream": "things", "query": "SELECT { id } FROM UserPoint"}
    process = started({**config, "exports": [item]})
    sandbox.wait_for_requests("mediarithmics", "/executions$", count=6)
    process.kill()
    process.communicate()
    export = next(each for each in vendor.exports() if each["name"] == "singer-martech things")
    (execution,) = vendor.export_executions(export["id"])
    vendor.release()
    vendor.polls_until_done = execution.polls + 3
    output = sync({**config, "exports": [item]})
    assert {each["_execution_id"] for each in output.records("things")} == {str(execution.id)}
    assert len(vendor.export_executions(export["id"])) == 1


def test_a_signal_during_a_result_keeps_the_previous_state(
    vendor: Mediarithmics, config: dict[str, Any], started: Any
) -> None:
    export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
    first = vendor.add_execution(export, created=1_700_000_000_000, files=[b'{"id":"a"}\n'])
    line = b'{"id":"%s"}\n' % (b"x" * 500)
    second = vendor.add_execution(export, created=1_700_000_000_001, files=[line * 60_000])
    item = {"stream": "things", "export_id": export, "mode": "all"}
    process = started({**config, "exports": [item]})
    lines = []
    for text in process.stdout:
        lines.append(text)
        if f'"_execution_id":"{second}"' in text:
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    output = "".join(lines) + rest
    assert output.endswith("\n")
    assert all(json.loads(each) for each in output.splitlines())
    assert output.count('"type":"RECORD"') < 60_000
    assert last_state(output)["bookmarks"]["things"]["execution"]["id"] == first
