"""Run a plugin's command in forks of one process, each with an exception at one of its calls.

``python -m tests.chaos.injector MODULE:CLASS`` reads jobs as JSON lines from standard input and
prints the exit status of each run, or null if it did not end.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import singer_martech

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error
    for error in (
        BaseException,
        KeyError,
        MemoryError,
        OSError,
        RecursionError,
        RuntimeError,
        StopIteration,
    )
}
ROOT = Path(singer_martech.__file__).parents[1]
FIRST = frozenset({"process_lines", "discover_streams"})
"""Calls are counted from the first of these on; settings are read by then."""
SKIPPED = frozenset({"__exit__"})
"""Releasing a lock in the interpreter cannot fail."""
MOST_SECONDS = 60


class Injection:
    """Raises an error at a call that the plugin's code makes or receives, in any thread.

    Args:
        at: The number of the call; None for no error.
        error: The error.
        function: Count only calls of and by functions of this name.
    """

    def __init__(
        self, at: int | None, error: type[BaseException], function: str | None = None
    ) -> None:
        self.calls = 0
        self._at = at
        self._error = error
        self._function = function
        self._is_counting = False
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if event not in {"call", "c_call"} or not _is_own(code.co_filename):
            return
        if getattr(called, "__name__", None) in SKIPPED:
            return
        self._is_counting = self._is_counting or code.co_name in FIRST
        if not self._is_counting or self._function not in {None, code.co_name}:
            return
        with self._lock:
            self.calls += 1
            is_due = self.calls == self._at
        if is_due:
            name = getattr(called, "__qualname__", "")
            where = f"{code.co_filename}:{frame.f_lineno} in {code.co_name} {name}"
            Path("where").write_text(where, encoding="utf-8")
            raise self._error("injected")


def _is_own(path: str) -> bool:
    if not path.startswith(str(ROOT)):
        return False
    package = path[len(str(ROOT)) + 1 :].partition("/")[0]
    return package.startswith(("singer_martech", "tap_", "target_"))


def _run(job: dict[str, Any], command: Callable[[list[str]], object]) -> None:
    """Run the command in the job's folder; this process ends with it."""
    os.chdir(job["folder"])
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, flags) in enumerate((("input", os.O_RDONLY), ("out", new), ("log", new))):
        os.dup2(os.open(name, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    injection = Injection(job["at"], ERRORS[job["error"]], job["function"])
    threading._register_atexit(  # type: ignore[attr-defined] # noqa: SLF001 - before any other
        lambda: Path("calls").write_text(str(injection.calls), encoding="utf-8")
    )
    injection.start()
    command(job["arguments"])


def _wait(process: int) -> int | None:
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def main() -> None:
    """Run jobs until the input ends."""
    module, _, name = sys.argv[1].partition(":")
    command = getattr(importlib.import_module(module), name).cli.main
    jobs = os.fdopen(os.dup(0))
    for line in jobs:
        process = os.fork()
        if process == 0:
            _run(json.loads(line), command)
        sys.stdout.write(f"{json.dumps(_wait(process))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
