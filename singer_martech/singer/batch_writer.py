"""Write records into BATCH files, and announce them with BATCH messages.

The next program reads a file once a message has named it. So a file that its run left behind is
never read by another run. It is removed when it expires.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
from isal import isal_zlib
from singer_sdk.helpers._batch import BatchConfig, SDKBatchMessage

from singer_martech.errors import MartechError, reason_of
from singer_martech.http.content import GZIP_BITS
from singer_martech.runtime import private_files
from singer_martech.runtime.temp_files import open_temp_file
from singer_martech.singer.batch_files import is_local, local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_sdk.helpers._batch import StorageTarget

_MAX_BYTES = 16 * 1024 * 1024
"""Size before compression at which a file is announced; small, so that the reader starts early."""

_LEVEL = 1
_EXPIRY_SECONDS = 3 * 24 * 3600
"""A reader that is further behind would miss the files of its run."""


class BatchWriter:
    """Writes the records of one run into BATCH files.

    Raises:
        MartechError: The folder cannot be created.
    """

    def __init__(
        self,
        tap_name: str,
        settings: Mapping[str, Any],
        write_message: Callable[[SDKBatchMessage], None],
    ) -> None:
        """Create the folder, and remove expired files of earlier runs from it."""
        config = BatchConfig.from_dict(dict(settings))
        self._encoding = config.encoding
        self._storage = config.storage
        self._max_records: int = settings.get("batch_size") or sys.maxsize
        self._write_message = write_message
        self._is_gzip = config.encoding.compression == "gzip"
        self._prefix = f"{config.storage.prefix or ''}{tap_name}--"
        self._run = uuid4().hex
        self._count = 0
        self._files: dict[str, _OpenFile] = {}
        if is_local(config.storage.root):
            self._prepare_folder()

    def _prepare_folder(self) -> None:
        start = Path(local_path(self._storage.root), self._prefix)
        with _named_errors(self._storage):
            private_files.make_folder(start.parent)
            _remove_expired(start.parent, start.name)

    def write(self, stream: str, lines: bytes, count: int, version: int | None = None) -> None:
        """Write records, each ended by a line feed.

        Raises:
            MartechError: They cannot be written.
        """
        while count:
            file = self._files.get(stream) or self._open(stream)
            taken = min(count, self._max_records - file.count)
            head, lines = (lines, b"") if taken == count else _split(lines, taken)
            file.write(head, taken)
            file.version = version
            if file.count >= self._max_records or file.size >= _MAX_BYTES:
                self._announce(stream)
            count -= taken

    def announce(self) -> None:
        """Write a BATCH message for each file that has none.

        Raises:
            MartechError: A file cannot be written.
        """
        for stream in list(self._files):
            self._announce(stream)

    def close(self) -> None:
        """Remove the files without a message."""
        for file in self._files.values():
            file.discard()
        self._files.clear()

    def _open(self, stream: str) -> _OpenFile:
        self._count += 1
        suffix = "jsonl.gz" if self._is_gzip else "jsonl"
        part = private_files.file_name_part(stream)
        name = f"{self._prefix}{part}-{self._run}-{self._count}.{suffix}"
        with _named_errors(self._storage):
            file = self._files[stream] = _OpenFile(self._storage, name, is_gzip=self._is_gzip)
        return file

    def _announce(self, stream: str) -> None:
        file = self._files[stream]
        with _named_errors(self._storage):
            address = file.finish()
        self._write_message(SDKBatchMessage(stream, self._encoding, [address], file.version))
        del self._files[stream]


class _OpenFile:
    """A file that no message has named yet. In a remote storage it exists once it is complete."""

    def __init__(self, storage: StorageTarget, name: str, *, is_gzip: bool) -> None:
        self.count = 0
        self.size = 0
        self.version: int | None = None
        self._storage = storage
        self._name = name
        self._path = (
            Path(local_path(storage.root), name).absolute() if is_local(storage.root) else None
        )
        self._file = open_temp_file() if self._path is None else private_files.create(self._path)
        self._gzip = (
            isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, GZIP_BITS) if is_gzip else None
        )

    def write(self, lines: bytes, count: int) -> None:
        self.count += count
        self.size += len(lines)
        with _named_errors(self._storage):
            self._file.write(lines if self._gzip is None else self._gzip.compress(lines))

    def finish(self) -> str:
        """Complete the file and return its address."""
        if self._gzip is not None:
            self._file.write(self._gzip.flush())
        if self._path is not None:
            self._file.close()
            return self._path.as_uri()
        self._upload()
        return f"{self._storage.root.rstrip('/')}/{self._name}"

    def _upload(self) -> None:
        self._file.seek(0)
        files, folder = fsspec.url_to_fs(self._storage.root, **self._storage.params)
        files.makedirs(folder, exist_ok=True)
        with self._file, files.open(f"{folder}/{self._name}", "wb") as remote:
            shutil.copyfileobj(self._file, remote)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk, the buffered data cannot be written
            self._file.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


def _split(lines: bytes, count: int) -> tuple[bytes, bytes]:
    """Split lines after the given number of them."""
    *head, rest = lines.split(b"\n", count)
    return b"\n".join([*head, b""]), rest


def _remove_expired(folder: Path, prefix: str) -> None:
    """Remove old files that runs of this tap have left behind."""
    ours = re.compile(rf"{re.escape(prefix)}.+-[0-9a-f]{{32}}-\d+\.jsonl(\.gz)?")
    oldest = time.time() - _EXPIRY_SECONDS
    for path in folder.iterdir():
        if ours.fullmatch(path.name):
            with contextlib.suppress(OSError):  # another run may remove it too
                if path.lstat().st_mtime < oldest:
                    path.unlink()


@contextlib.contextmanager
def _named_errors(storage: StorageTarget) -> Iterator[None]:
    try:
        yield
    except MartechError:
        raise
    except Exception as error:  # storage libraries may raise anything
        raise MartechError(
            f"a BATCH file cannot be written to {storage.root} ({reason_of(error)}): free space "
            "there, or name another folder in the setting 'batch_config.storage.root'"
        ) from error
