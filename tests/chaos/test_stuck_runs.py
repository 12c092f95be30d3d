"""What the chaos runs do about a run that does not end."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from singer_martech.runtime import shutdown
from tests.chaos import runs
from tests.chaos.conditions import Conditions
from tests.chaos.fork_server import ForkServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin


class Looping:
    """A command whose main thread waits while another one loops."""

    @staticmethod
    def cli() -> None:
        threading.Thread(target=_loop, daemon=True).start()
        threading.Event().wait()


def _loop() -> None:
    used = 0.0
    while True:
        before, used = used, time.thread_time()
        if before < 0.2 <= used:
            os.write(1, b"looping\n")


def _stack(tmp_path: Path) -> tuple[int, str]:
    """Return the status and the log of a looping command that SIGABRT ended."""
    server = ForkServer(cast("Plugin", SimpleNamespace(plugin=Looping)))
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        server.start([nothing.fileno(), stdout, stderr], {"folder": str(tmp_path), "arguments": []})
    for each in (stdout, stderr):
        os.close(each)
    with os.fdopen(out, "rb") as lines, os.fdopen(err, encoding="utf-8") as log:
        assert lines.readline() == b"looping\n"
        server.send_signal(signal.SIGABRT)
        text = log.read()
    status, _ = server.wait()
    server.close()
    return status, text


def test_a_stuck_run_tells_where_its_busiest_thread_is(tmp_path: Path) -> None:
    status, log = _stack(tmp_path)
    assert status == -signal.SIGABRT
    found = runs.LOOPING.search(log)
    assert found is not None, log
    assert found[1] == __file__


@pytest.mark.parametrize(
    ("path", "limits", "changes", "is_tolerated"),
    [
        ("/usr/lib/python3/threading.py", {"memory": 1}, {}, True),
        (shutdown.__file__, {"memory": 1}, {}, False),
        ("/usr/lib/python3/threading.py", {}, {}, False),
        ("/usr/lib/python3/threading.py", {"memory": 1}, {"is_stuck": False}, False),
        ("/usr/lib/python3/threading.py", {"memory": 1}, {"cpu_seconds": 9.0}, False),
    ],
)
def test_only_a_loop_of_others_without_memory_is_tolerated(
    path: str, limits: dict[str, Any], changes: dict[str, Any], is_tolerated: bool
) -> None:
    log = (
        "Fatal Python error: Aborted\n\n"
        f'Thread 0x01 (most recent call first):\n  File "{shutdown.__file__}", line 9 in wait\n\n'
        f'Current thread 0x02 (most recent call first):\n  File "{path}", line 9 in run\n'
    )
    ended = dataclasses.replace(runs.Ended(-signal.SIGABRT, log, 500.0, is_stuck=True), **changes)
    conditions = Conditions("little memory", limits)
    assert ended.is_endless_loop(conditions) == is_tolerated
