"""The rule that makes a target safe: no STATE before the records that precede it."""

from __future__ import annotations

import time
from collections import deque

from singer_martech.singer.writer import write_output

_MAX_BYTES = 32 * 1024 * 1024
"""So many bytes of STATE are kept, however many records wait; then some are passed over."""


class Checkpoints:
    """The STATE messages received, and which of them may be passed on.

    A STATE may go out when no record before it is still under way. The oldest record
    under way decides, so a stream that has nothing to send holds nobody back.

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
        """Keep a STATE that came after the record at place ``sequence``."""
        if self._pending and self._pending[-1][0] == sequence:
            self._bytes -= len(self._pending.pop()[1])
        self._pending.append((sequence, state))
        self._bytes += len(state)
        if self._bytes > _MAX_BYTES:
            # every second one will do; the newest always stays
            self._pending = deque(list(self._pending)[-1::-2][::-1])
            self._bytes = sum(len(each) for _, each in self._pending)

    def is_due(self, oldest_open: int | None) -> bool:
        """Whether a STATE has been proven, and the last was written long enough ago."""
        if not self._pending or time.monotonic() - self._written_at < self._pause:
            return False
        return oldest_open is None or self._pending[0][0] < oldest_open

    def write(self, oldest_open: int | None) -> None:
        """Write the newest proven STATE to standard output.

        Args:
            oldest_open: The smallest place in the input whose record is under way, or
                None when all are settled.
        """
        newest: bytes | None = None
        while self._pending and (oldest_open is None or self._pending[0][0] < oldest_open):
            newest = self._pending.popleft()[1]
            self._bytes -= len(newest)
        if newest is None or newest == self._written or self._silent:
            return
        write_output(newest + b"\n")
        self._written = newest
        self._written_at = time.monotonic()
