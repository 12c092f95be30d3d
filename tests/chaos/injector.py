"""An exception at one call of a plugin's code."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import singer_martech

if TYPE_CHECKING:
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
        if event not in {"call", "c_call"} or not is_own(code.co_filename):
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


def is_own(path: str) -> bool:
    """Return whether a source file belongs to the plugins."""
    if not path.startswith(str(ROOT)):
        return False
    package = path[len(str(ROOT)) + 1 :].partition("/")[0]
    return package.startswith(("singer_martech", "tap_", "target_"))


_CLOSED_GENERATOR = re.compile(
    r"Exception ignored in: <generator[^\n]*(?:\nTraceback[^\n]*(?:\n  [^\n]*)*\n[^\n]*)?"
)


def without_closed_generators(log: str) -> str:
    """Return a log without what Python prints if an error is raised as it closes a generator."""
    return _CLOSED_GENERATOR.sub("", log)
