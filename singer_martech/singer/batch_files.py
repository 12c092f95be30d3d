"""Read the files of a BATCH message.

A message may name any file of this machine. Only regular files are read, and only below the folder
in the setting ``batch_config`` or, by default, below the working folder and the folder for
temporary files.
"""

from __future__ import annotations

import gzip
import os
import stat
import tempfile
from codecs import BOM_UTF8
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import fsspec  # type: ignore[import-untyped]

from singer_martech.errors import InvalidInput, MartechError
from singer_martech.singer.json_file import config_files
from singer_martech.singer.reader import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers._batch import StorageTarget

_LOCAL = frozenset({"", "file", "local"})
_COMPRESSIONS = frozenset({None, "", "none", "gzip"})


class _NotAllowed(Exception):
    """The file must not be read; the text says why."""


def batch_lines(message: Mapping[str, Any], storage: StorageTarget | None) -> Iterator[bytes]:
    """Yield the records of a BATCH message as JSON.

    Args:
        message: The message, with ``encoding`` and ``manifest``.
        storage: The storage in the setting ``batch_config``, or None.

    Raises:
        MartechError: A file cannot or must not be read, or is not JSON lines.
    """
    stream, encoding, manifest = message["stream"], message["encoding"], message["manifest"]
    if not isinstance(encoding, dict) or not isinstance(manifest, list):
        raise InvalidInput(
            f"stream '{stream}': a BATCH needs an object as encoding and a list as manifest"
        )
    format_name, compression = encoding.get("format"), encoding.get("compression")
    if format_name != "jsonl" or compression not in _COMPRESSIONS:
        raise MartechError(
            f"stream '{stream}': a BATCH has the format {format_name} {compression or ''}; let the "
            "tap write jsonl, with gzip or without"
        )
    for address in manifest:
        label = f"stream '{stream}': the BATCH file {address}"
        try:
            with _open(str(address), storage) as file:
                yield from _lines(file, is_gzip=compression == "gzip")
        except MartechError:
            raise
        except _NotAllowed as error:
            raise MartechError(f"{label} is not read: {error}") from error
        except Exception as error:  # storage libraries may raise anything
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise MartechError(f"{label} cannot be read: {reason}") from error


def _open(address: str, storage: StorageTarget | None) -> IO[bytes]:
    scheme = _scheme(address)
    if storage is not None and _scheme(storage.root) not in _LOCAL:
        if scheme != _scheme(storage.root):
            raise _NotAllowed(f"it is not in the storage {storage.root} of 'batch_config'")
        return _open_remote(address, storage)
    if scheme not in _LOCAL:
        raise _NotAllowed(f"only 'batch_config' may name a storage of the kind {scheme}://")
    if storage is None:
        return _open_local(_local_path(address), [os.curdir, tempfile.gettempdir()])
    root, path = _local_path(storage.root), _local_path(address)
    # the tap may mount the same storage at another path
    path = path if _is_below(path, root) else str(Path(root, Path(path).name))
    return _open_local(path, [root])


def _scheme(address: str) -> str:
    return urlsplit(address).scheme if "://" in address else ""


def _local_path(address: str) -> str:
    """Return the path of an address, which may contain %-escapes."""
    path = address.partition("://")[2] if "://" in address else address
    return path if os.path.lexists(path) else unquote(path)


def _is_below(path: str, folder: str) -> bool:
    folder = os.path.realpath(folder)
    path = os.path.realpath(path)
    return path != folder and os.path.commonpath([path, folder]) == folder


def _open_local(path: str, roots: list[str]) -> IO[bytes]:
    """Open a regular file below one of ``roots``, after resolving links.

    Raises:
        OSError: The file cannot be opened.
        _NotAllowed: It is elsewhere, or not a regular file.
    """
    if not any(_is_below(path, root) for root in roots):
        raise _NotAllowed(
            f"it is not below {' or '.join(map(os.path.realpath, roots))}; name its folder in the "
            "setting 'batch_config', as storage.root"
        )
    real = os.path.realpath(path)
    if real in config_files:
        raise _NotAllowed("it is the configuration of this run")
    # do not wait for a FIFO, nor follow a link that replaced the file after the check
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NotAllowed("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _open_remote(address: str, storage: StorageTarget) -> IO[bytes]:
    """Open a file of a storage; if its address has another folder, use only the file name."""
    root = storage.root.rstrip("/") + "/"
    inside = address.removeprefix(root) if address.startswith(root) else ""
    parts = inside.split("/") if inside else [address.rpartition("/")[2]]
    if any(part in {"", ".", ".."} for part in parts):
        raise _NotAllowed(f"it is not in the storage {storage.root} of 'batch_config'")
    files, path = fsspec.url_to_fs(storage.root, **storage.params)
    return cast("IO[bytes]", files.open("/".join([path.rstrip("/"), *parts]), "rb"))


def _lines(file: IO[bytes], *, is_gzip: bool) -> Iterator[bytes]:
    with _unpacked(file, is_gzip=is_gzip) as lines:
        is_first = True
        while line := lines.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise InvalidInput(f"a BATCH file has a line of more than {MAX_LINE_BYTES} bytes")
            yield line.removeprefix(BOM_UTF8) if is_first else line
            is_first = False


@contextmanager
def _unpacked(file: IO[bytes], *, is_gzip: bool) -> Iterator[IO[bytes]]:
    if not is_gzip:
        yield file
        return
    with gzip.open(file) as unpacked:
        yield cast("IO[bytes]", unpacked)
