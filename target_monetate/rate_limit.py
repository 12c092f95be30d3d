"""One request a second, across all processes of a user."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from singer_martech.runtime.shutdown import ShutdownSignal

_NAME = "target-monetate-record"
_OWNER_ONLY_FOLDER, _OWNER_ONLY_FILE = 0o700, 0o600
_PAUSE_SECONDS = 1.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def rate_limited(shutdown: ShutdownSignal) -> Iterator[None]:
    """Wait for this process's turn, and hold a lock while the block runs.

    The pause counts from the end of the previous request, so that no network delay can bring
    two requests closer together at the vendor.

    Raises:
        MartechError: The lock file cannot be used.
        Stopped: The run was asked to end.
    """
    path = folder()
    lock = FileLock(path / f"{_NAME}.lock", mode=_OWNER_ONLY_FILE)
    previous = path / f"{_NAME}.previous"  # its mtime is the end of the previous request
    while not _acquired(lock):
        shutdown.wait(_POLL_SECONDS)
    try:
        _pause_after(previous, shutdown)
        try:
            yield
        finally:
            previous.touch(mode=_OWNER_ONLY_FILE)
    finally:
        lock.release()


def _pause_after(previous: Path, shutdown: ShutdownSignal) -> None:
    passed = time.time() - (previous.stat().st_mtime if previous.exists() else 0)
    if 0 <= passed < _PAUSE_SECONDS:
        shutdown.wait(_PAUSE_SECONDS - passed)


def folder() -> Path:
    """Return the user's cache folder for the lock file, which others cannot write to.

    Raises:
        MartechError: There is no such folder.
    """
    path = platformdirs.user_cache_path("singer-martech")
    try:
        path.mkdir(mode=_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        status = path.lstat()
        is_private = status.st_uid == os.getuid() and not status.st_mode & 0o022
        problem = None if stat.S_ISDIR(status.st_mode) and is_private else "is not yours alone"
    except OSError as error:
        problem = f"cannot be created: {error.strerror}"
    if problem:
        raise MartechError(
            f"the folder {path} for the lock file that keeps spot checks a second apart "
            f"{problem}; set XDG_CACHE_HOME to a folder of your own"
        )
    return path


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:
        raise MartechError(
            f"the lock file {lock.lock_file}, which keeps spot checks a second apart, cannot be "
            f"opened: {error.strerror}"
        ) from error
    return True
