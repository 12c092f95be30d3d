"""Runs of a plugin's command in forks of one process, which has loaded its modules already.

``python -m tests.chaos.fork_server MODULE:CLASS DESCRIPTOR`` receives jobs from a `ForkServer`.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_martech.runtime import startup
from tests.chaos.injector import ERRORS, Injection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.robustness.plugins import Plugin

_MOST_BYTES = 64 * 1024
_PAGE = resource.getpagesize()


class ForkServer:
    """Runs one command at a time.

    Args:
        plugin: The plugin whose command to run.
        environment: Further variables of the environment of all runs.
    """

    def __init__(self, plugin: Plugin, environment: Mapping[str, str] | None = None) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        name = f"{plugin.plugin.__module__}.{plugin.plugin.__name__}"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.fork_server", name, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **(environment or {})},
            )

    def start(self, descriptors: Sequence[int], job: Mapping[str, Any]) -> None:
        """Start the command with three standard streams.

        Args:
            descriptors: Standard input, output and error.
            job: ``folder`` and ``arguments``; as needed ``environment``, ``limits`` (by the number
                of the resource), ``memory`` (bytes beyond those in use), ``stack`` (bytes of a
                thread's stack), ``error`` with ``at`` and ``function`` (see `Injection`).
        """
        socket.send_fds(self._socket, [json.dumps(job).encode()], descriptors)

    def send_signal(self, signum: int) -> None:
        """Send a signal; it is ignored when the command has ended.

        At SIGABRT, the command writes the stacks of all threads and ends.
        """
        self._socket.send(b"%d" % signum)

    def wait(self) -> tuple[int, float]:
        """Wait for the end of the command; return its status and the seconds of CPU it used.

        The status is as that of `subprocess`.
        """
        status, seconds = self._socket.recv(_MOST_BYTES).split()
        return int(status), float(seconds)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()


def _serve(name: str, jobs: socket.socket) -> None:
    module, _, _ = name.rpartition(".")
    importlib.import_module(module)
    while True:
        message, descriptors, _, _ = socket.recv_fds(jobs, _MOST_BYTES, 3)
        if not message:
            return
        if not descriptors:
            continue  # a signal for a command that has ended
        running, end = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(running)
            jobs.close()
            _run(name, json.loads(message), descriptors)
            return
        for descriptor in (end, *descriptors):
            os.close(descriptor)
        jobs.send(b"%d %f" % _wait(process, running, jobs))
        os.close(running)


def _wait(process: int, running: int, jobs: socket.socket) -> tuple[int, float]:
    """Pass on signals until the process ends and so closes its end of a pipe."""
    while True:
        ready, _, _ = select.select([running, jobs.fileno()], [], [])
        if running in ready:
            _, status, usage = os.wait4(process, 0)
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        signum = int(jobs.recv(_MOST_BYTES) or signal.SIGKILL)
        # Linux prefers the thread of that id; its stack is the current one in the log
        os.kill(_busiest_thread(process) if signum == signal.SIGABRT else process, signum)


def _busiest_thread(process: int) -> int:
    """Return the id of the thread that has used the most CPU time."""

    def ticks(task: Path) -> int:
        fields = (task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # in user and in system mode

    return int(max(Path(f"/proc/{process}/task").iterdir(), key=ticks).name)


def _run(name: str, job: dict[str, Any], descriptors: Sequence[int]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    faulthandler.enable(file=2)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(job["folder"])
    os.environ.update(job.get("environment", {}))
    tempfile.tempdir = None  # chosen again, from the environment
    threading.stack_size(job.get("stack", 0))
    if "error" in job:
        _inject(Injection(job["at"], ERRORS[job["error"]], job.get("function")))
    for limit, most in job.get("limits", {}).items():
        resource.setrlimit(int(limit), (most, most))
    if "memory" in job:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * _PAGE + job["memory"],) * 2)
    sys.argv = [name, *job["arguments"]]
    startup.start(name)


def _inject(injection: Injection) -> None:
    threading._register_atexit(  # type: ignore[attr-defined] # noqa: SLF001 - before any other
        lambda: Path("calls").write_text(str(injection.calls), encoding="utf-8")
    )
    injection.start()


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
