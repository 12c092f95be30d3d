"""A tap and a target in separate processes, with a relay between them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping


@dataclass(frozen=True)
class Kill:
    """A signal for one of the two processes.

    Attributes:
        process: ``tap`` or ``target``.
        signum: The signal.
        after: The number of messages that are relayed before it is sent.
    """

    process: str
    signum: signal.Signals
    after: int


@dataclass(frozen=True)
class Piped:
    """The result of a run.

    Attributes:
        statuses: The exit status of the tap and of the target.
        messages: The messages of the tap that were relayed.
        states: Every STATE that the target wrote.
        log: What both logged.
    """

    statuses: tuple[int, int]
    messages: list[dict[str, Any]]
    states: list[Any]
    log: str


def run_piped(
    folder: Path,
    tap: tuple[str, Mapping[str, Any]],
    target: tuple[str, Mapping[str, Any]],
    *,
    state: Any = None,
    kill: Kill | None = None,
) -> Piped:
    """Run a tap into a target, both given by name and settings, in a folder."""
    arguments = [] if state is None else ["--state", _written(folder / "state.json", state)]
    reader = _start(folder, *tap, *arguments, stdin=subprocess.DEVNULL)
    loader = _start(folder, *target, stdin=subprocess.PIPE)
    processes = {"tap": reader, "target": loader}
    logs: list[bytes] = []
    outputs: list[bytes] = []
    threads = [
        threading.Thread(target=_drain, args=(reader.stderr, logs)),
        threading.Thread(target=_drain, args=(loader.stderr, logs)),
        threading.Thread(target=_drain, args=(loader.stdout, outputs)),
    ]
    for thread in threads:
        thread.start()
    messages: list[dict[str, Any]] = []
    assert reader.stdout is not None
    assert loader.stdin is not None
    with reader.stdout as lines, contextlib.suppress(BrokenPipeError), loader.stdin as given:
        for line in lines:
            if kill is not None and len(messages) == kill.after:
                processes[kill.process].send_signal(kill.signum)
                if kill.process == "target":
                    loader.wait(60)
                kill = None
            given.write(line)
            given.flush()
            messages.append(json.loads(line))
    statuses = (reader.wait(60), loader.wait(60))
    for thread in threads:
        thread.join()
    states = [json.loads(line) for line in b"".join(outputs).splitlines()]
    return Piped(statuses, messages, states, b"".join(logs).decode())


def _start(
    folder: Path, name: str, settings: Mapping[str, Any], *arguments: str, stdin: int
) -> subprocess.Popen[bytes]:
    command = Path(sys.executable).with_name(name)
    config = _written(folder / f"{name}.json", settings)
    return subprocess.Popen(
        [command, "--config", config, *arguments],
        bufsize=0,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=os.environ,
    )


def _written(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def _drain(source: IO[bytes], into: list[bytes]) -> None:
    with source:
        into.extend(source)
