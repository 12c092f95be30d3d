"""Temporary files that only this process can read, and that disappear with it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
import weakref
from typing import IO, NoReturn

from singer_martech._compat import override
from singer_martech.errors import MartechError

FILE_LIMIT_ERRORS = frozenset({errno.EMFILE, errno.ENFILE})
RAISE_FILE_LIMIT = "raise the limit of open files (ulimit -n)"

_MAX_BYTES_IN_MEMORY = 32 * 1024


class DiskFull(MartechError):
    """The disk has no room for a temporary file."""


class _TempFile(io.BufferedRandom):
    @override
    def close(self) -> None:
        # The data is lost with the file. On a full disk, writing what is buffered would fail and
        # hide the error that says so.
        with contextlib.suppress(OSError):
            super().close()


def open_temp_file() -> IO[bytes]:
    """Open a temporary file for reading and writing.

    The file has no name: only this process can read it, and it is gone once it is closed or
    the process ends. It is in the folder that ``TMPDIR`` names.

    Raises:
        MartechError: The folder does not exist or is not writable, or too many files are open.
    """
    try:
        return _TempFile(tempfile.TemporaryFile(prefix="singer-martech-", buffering=0))
    except OSError as error:
        is_limit = error.errno in FILE_LIMIT_ERRORS
        remedy = RAISE_FILE_LIMIT if is_limit else "point TMPDIR to a folder that can be written"
        raise MartechError(
            f"no temporary file can be created ({error.strerror}): {remedy}"
        ) from error


class SpoolFile:
    """Bytes that are kept in memory, and in a temporary file once they are many."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._error: OSError | MartechError | None = None

    @property
    def is_on_disk(self) -> bool:
        """Whether a temporary file is open."""
        return self._file is not None

    @property
    def bytes_in_memory(self) -> int:
        """The size of what is kept in memory."""
        return len(self._memory)

    def write(self, block: bytes) -> None:
        """Append a block.

        Raises:
            DiskFull: There is no room for it.
            MartechError: No temporary file can be created.
        """
        if self._file is None:
            self._memory += block
            if len(self._memory) > _MAX_BYTES_IN_MEMORY:
                self._move_to_disk()
            return
        try:
            self._file.write(block)
        except OSError as error:
            self._fail(error)

    def _move_to_disk(self) -> None:
        try:
            self._file = open_temp_file()
            weakref.finalize(self, self._file.close).atexit = False
            self._file.write(self._memory)
        except (OSError, MartechError) as error:
            self._fail(error)
        self._memory = bytearray()

    def _fail(self, error: OSError | MartechError) -> NoReturn:
        """Raise an error, now and at each later read, since a part is missing."""
        self._error = error
        if isinstance(error, OSError):
            raise_if_disk_full(error, self._label)
        raise error

    def flush(self) -> None:
        """Make everything written readable.

        Raises:
            DiskFull: There is no room for it.
        """
        if self._error is not None:
            self._fail(self._error)
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def read(self, start: int, end: int) -> bytes:
        """Return the flushed bytes from one position to another; any thread may call it."""
        if self._file is None:
            return bytes(self._memory[start:end])
        # pread, because a worker may be sending the file
        return os.pread(self._file.fileno(), end - start, start)

    def open(self) -> IO[bytes]:
        """Return a file with everything written, positioned at its start; then write no more."""
        self.flush()
        if self._file is None:
            return io.BytesIO(self._memory)
        self._file.seek(0)
        return self._file


def raise_if_disk_full(error: OSError, label: str) -> None:
    """Raise "no space left" as an error with a remedy; ignore other errors.

    Raises:
        DiskFull: The error means that the disk, or the user's share of it, is full.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        raise DiskFull(
            f"no room for {label} in {tempfile.gettempdir()}: free some space there or "
            "point TMPDIR to a larger disk"
        ) from error
