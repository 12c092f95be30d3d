"""An input that is read ahead, so that the program that writes it need not wait for ours.

What stands between two programs holds some hundred lines. Were it emptied only when those are
worked off, the two would take turns instead of working at the same time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK_BYTES = 128 * 1024
_MAX_PIECES = 32
_BLOCK_BYTES = 1024 * 1024


class StdinReader:
    """Reads in a thread.

    Args:
        descriptor: Of a file, a pipe or a socket.
    """

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet."""
        self._descriptor = descriptor
        self._pieces: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_MAX_PIECES)
        self._end: bytes | BaseException | None = None
        self._is_wanted = True

    def __enter__(self) -> Self:
        """Begin to read."""
        # a daemon: a program that stays silent must not hold up the end of a failed run
        threading.Thread(target=self._run, name="input", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read no more; one piece that was waited for may still be taken, and is lost."""
        self._is_wanted = False
        self._room.release()

    def block(self, seconds: float) -> bytes | None:
        """Return what has come, or wait for it.

        Args:
            seconds: How long to wait.

        Returns:
            An empty block at the end of the input; None when nothing has come in time, or
            when the wait was ended.

        Raises:
            BaseException: It cannot be read.
        """
        pieces: list[bytes] = []
        size = 0
        with contextlib.suppress(queue.Empty):
            while self._end is None and size < _BLOCK_BYTES:
                piece = self._pieces.get(block=not pieces, timeout=seconds)
                if piece is None:
                    break
                if isinstance(piece, BaseException) or not piece:
                    self._end = piece
                    break
                self._room.release()
                pieces.append(piece)
                size += len(piece)
        if pieces:
            return b"".join(pieces)
        if isinstance(self._end, BaseException):
            raise self._end
        return self._end

    def wake(self) -> None:
        """End a wait; called by other threads, and when a signal comes."""
        self._pieces.put(None)

    def _run(self) -> None:
        piece: bytes | BaseException = b"?"
        while piece and not isinstance(piece, BaseException):
            self._room.acquire()
            if not self._is_wanted:
                return
            try:
                piece = self._read()
            except BaseException as error:  # noqa: BLE001 - raised again by whoever reads
                piece = error
            self._pieces.put(piece)

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK_BYTES)
            except BlockingIOError:  # whoever opened it chose so, and may share it
                change = select.poll()
                change.register(self._descriptor, select.POLLIN)
                change.poll()
