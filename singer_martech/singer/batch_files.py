"""Read the files of a BATCH message, and remove them once their records are delivered.

A message may name any file of this machine. Only regular files are read, and only below the folder
in the setting ``batch_config`` or, by default, below the working folder and the folder for
temporary files. Only files below the folder in ``batch_config`` are removed.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from codecs import BOM_UTF8
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import fsspec  # type: ignore[import-untyped]
from isal import igzip

from singer_martech.errors import InvalidInput, MartechError, reason_of
from singer_martech.singer.json_file import is_config_file
from singer_martech.singer.reader import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers._batch import StorageTarget

logger = logging.getLogger(__name__)

_LOCAL = frozenset({"", "file", "local"})
_COMPRESSIONS = (None, "", "none", "gzip")
_BLOCK_BYTES = 1024 * 1024


class _NotAllowed(Exception):
    """The file must not be read; the text says why."""


class BatchFile:
    """A file of a BATCH message."""

    def __init__(
        self, stream: str, address: str, storage: StorageTarget | None, *, is_gzip: bool
    ) -> None:
        self._stream = stream
        self._address = address
        self._storage = storage
        self._is_gzip = is_gzip

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines of the file, with their line feeds, in lists of bounded size.

        Raises:
            MartechError: The file cannot or must not be read, or is not JSON lines.
        """
        label = f"stream '{self._stream}': the BATCH file {self._address}"
        try:
            with self._open() as file, _unpacked(file, is_gzip=self._is_gzip) as text:
                yield from _blocks(text)
        except MartechError:
            raise
        except _NotAllowed as error:
            raise MartechError(f"{label} is not read: {error}") from error
        except Exception as error:  # storage libraries may raise anything
            raise MartechError(f"{label} cannot be read: {reason_of(error)}") from error

    def remove(self) -> None:
        """Remove the file, if it is in the storage of ``batch_config``; log a failure."""
        if self._storage is None:
            return
        try:
            if is_local(self._storage.root):
                file = Path(_checked_path(*self._local()))
                _check_status(file.stat())
                file.unlink()
            else:
                files, path = _remote(self._address, self._storage)
                files.rm_file(path)
        except Exception as error:  # noqa: BLE001 - storage libraries may raise anything
            logger.warning(
                "the BATCH file %s cannot be removed: %s", self._address, reason_of(error)
            )

    def _open(self) -> IO[bytes]:
        """Open the file."""
        storage, scheme = self._storage, _scheme(self._address)
        if storage is not None and not is_local(storage.root):
            if scheme != _scheme(storage.root):
                raise _NotAllowed(f"it is not in the storage {storage.root} of 'batch_config'")
            files, path = _remote(self._address, storage)
            return cast("IO[bytes]", files.open(path, "rb"))
        if scheme not in _LOCAL:
            raise _NotAllowed(f"only 'batch_config' may name a storage of the kind {scheme}://")
        return _open_local(_checked_path(*self._local()))

    def _local(self) -> tuple[str, list[str]]:
        """Return the path of a local file, and the folders that it may be in."""
        path = local_path(self._address)
        if self._storage is None:
            return path, [os.curdir, tempfile.gettempdir()]
        root = local_path(self._storage.root)
        # the tap may mount the same storage at another path
        return path if _is_below(path, root) else str(Path(root, Path(path).name)), [root]


def batch_files(message: Mapping[str, Any], storage: StorageTarget | None) -> list[BatchFile]:
    """Return the files of a BATCH message.

    Raises:
        MartechError: The message is invalid, or its encoding is not supported.
    """
    stream, encoding, manifest = message["stream"], message["encoding"], message["manifest"]
    if not isinstance(encoding, dict) or not isinstance(manifest, list):
        raise InvalidInput(
            f"stream '{stream}': a BATCH needs an object as encoding and a list as manifest"
        )
    format_name, compression = encoding.get("format"), encoding.get("compression")
    if format_name != "jsonl" or compression not in _COMPRESSIONS:
        described = f"{format_name} {compression or ''}".rstrip()
        raise MartechError(
            f"stream '{stream}': a BATCH has the format {described}; let the tap write jsonl, with "
            "gzip or without"
        )
    is_gzip = compression == "gzip"
    return [BatchFile(stream, str(address), storage, is_gzip=is_gzip) for address in manifest]


def is_local(address: str) -> bool:
    """Whether an address is a path of this machine."""
    return _scheme(address) in _LOCAL


def local_path(address: str) -> str:
    """Return the path of an address, which may contain %-escapes."""
    path = address.partition("://")[2] if "://" in address else address
    return path if os.path.lexists(path) else unquote(path)


def _scheme(address: str) -> str:
    return urlsplit(address).scheme if "://" in address else ""


def _is_below(path: str, folder: str) -> bool:
    folder = os.path.realpath(folder)
    path = os.path.realpath(path)
    return path != folder and os.path.commonpath([path, folder]) == folder


def _checked_path(path: str, roots: list[str]) -> str:
    """Return the path of a file below one of ``roots``, after resolving links."""
    if not any(_is_below(path, root) for root in roots):
        raise _NotAllowed(
            f"it is not below {' or '.join(map(os.path.realpath, roots))}; name its folder in the "
            "setting 'batch_config', as storage.root"
        )
    return os.path.realpath(path)


def _open_local(path: str) -> IO[bytes]:
    """Open a regular file."""
    # do not wait for a FIFO, nor follow a link that replaced the file after the check
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check_status(os.fstat(descriptor))
    except _NotAllowed:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_status(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _NotAllowed("it is not a regular file")
    if is_config_file(status):
        raise _NotAllowed("it is the configuration of this run")


def _remote(address: str, storage: StorageTarget) -> tuple[Any, str]:
    """Return the file system of a storage and a path there.

    If the address has another folder, only its file name is used.
    """
    root = storage.root.rstrip("/") + "/"
    inside = address.removeprefix(root) if address.startswith(root) else ""
    parts = inside.split("/") if inside else [address.rpartition("/")[2]]
    if any(part in {"", ".", ".."} for part in parts):
        raise _NotAllowed(f"it is not in the storage {storage.root} of 'batch_config'")
    files, path = fsspec.url_to_fs(storage.root, **storage.params)
    return files, "/".join([path.rstrip("/"), *parts])


def _blocks(text: IO[bytes]) -> Iterator[list[bytes]]:
    parts = [_first_bytes(text)]
    size = 0
    while block := text.read(_BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield BytesIO(b"".join([*parts, block[:end]])).readlines()  # faster than split
            parts, size = [], 0
        rest = block[end:]
        parts.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            raise InvalidInput(f"a BATCH file has a line of more than {MAX_LINE_BYTES} bytes")
    yield [b"".join(parts)]


def _first_bytes(text: IO[bytes]) -> bytes:
    """Return the first bytes of a text, without its BOM."""
    return text.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)


@contextmanager
def _unpacked(file: IO[bytes], *, is_gzip: bool) -> Iterator[IO[bytes]]:
    if not is_gzip:
        yield file
        return
    with igzip.IGzipFile(fileobj=file) as unpacked:  # type: ignore[no-untyped-call]
        yield cast("IO[bytes]", unpacked)
