"""One reject report: a file of JSON lines with a schema file."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import IO, TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.runtime import private_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_SUFFIX = ".schema.json"


class RejectReport:
    """The rejected records of one stream and schema in one run.

    Raises:
        MartechError: The files cannot be created.
    """

    def __init__(self, folder: Path, target: str, stream: str, run: str, schema: bytes) -> None:
        """Create the files, readable by their owner only."""
        self._stem = f"{target}.{private_files.file_name_part(stream)}.{run}"
        self.path = folder / f"{self._stem}.jsonl"
        self._is_dirty = False
        self._file: IO[bytes] | None
        with self._named_errors():
            private_files.make_folder(folder)
            self._write_schema(schema)
            self._file = private_files.create(self.path)
            _sync_folder(folder)

    def _write_schema(self, schema: bytes) -> None:
        with private_files.create(self.path.with_name(f"{self._stem}{SCHEMA_SUFFIX}")) as file:
            file.write(schema + b"\n")

    def write(self, line: bytes) -> None:
        """Append a line; ``sync`` flushes it to disk.

        Raises:
            MartechError: It cannot be written.
        """
        with self._named_errors():
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
                self._file = os.fdopen(os.open(self.path, flags), "ab")
            self._is_dirty = True
            self._file.write(line)

    def keep(self, suffix: str, file: IO[bytes]) -> str:
        """Copy a file beside the report and return its name.

        Raises:
            MartechError: It cannot be written.
        """
        path = self.path.with_name(f"{self._stem}.{suffix}")
        with self._named_errors(), private_files.create(path) as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        return path.name

    def sync(self) -> None:
        """Flush what was written to disk.

        Raises:
            MartechError: It cannot be written.
        """
        if not self._is_dirty or self._file is None:
            return
        with self._named_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
        self._is_dirty = False

    def close(self) -> None:
        """Flush to disk and close the file; ``write`` opens it again."""
        self.sync()
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MartechError(
                f"the reject report {self.path} cannot be written ({error.strerror}); "
                "choose another folder with the setting 'reject_path'"
            ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
