"""Read the input ahead, so that the program that writes it does not have to wait.

A pipe buffers only some hundred lines. Without reading ahead, the two programs would work in
turns instead of in parallel.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from typing import IO, TYPE_CHECKING

from singer_martech.runtime.background import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_PIECE_BYTES = 128 * 1024
_MAX_PIECES = 32
_BLOCK_BYTES = 256 * 1024


def discard_input(file: IO[str] | None, seconds: float) -> None:
    """Read a pipe or a socket to its end, but no longer than some seconds."""
    if file is None:
        return
    with contextlib.suppress(OSError, ValueError):  # it is closed, or no file of the system
        descriptor = file.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            _discard(descriptor, seconds)


def _discard(descriptor: int, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        if not ready or not os.read(descriptor, _PIECE_BYTES):
            return


class StdinReader:
    """A context manager that reads a file descriptor in a thread."""

    def __init__(self, descriptor: int) -> None:
        self._ahead = ReadAhead(_pieces(descriptor), _MAX_PIECES, "input")

    def __enter__(self) -> Self:
        """Start reading.

        Raises:
            ThreadUnavailable: No thread can be started.
        """
        self._ahead.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading; a block for which the thread waits is lost."""
        self._ahead.close()

    def block(self, seconds: float) -> bytes | None:
        """Return the next block of input.

        Args:
            seconds: Maximum time to wait.

        Returns:
            An empty block at the end of the input; None on a timeout or if ``wake`` was called.

        Raises:
            BaseException: The input cannot be read.
        """
        pieces: list[bytes] = []
        size = 0
        while size < _BLOCK_BYTES:
            piece = self._ahead.get(seconds, block=not pieces)
            if piece is None:
                break
            pieces.append(piece)
            size += len(piece)
        if pieces:
            return b"".join(pieces)
        if self._ahead.has_ended:
            self._ahead.raise_error()
            return b""
        return None

    def wake(self) -> None:
        """End a wait in ``block``; safe in a signal handler."""
        self._ahead.wake()


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := _read(descriptor):
        yield piece


def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, _PIECE_BYTES)
        except BlockingIOError:  # the descriptor was opened as non-blocking and may be shared
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
