"""One request a second, over all processes of a user."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.runtime.shutdown import ShutdownSignal

_FILE_NAME = "target-monetate-record.lock"
_OWNER_ONLY_FOLDER, _OWNER_ONLY_FILE = 0o700, 0o600
_LOOK_AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def rate_limited(shutdown: ShutdownSignal, pause_seconds: float = 1.0) -> Iterator[None]:
    """Wait for this process's turn, and keep the turn while the request is under way.

    The pause counts from the end of the request before, so that no delay on the way can
    bring two requests closer together at the vendor.

    Args:
        shutdown: Ends the wait when the run is asked to end.
        pause_seconds: How long after the request before.

    Raises:
        MartechError: The lock file cannot be used.
        Stopped: The run was asked to end.
    """
    try:
        descriptor = os.open(
            folder() / _FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _OWNER_ONLY_FILE
        )
    except OSError as error:
        raise MartechError(
            f"the lock file {_FILE_NAME}, which keeps spot checks a second apart, cannot be "
            f"opened: {error.strerror}"
        ) from error
    with os.fdopen(descriptor, "r+") as file:
        _lock(file.fileno(), shutdown)
        passed = time.time() - _last(file.read())
        if 0 <= passed < pause_seconds:
            shutdown.wait(pause_seconds - passed)
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()
            file.write(repr(time.time()))


def folder() -> Path:
    """Return this user's folder for the lock file, which nobody else can write to.

    Raises:
        MartechError: There is none.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    candidates = [
        cache.expanduser() / "singer-martech",
        Path(tempfile.gettempdir()) / f"singer-martech-{os.getuid()}",
    ]
    for candidate in candidates:
        with contextlib.suppress(OSError, RuntimeError):
            candidate.mkdir(mode=_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
            status = candidate.lstat()
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == os.getuid()
                and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            ):
                return candidate
    raise MartechError(
        "no folder of your own for the lock file that keeps spot checks a second apart: set "
        "XDG_CACHE_HOME to one"
    )


def _lock(descriptor: int, shutdown: ShutdownSignal) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            shutdown.wait(_LOOK_AGAIN_SECONDS)
        else:
            return


def _last(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
