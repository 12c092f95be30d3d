"""Which STATE may go out: the newest one whose records are all settled."""

from __future__ import annotations

import time
from collections import deque

from singer_martech.singer.writer import write_output

_MAX_BYTES = 32 * 1024 * 1024
"""STATE messages that wait take at most this much memory; beyond it some are dropped."""


class Checkpoints:
    """The STATE messages received, and which of them may be passed on.

    A STATE may go out when no record before it is unsettled. The oldest unsettled record
    decides, so an idle stream holds back nothing.

    Args:
        interval_seconds: STATE is written no more often than this, or once a second.
        silent: Write nothing (a dry run delivers nothing).
    """

    def __init__(self, interval_seconds: float, *, silent: bool = False) -> None:
        """Begin without a STATE."""
        self._pause = min(1.0, interval_seconds)
        self._silent = silent
        self._pending: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._written: bytes | None = None
        self._written_at = float("-inf")

    def __len__(self) -> int:
        """How many STATE messages wait."""
        return len(self._pending)

    def add(self, sequence: int, state: bytes) -> None:
        """Keep a STATE that came after the record of this sequence.

        Beyond the memory limit, the newest STATE replaces the one before it. The oldest ones
        stay, since they are the next to go out.
        """
        pending = self._pending
        replaces_last = pending and pending[-1][0] == sequence
        if replaces_last or (len(pending) > 1 and self._bytes + len(state) > _MAX_BYTES):
            self._bytes -= len(pending.pop()[1])
        pending.append((sequence, state))
        self._bytes += len(state)

    @property
    def may_be_due(self) -> bool:
        """Whether a STATE waits, and the last was written long enough ago."""
        return bool(self._pending) and time.monotonic() - self._written_at >= self._pause

    def is_due(self, first_unsettled: int | None) -> bool:
        """Whether a STATE may go out and the last was written long enough ago."""
        return self.may_be_due and (
            first_unsettled is None or self._pending[0][0] < first_unsettled
        )

    def write(self, first_unsettled: int | None) -> None:
        """Write the newest STATE that may go out to standard output.

        Args:
            first_unsettled: The smallest sequence of an unsettled record, or None when all
                are settled.
        """
        newest: bytes | None = None
        while self._pending and (first_unsettled is None or self._pending[0][0] < first_unsettled):
            newest = self._pending.popleft()[1]
            self._bytes -= len(newest)
        if newest is None or newest == self._written or self._silent:
            return
        write_output(newest + b"\n")
        self._written = newest
        self._written_at = time.monotonic()
