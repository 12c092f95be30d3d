"""A tap and a target with BATCH files between them lose nothing and load nothing twice."""

from __future__ import annotations

import signal
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.piped import Kill, run_piped
from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.piped import Piped
    from tests.sandbox.server import Sandbox

_DAYS, _PER_DAY = 3, 4
_ALL = {f"u{number}" for number in range(_DAYS * _PER_DAY)}
_BATCHES: dict[str, Any] = {
    "encoding": {"format": "jsonl", "compression": "gzip"},
    "storage": {"root": "batches"},
}


class Pipeline:
    """tap-robotmia into target-mona, both with ``batch_config``."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.batches: dict[str, Any] = {**_BATCHES}
        sandbox.robotmia.set_events(numbered(_DAYS * _PER_DAY, _PER_DAY))

    def run(self, *, state: Any = None, kill: Kill | None = None, **settings: Any) -> Piped:
        tap = {
            **self.sandbox.robotmia.credentials(),
            "start_date": day(0),
            "end_date": day(_DAYS - 1),
            "lookback_days": 0,
            "batch_config": self.batches,
        }
        target = {
            **self.sandbox.mona.credentials(),
            "checkpoint_interval_seconds": 0.01,
            "batch_config": self.batches,
        }
        return run_piped(
            self.folder,
            ("tap-robotmia", {**tap, **settings}),
            ("target-mona", target),
            state=state,
            kill=kill,
        )

    @property
    def loaded(self) -> Counter[str]:
        """How often Mona accepted each event."""
        return Counter(each["message"]["distinct_id"] for each in self.sandbox.mona.messages())

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that Mona accepted, by event; parallel requests arrive in any order."""
        accepted = [each["message"] for each in self.sandbox.mona.messages()]
        return sorted(accepted, key=lambda message: str(message["event_id"]))

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "batches").glob("*"))


@pytest.fixture
def pipeline(sandbox: Sandbox, tmp_path: Path) -> Pipeline:
    return Pipeline(sandbox, tmp_path)


def position(state: Any) -> str:
    bookmark = state["bookmarks"].get("events", {})
    return str(bookmark.get("replication_key_value", ""))


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_target_loads_the_same_from_batch_files_as_from_the_pipe(
    pipeline: Pipeline, compression: str
) -> None:
    plain = pipeline.run(batch_config=None)
    expected = pipeline.messages
    pipeline.batches["encoding"] = {"format": "jsonl", "compression": compression}
    run = pipeline.run()
    assert run.statuses == (0, 0), run.log
    kinds = [message["type"] for message in run.messages]
    assert kinds.count("BATCH") == _DAYS
    assert "RECORD" not in kinds
    assert len(expected) == len(_ALL)
    assert pipeline.messages[::2] == pipeline.messages[1::2] == expected
    assert position(run.states[-1]) == position(plain.states[-1]) != ""
    assert pipeline.files == []
    assert stat.S_IMODE((pipeline.folder / "batches").stat().st_mode) == 0o700


_MESSAGES = range(1, 2 * _DAYS + 2)
"""SCHEMA, then BATCH and STATE for each day."""


@pytest.mark.parametrize("process", ["tap", "target"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("after", _MESSAGES)
def test_a_kill_at_any_message_loses_nothing_and_the_next_run_loads_nothing_twice(
    pipeline: Pipeline, process: str, signum: signal.Signals, after: int
) -> None:
    killed = pipeline.run(kill=Kill(process, signum, after))
    state = killed.states[-1] if killed.states else None
    first = pipeline.loaded
    assert max(first.values(), default=1) == 1
    done = 0 if state is None or not position(state) else int(position(state)[8:10]) - 1
    assert {f"u{number}" for number in range(done * _PER_DAY)} <= set(first)

    resumed = pipeline.run(state=state)
    assert resumed.statuses == (0, 0), resumed.log
    assert set(pipeline.loaded) == _ALL
    again = {event for event, times in pipeline.loaded.items() if times > 1}
    assert again <= {f"u{number}" for number in range(done * _PER_DAY, len(_ALL))} & set(first)
    assert pipeline.loaded.total() - first.total() == len(_ALL) - done * _PER_DAY


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_tap_killed_within_a_window_leaves_no_state_beyond_missing_records(
    pipeline: Pipeline, sandbox: Sandbox, signum: signal.Signals
) -> None:
    count = 1000  # the messages of so many files do not fit into a pipe
    sandbox.robotmia.set_events(numbered(count, count))
    pipeline.batches["batch_size"] = 1
    killed = pipeline.run(kill=Kill("tap", signum, 20))
    announced = sum(message["type"] == "BATCH" for message in killed.messages)
    assert 20 <= announced <= count
    assert killed.statuses[0] in {-signum, 128 + signum}
    has_passed = any(position(state) for state in killed.states)
    assert len(pipeline.loaded) == count or not has_passed
    pipeline.batches.pop("batch_size")
    resumed = pipeline.run(state=killed.states[-1] if killed.states else None)
    assert resumed.statuses == (0, 0), resumed.log
    assert len(pipeline.loaded) == count
