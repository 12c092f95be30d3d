"""Decide which STATE may be written: the newest one whose records are all settled."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from singer_martech.singer.writer import write_output

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BYTES = 32 * 1024 * 1024
"""Memory limit for pending STATE messages; beyond it some are dropped."""


class Checkpoints:
    """The pending STATE messages.

    A STATE may be written when every record before it is settled. Only the oldest unsettled
    record matters, so an idle stream delays nothing.

    Args:
        interval_seconds: Time between two STATE messages; at most one second.
        silent: Write nothing (a dry run delivers nothing).
    """

    def __init__(self, interval_seconds: float, *, silent: bool = False) -> None:
        self._pause = min(1.0, interval_seconds)
        self._silent = silent
        self._pending: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._when_settled: deque[tuple[int, Callable[[], None]]] = deque()
        self._written: bytes | None = None
        self._written_at = float("-inf")

    def __len__(self) -> int:
        """The number of pending STATE messages."""
        return len(self._pending)

    def add(self, sequence: int, state: bytes) -> None:
        """Add a STATE that follows the record of this sequence.

        Beyond the memory limit, it replaces the newest pending STATE. The oldest ones are kept,
        since they are written next.
        """
        pending = self._pending
        replaces_last = pending and pending[-1][0] == sequence
        if replaces_last or (len(pending) > 1 and self._bytes + len(state) > _MAX_BYTES):
            self._bytes -= len(pending.pop()[1])
        pending.append((sequence, state))
        self._bytes += len(state)

    def when_settled(self, sequence: int, action: Callable[[], None]) -> None:
        """Do something once every record up to this sequence is settled, except in a dry run."""
        if not self._silent:
            self._when_settled.append((sequence, action))

    @property
    def may_be_due(self) -> bool:
        """Whether a STATE is pending and the interval since the last one has passed."""
        return bool(self._pending) and time.monotonic() - self._written_at >= self._pause

    def is_due(self, first_unsettled: int | None) -> bool:
        """Whether a STATE may be written and the interval since the last one has passed."""
        return self.may_be_due and (
            first_unsettled is None or self._pending[0][0] < first_unsettled
        )

    def write(self, first_unsettled: int | None) -> None:
        """Write the newest STATE that may be written to standard output, then do what waited."""
        newest: bytes | None = None
        while self._pending and (first_unsettled is None or self._pending[0][0] < first_unsettled):
            newest = self._pending.popleft()[1]
            self._bytes -= len(newest)
        if newest is not None and newest != self._written and not self._silent:
            write_output(newest + b"\n")
            self._written = newest
            self._written_at = time.monotonic()
        actions = self._when_settled
        while actions and (first_unsettled is None or actions[0][0] < first_unsettled):
            actions.popleft()[1]()
