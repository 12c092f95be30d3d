"""Threads whose start fails, instead of never ending, where memory is short."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from singer_martech._compat import override

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_START_SECONDS = 3.0


class Thread(threading.Thread):
    """A daemon thread.

    Python waits in ``start`` until the new thread has set an event. A thread without memory for
    that ends before, and Python would wait forever.
    """

    def __init__(self, target: Callable[..., object], *arguments: Any, name: str) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)
        self._started = SingleEvent()
        self._claim = threading.Lock()

    @override
    def start(self) -> None:
        """Start.

        Raises:
            RuntimeError: The thread cannot be started, and does nothing.
            MemoryError: Likewise.
        """
        failure: Exception = RuntimeError("a new thread ended at once, or was not given any time")
        try:
            super().start()
            if self._started.is_set():
                return
        except (MemoryError, RuntimeError) as error:
            failure = error
        # Otherwise the thread has begun, and whoever starts it must not do its work, too.
        if self._claim.acquire(blocking=False):
            raise failure

    @override
    def run(self) -> None:
        if self._claim.acquire(blocking=False):  # otherwise start has failed already
            # Whoever waits notices that the thread has ended. Python's own handler for an error
            # that ends a thread may loop forever without memory (CPython issue 132508).
            with contextlib.suppress(MemoryError):
                super().run()


class SingleEvent:
    """What Python's threads need of an event; it is set once.

    A thread without memory may keep the lock inside :class:`threading.Event` as it ends, and
    whoever waits would wait for it forever. The same holds for every class of Python that uses
    :class:`threading.Condition`, such as `concurrent.futures.Future` and `threading.Semaphore`.
    """

    def __init__(self) -> None:
        """Create an event that is not set."""
        self._is_set = False
        self._unset = threading.Lock()
        self._unset.acquire()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True
        self._unset.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to ``timeout`` seconds, or 3, until it is set; return whether it is."""
        if self._unset.acquire(timeout=_MAX_START_SECONDS if timeout is None else timeout):
            self._unset.release()
        return self._is_set

    def _at_fork_reinit(self) -> None:
        """Python calls it in a fork; this event is as usable there as before."""
