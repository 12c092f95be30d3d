"""Temporary files that only this process can read, and that vanish with it."""

from __future__ import annotations

import errno
import tempfile
from typing import IO

from singer_martech.errors import MartechError


class DiskFull(MartechError):
    """The disk has no room for a temporary file."""


def open_temp_file() -> IO[bytes]:
    """Open a temporary file for reading and writing.

    The file has no name: only this process can read it, and it is gone once it is closed or
    the process ends. It is in the folder that ``TMPDIR`` names.

    Raises:
        MartechError: The folder does not exist or is not writable.
    """
    try:
        return tempfile.TemporaryFile(prefix="singer-martech-")
    except OSError as error:
        raise MartechError(
            f"no temporary file can be made ({error.strerror}): point TMPDIR to a folder that "
            "can be written"
        ) from error


def raise_if_disk_full(error: OSError, label: str) -> None:
    """Turn "no space left" into a line with a remedy; leave other errors alone.

    Raises:
        DiskFull: The error means that the disk, or the user's share of it, is full.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        message = (
            f"no room for {label} in {tempfile.gettempdir()}: free some space there or "
            "point TMPDIR to a larger disk"
        )
        raise DiskFull(message) from error
