"""The input, read ahead so that the program that writes it need not wait for this one.

A pipe holds some hundred lines. If it were emptied only between two of them, both programs
would take turns instead of working at the same time.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from singer_martech.runtime.background import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_PIECE_BYTES = 128 * 1024
_MAX_PIECES = 32
_BLOCK_BYTES = 1024 * 1024


class StdinReader:
    """Reads a file descriptor in a thread; a context manager.

    Args:
        descriptor: Of a file, a pipe or a socket.
    """

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet."""
        self._ahead = ReadAhead(_pieces(descriptor), _MAX_PIECES, "input")

    def __enter__(self) -> Self:
        """Start to read.

        Raises:
            ThreadUnavailable: No thread can be started.
        """
        self._ahead.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to read; a piece that the thread is waiting for is lost."""
        self._ahead.close()

    def block(self, seconds: float) -> bytes | None:
        """Return what has come, or wait for it.

        Args:
            seconds: How long to wait.

        Returns:
            An empty block at the end of the input; None if nothing came in time, or if
            ``wake`` was called.

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
        except BlockingIOError:  # whoever opened the descriptor chose so, and may share it
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
