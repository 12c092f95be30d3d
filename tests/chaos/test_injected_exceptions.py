"""An exception of any class at any call of a plugin loses nothing and ends with one line."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.fork_server import ForkServer
from tests.chaos.injector import ERRORS, without_closed_generators
from tests.robustness.plugins import TAPS, TARGETS
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.robustness.plugins import Plugin

SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "").split()] or [1]
RUNS = int(os.environ.get("CHAOS_REQUESTS") or 200) // 50
RECORDS, REJECTED = 6, 4
MOST_SECONDS = 60
_UNWRITTEN = re.compile(rb"\| WARNING .*the summary .* cannot be written")

#: The ids that each vendor has accepted.
DELIVERED: Mapping[str, Callable[[Sandbox], set[str]]] = {
    "target-mona": lambda box: {each["message"]["id"] for each in box.mona.messages()},
    "target-monetate": lambda box: {row["id"] for row in box.monetate.rows("people")},
    "target-mediarithmics": lambda box: {
        document["user_account_id"] for document in box.mediarithmics.documents()
    },
}


@dataclass(frozen=True)
class Run:
    """One run in its own folder, with an exception at one call."""

    folder: Path
    status: int

    @property
    def out(self) -> list[dict[str, Any]]:
        """The messages, or STATEs, that it wrote."""
        return [json.loads(line) for line in self._lines("out")]

    @property
    def calls(self) -> int:
        """The number of calls that could have failed."""
        return int((self.folder / "calls").read_text(encoding="utf-8"))

    @property
    def reported(self) -> set[str]:
        """The ids in reject reports."""
        reports = (self.folder / "rejects").glob("*.jsonl")
        lines = [line for report in reports for line in report.read_bytes().splitlines()]
        return {json.loads(line)["record"]["id"] for line in lines}

    def check(self) -> None:
        """Assert that it succeeded, or failed with one line, and left no unexpected file."""
        log = self._lines("log")
        assert self.status in {0, 1}, log
        assert sum(b"| ERROR " in line for line in log) == self.status, log
        unexplained = without_closed_generators(b"\n".join(log).decode())
        assert not re.search("Traceback|Exception ignored in", unexplained)
        left = [path.name for path in self.folder.rglob(".*")]
        assert left == []

    def check_summary(self) -> None:
        """Assert that the summary has the result, and that each stream's counts add up."""
        files = list((self.folder / "summaries").iterdir())
        if any(_UNWRITTEN.search(line) for line in self._lines("log")):
            assert (self.status, files) == (0, [])  # a warning: the records are delivered
            return
        (path,) = files
        summary = json.loads(path.read_bytes())
        assert summary["outcome"] == ("failed" if self.status else "succeeded")
        parts = (
            "delivered",
            "rejected",
            "skipped_deletes",
            "superseded",
            "unchanged",
            "undelivered",
        )
        for stream in summary["streams"]:
            assert stream["read"] == sum(stream.get(part, 0) for part in parts)

    def _lines(self, name: str) -> list[bytes]:
        return (self.folder / name).read_bytes().splitlines()


class Runner:
    """Runs a plugin's command repeatedly."""

    def __init__(self, plugin: Plugin, folder: Path) -> None:
        self._folder = folder
        self._server = ForkServer(plugin)

    def run(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        lines: bytes = b"",
        state: Mapping[str, Any] | None = None,
        at: int | None = None,
        error: str = "MemoryError",
        function: str | None = None,
    ) -> Run:
        """Run the command, with an exception at a call if one is given."""
        folder = self._folder / name
        folder.mkdir()
        arguments = ["--config", "config.json"]
        files = {"config.json": json.dumps(config).encode(), "input": lines}
        if state is not None:
            arguments += ["--state", "state.json"]
            files["state.json"] = json.dumps(state).encode()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        with (
            (folder / "input").open("rb") as given,
            (folder / "out").open("wb") as out,
            (folder / "log").open("wb") as log,
        ):
            job = {"folder": str(folder), "at": at, "error": error, "function": function}
            streams = [stream.fileno() for stream in (given, out, log)]
            self._server.start(streams, {**job, "arguments": arguments})
            watchdog = threading.Timer(MOST_SECONDS, self._server.send_signal, [signal.SIGKILL])
            watchdog.start()
            status, _ = self._server.wait()
            watchdog.cancel()
            watchdog.join()
            return Run(folder, status)

    def close(self) -> None:
        """End the process."""
        self._server.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(request.getfixturevalue("plugin"), tmp_path)
    yield runner
    runner.close()


def lines(plugin: Plugin, after: int = 0) -> bytes:
    """Return the messages of a tap after a STATE: numbered records, one of them invalid."""
    schema = plugin.messages[0]
    messages = [schema]
    for number in range(after + 1, RECORDS + 1):
        record = {"id": f"k{number}", "n": "none" if number == REJECTED else number}
        messages.append({"type": "RECORD", "stream": schema["stream"], "record": record})
        messages.append({"type": "STATE", "value": {"n": number}})
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def injections(seed: int, calls: int) -> Iterator[tuple[int, str]]:
    """Draw calls and the errors that they raise."""
    assert calls > 100
    chance = random.Random(seed)
    for at in sorted(chance.sample(range(1, calls + 1), min(RUNS, calls))):
        yield at, chance.choice(sorted(ERRORS))


LOAD: Mapping[str, Any] = {
    "max_rejected_records": RECORDS,
    "max_request_rows": 2,
    "parallel_requests": 2,
    "checkpoint_interval_seconds": 0.02,
    "summary_path": "summaries",
}


@pytest.mark.parametrize("plugin", TARGETS[:1], ids=str)
@pytest.mark.parametrize("function", ["_log_summary", "_document", "_replace"])
def test_a_run_that_fails_after_delivery_has_a_failed_summary(
    plugin: Plugin, function: str, sandbox: Sandbox, runner: Runner
) -> None:
    config = {**plugin.settings(sandbox), **LOAD}
    run = runner.run("1", config, lines=lines(plugin), at=1, function=function)
    run.check()
    run.check_summary()
    assert run.status == 1
    assert run.out[-1] == {"n": RECORDS}


@pytest.mark.parametrize("plugin", TARGETS[:1], ids=str)
def test_nothing_of_a_run_that_succeeded_can_fail_at_the_end_of_the_process(
    plugin: Plugin, sandbox: Sandbox, runner: Runner
) -> None:
    config = {**plugin.settings(sandbox), **LOAD}
    run = runner.run("1", config, lines=lines(plugin), at=1, function="_close")
    run.check()
    assert run.status == 0


@pytest.mark.parametrize("plugin", TAPS[:1], ids=str)
def test_a_lack_of_memory_is_named(plugin: Plugin, sandbox: Sandbox, runner: Runner) -> None:
    run = runner.run("1", plugin.settings(sandbox), at=1, function="discover_streams")
    run.check()
    assert run.status == 1
    assert b"out of memory" in (run.folder / "log").read_bytes()


@pytest.mark.parametrize("plugin", TARGETS[:1], ids=str)
@pytest.mark.parametrize("function", ["complete", "_send_batches"])
def test_a_thread_that_ends_early_ends_the_run_with_one_line(
    plugin: Plugin, function: str, sandbox: Sandbox, runner: Runner
) -> None:
    config = {**plugin.settings(sandbox), **LOAD, "parallel_requests": 1}
    run = runner.run("1", config, lines=lines(plugin), at=1, function=function)
    run.check()
    assert run.status == 1
    assert run.out == []


@pytest.mark.timeout(600 + 4 * RUNS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("has_ledger", [False, True])
@pytest.mark.parametrize("plugin", TARGETS, ids=str)
def test_a_load_survives_any_exception(  # noqa: PLR0917 - three of them are parameters
    plugin: Plugin, seed: int, has_ledger: bool, sandbox: Sandbox, runner: Runner, tmp_path: Path
) -> None:
    delivered = DELIVERED[plugin.name]
    everything = {f"k{number}" for number in range(1, RECORDS + 1)}
    clean = runner.run("clean", {**plugin.settings(sandbox), **LOAD}, lines=lines(plugin))
    assert clean.status == 0
    assert delivered(sandbox) | clean.reported == everything
    for at, error in injections(seed, clean.calls):
        sandbox.reset()
        config = {**plugin.settings(sandbox), **LOAD}
        if has_ledger:
            config["ledger"] = str(tmp_path / f"{at}.sqlite")
        broken = runner.run(f"{at}", config, lines=lines(plugin), at=at, error=error)
        broken.check()
        broken.check_summary()
        state = max((line["n"] for line in broken.out), default=0)
        covered = {f"k{number}" for number in range(1, state + 1)}
        assert covered <= delivered(sandbox) | broken.reported
        again = runner.run(f"{at}-again", config, lines=lines(plugin, after=state))
        again.check()
        assert again.status == 0
        assert delivered(sandbox) | broken.reported | again.reported == everything


@pytest.mark.timeout(600 + 4 * RUNS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("plugin", TAPS, ids=str)
def test_an_extraction_survives_any_exception(
    plugin: Plugin, seed: int, sandbox: Sandbox, runner: Runner
) -> None:
    config = plugin.settings(sandbox)
    clean = runner.run("clean", config)
    assert clean.status == 0
    everything = records(clean)
    for at, error in injections(seed, clean.calls):
        sandbox.reset()
        config = plugin.settings(sandbox)
        broken = runner.run(f"{at}", config, at=at, error=error)
        broken.check()
        states = [each["value"] for each in broken.out if each["type"] == "STATE"]
        again = runner.run(f"{at}-again", config, state=states[-1] if states else None)
        again.check()
        assert again.status == 0
        assert records(broken) | records(again) == everything


def records(run: Run) -> set[tuple[str, str]]:
    """Return streams and records, without values that differ between executions."""
    rows = [(each["stream"], each["record"]) for each in run.out if each["type"] == "RECORD"]
    return {
        (stream, str(sorted((name, str(row[name])) for name in row if name[0] != "_")))
        for stream, row in rows
    }
