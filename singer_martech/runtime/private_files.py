"""Files that only their owner can read, written without following links."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import IO
from urllib.parse import quote

_OWNER_ONLY_FILE = 0o600
_OWNER_ONLY_FOLDER = 0o700
_MAX_NAME_CHARACTERS = 120
"""A file name has at most 255 bytes; this leaves room for a run, a plugin and suffixes."""

STANDARD_OUTPUT = 1
_STANDARD_STREAMS = {Path("/dev/stdout"): STANDARD_OUTPUT, Path("/dev/stderr"): 2}
_DESCRIPTOR_FOLDERS = frozenset(map(Path, ("/dev/fd", "/proc/self/fd")))


def file_name_part(text: str) -> str:
    """Return a text as part of a file name; different texts give different parts."""
    quoted = quote(text, safe=" $@+")
    if len(quoted) <= _MAX_NAME_CHARACTERS:
        return quoted
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{quoted[: _MAX_NAME_CHARACTERS - len(digest) - 1]}~{digest}"


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        OSError: It cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=_OWNER_ONLY_FOLDER, exist_ok=True)
    except FileExistsError:
        kind = "a symbolic link to nothing" if folder.is_symlink() else "not a folder"
        raise NotADirectoryError(errno.ENOTDIR, f"'{folder}' is {kind}") from None


def create(path: Path) -> IO[bytes]:
    """Create a file and open it for writing.

    Raises:
        FileExistsError: A file or a link of this name exists.
        OSError: It cannot be created.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, _OWNER_ONLY_FILE), "wb")


def replace(path: Path, text: str) -> None:
    """Write a file completely or not at all.

    A regular file of this user is replaced. To a device, a FIFO or an open descriptor such as
    ``/dev/stdout``, the text is written directly; a descriptor keeps its position.

    Raises:
        OSError: It cannot be written, is a link, or belongs to another user. An old file
        remains.
    """
    content = text.encode()
    status = _status(path)
    descriptor = open_descriptor(path)
    if descriptor is not None:
        _write_to(os.dup(descriptor), content)
    elif status is None:
        _replace(path, content)
    elif stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    elif not stat.S_ISREG(status.st_mode):
        # A FIFO without a reader is an error instead of an endless wait.
        _write_to(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK), content)
    elif status.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "it belongs to another user", str(path))
    else:
        _replace(path, content)


def is_written_directly(path: Path) -> bool:
    """Whether ``replace`` writes to a device, a FIFO or an open descriptor."""
    status = _status(path)
    is_file = status is None or stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
    return not is_file or open_descriptor(path) is not None


def open_descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path such as ``/dev/fd/3`` names.

    Opening the path would write at the start of a file, and fail for a socket.
    """
    if path in _STANDARD_STREAMS:
        return _STANDARD_STREAMS[path]
    is_open = path.parent in _DESCRIPTOR_FOLDERS and path.name.isdecimal() and os.path.lexists(path)
    return int(path.name) if is_open else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_new(unfinished, content)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _write_new(path: Path, content: bytes) -> None:
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_to(descriptor: int, content: bytes) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what was printed before comes first
    with os.fdopen(descriptor, "wb") as file:
        is_blocking = os.get_blocking(descriptor)
        os.set_blocking(descriptor, True)
        file.write(content)
        file.flush()
        os.set_blocking(descriptor, is_blocking)  # others may use the same open file
