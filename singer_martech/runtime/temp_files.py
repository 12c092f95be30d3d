"""Temporary files that nobody else can read and that a killed process cannot leave."""

from __future__ import annotations

import errno
import tempfile
from typing import IO

from singer_martech.errors import MartechError


class DiskFull(MartechError):
    """There is no room for a temporary file."""


def open_temp_file() -> IO[bytes]:
    """Open a temporary file for reading and writing.

    It has no name from the start, so it is gone when it is closed or when the process
    ends in any way, and only this process can read it. It lies in the folder that
    ``TMPDIR`` names.

    Raises:
        MartechError: There is no such folder, or it takes no files.
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
