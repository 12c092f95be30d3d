"""Save the malformed lines of a run, up to the limit."""

from __future__ import annotations

import logging
import os
import secrets
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.runtime import private_files

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class MalformedLines:
    """Counts and saves the malformed lines of a run.

    Args:
        folder: Folder of the file (``reject_path``); it is created for the first line.
        limit: Maximum lines per run (``max_malformed_lines``).
    """

    def __init__(self, folder: Path, limit: int) -> None:
        run = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(2)}"
        self.path = folder / f"tap-robotmia.{run}.lines"
        self.count = 0
        self._limit = limit
        self._file: IO[bytes] | None = None

    def add(self, line: bytes, reason: str, where: str) -> None:
        """Save a line; it is on disk before a STATE that covers it is written.

        Raises:
            MartechError: The limit is exceeded, or the line cannot be saved.
        """
        self.count += 1
        if self.count > self._limit:
            raise MartechError(
                f"{where} has a line that is not an event ({reason}); raise setting "
                f"'max_malformed_lines' (now {self._limit}) to keep such lines in "
                f"'{self.path.parent}' and go on"
            )
        try:
            self._save(line)
        except OSError as error:
            raise MartechError(
                f"{where}: a line that is not an event cannot be saved in setting 'reject_path' "
                f"('{self.path.parent}'): {error.strerror}"
            ) from error
        logger.warning(
            "%s: a line is not an event (%s); it is saved in %s", where, reason, self.path
        )

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _save(self, line: bytes) -> None:
        file = self._file = self._file or self._open()
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())

    def _open(self) -> IO[bytes]:
        private_files.make_folder(self.path.parent)
        return private_files.create(self.path)
