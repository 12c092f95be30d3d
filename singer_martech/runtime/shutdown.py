"""Request the end of a run: waits end at once, work ends at a safe point."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING

from singer_martech.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


GRACE_SECONDS = 20.0
"""How long requests in flight may take after a signal."""

EXIT_SECONDS = GRACE_SECONDS + 5
"""How long after a signal a run that is blocked exits without cleanup."""

_MAX_WAIT_SECONDS = 1_000_000.0
"""Some eleven days; poll() counts milliseconds in 31 bits."""


class ShutdownSignal:
    """A request to end the run, which every thread sees.

    The signal handler only records the request: an exception raised from a handler
    could cut a message in the middle of a line, and a lock taken there could be one that
    the interrupted thread holds. So waits watch a pipe.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.requested_at = float("inf")
        self._exit_seconds = EXIT_SECONDS
        self._pipe, self._signal_pipe = os.pipe()
        closing = weakref.finalize(self, _close, self._pipe, self._signal_pipe)
        closing.atexit = False  # the end of the process closes them
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """Whether the end of the run was requested."""
        return self.signum is not None

    def request(self, signum: int = signal.SIGTERM) -> None:
        """Request the end of the run because of the signal ``signum``."""
        is_first = not self.is_set
        self.signum = signum  # before the waits end: they read it
        if is_first:
            self.requested_at = time.monotonic()
            os.write(self._signal_pipe, b"\0")  # never read, so that every wait sees it
        for callback in self._callbacks:
            callback()

    def seconds_left(self, grace_seconds: float) -> float:
        """Return how much of ``grace_seconds`` after the request is left."""
        return max(0.0, min(grace_seconds, self.requested_at + grace_seconds - time.monotonic()))

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the request comes; it must be safe in a signal handler."""
        self._callbacks.append(callback)

    def check(self) -> None:
        """Raise if the end of the run was requested.

        Raises:
            Stopped: The run was asked to end.
        """
        if self.signum is not None:
            raise Stopped(self.signum)

    def wait(self, seconds: float) -> None:
        """Wait for ``seconds``.

        Raises:
            Stopped: As soon as the run is asked to end.
        """
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.poll(min(max(seconds, 0), _MAX_WAIT_SECONDS) * 1000)
        self.check()

    def install(self, exit_seconds: float = EXIT_SECONDS) -> None:
        """Handle SIGTERM and SIGINT: the first requests the end, the second exits at once.

        Args:
            exit_seconds: When to exit if the run has not ended by then.
        """
        self._exit_seconds = exit_seconds
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handle)
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self.is_set:
            os._exit(128 + signum)
        _exit_after(self._exit_seconds, 128 + signum)
        self.request(signum)


def _exit_after(seconds: float, status: int) -> None:
    """Exit also from a blocking write, which Python continues after the handler of a signal."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(status))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
