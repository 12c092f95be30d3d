"""Lines of an export that are no events: kept as received, up to the allowance."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class MalformedLines:
    """Counts them over a run.

    Args:
        folder: Where the file that keeps them lies; it is made when the first one comes.
        limit: How many a run may have (``max_malformed_lines``).
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Open no file yet."""
        now = datetime.now(timezone.utc)
        self.path = folder / f"tap-robotmia.{now:%Y%m%dT%H%M%S}-{os.getpid()}.lines"
        self.count = 0
        self._limit = limit
        self._file: IO[bytes] | None = None

    def add(self, line: bytes, reason: str, where: str) -> None:
        """Keep a line, safely on disk before anything after it counts as exported.

        Args:
            line: The line as received.
            reason: Why it is no event.
            where: The export it came with.

        Raises:
            MartechError: It is one too many, or it cannot be kept.
        """
        self.count += 1
        if self.count > self._limit:
            message = (
                f"{where} has a line that is no event ({reason}); raise setting "
                f"'max_malformed_lines' (now {self._limit}) to keep such lines in "
                f"'{self.path.parent}' and go on"
            )
            raise MartechError(message)
        try:
            file = self._file = self._file or self._open()
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            message = (
                f"{where}: a line that is no event cannot be kept in setting 'reject_path' "
                f"('{self.path.parent}'): {error.strerror}"
            )
            raise MartechError(message) from error
        logger.warning("%s: a line is no event (%s); it is kept in %s", where, reason, self.path)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # readable by its owner only: a broken line still holds somebody's data
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "ab")
