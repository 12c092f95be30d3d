"""A ledger in a private SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from singer_martech.delivery.ledger_tables import LedgerError
from singer_martech.runtime import private_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from singer_martech.delivery.ledger_tables import Entry, Statement

_OWNER_ONLY = 0o600
_BUSY_SECONDS = 60
"""Another run's transaction lasts less than this."""
_MAX_PARAMETERS = 500
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit that was reported survives a power failure
    "secure_delete=ON",  # an erased person's identifiers are overwritten
    "cache_size=-32768",  # KiB
)
_MARGIN = 100
"""Rows that are read beyond the expected ones, since some keys are new or gone."""
_MAX_GAP = 4
"""Keys whose rows have larger gaps on average are looked up one by one."""


class SqliteDatabase:
    """One connection, for one thread.

    Args:
        path: The file; it is created if it does not exist.
        read_only: Write nothing; without a file, the database is empty.

    Raises:
        LedgerError: The file cannot be opened, or belongs to another user.
    """

    binary = "BLOB"
    row = "rowid"

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = Path(path).expanduser().absolute()
        self.name = str(self._path)
        self._locks: dict[int, FileLock] = {}
        self._expected_row: int | None = None
        is_temporary = read_only and not self._path.exists()
        with self._errors():
            if not is_temporary:
                _make_private(self._path)
            self._connection = sqlite3.connect(
                ":memory:" if is_temporary else self._path,
                timeout=_BUSY_SECONDS,
                isolation_level=None,  # transactions are explicit
            )
            try:
                for pragma in _PRAGMAS:
                    self._connection.execute(f"PRAGMA {pragma}")
            except BaseException:
                self._connection.close()
                raise

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._errors():
            return self._connection.execute(statement, parameters).fetchall()

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of these keys that exist, and perhaps those of other keys.

        A tap mostly reads records in the same order as before, so their rows follow each other.
        """
        with self._errors():
            found = self._read_ahead(len(keys))
            left = [key for key in keys if key not in found]
            for start in range(0, len(left), _MAX_PARAMETERS):
                part = left[start : start + _MAX_PARAMETERS]
                part += [b""] * (_MAX_PARAMETERS - len(part))  # one statement for all, cached
                for entry in self._connection.execute(_ENTRIES, part).fetchall():
                    found[entry[0]] = entry
        self._expected_row = _next_row(keys, found)
        return found

    def _read_ahead(self, count: int) -> dict[bytes, Entry]:
        if self._expected_row is None:
            return {}
        rows = self._connection.execute(_ENTRIES_FROM, (self._expected_row, count + _MARGIN))
        return {entry[0]: entry for entry in rows.fetchall()}

    def write(self, statements: Iterable[Statement]) -> None:
        """Execute statements in one transaction, each once per set of parameters."""
        connection = self._connection
        with self._errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, parameters in statements:
                    if parameters:
                        connection.executemany(statement, parameters)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def lock(self, number: int) -> bool:
        """Take a lock until ``close``; return False if another run has it."""
        if number in self._locks:
            return True
        lock = FileLock(f"{self._path}.{number:x}.lock", mode=_OWNER_ONLY)
        with self._errors():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return False
        self._locks[number] = lock
        return True

    def problems(self) -> list[str]:
        """Return the errors that SQLite finds in the file."""
        return [str(row[0]) for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    def close(self) -> None:
        """Close the file and release all locks."""
        self._connection.close()
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self.name}: {error}") from error
        except OSError as error:
            raise LedgerError(f"ledger {self.name}: {error.strerror or error}") from error


_SELECT = "SELECT key, body, taken_at, seen, rowid FROM ledger_entries WHERE"
_ENTRIES = f"{_SELECT} key IN ({','.join('?' * _MAX_PARAMETERS)})"
_ENTRIES_FROM = f"{_SELECT} rowid >= ? ORDER BY rowid LIMIT ?"


def _next_row(keys: Sequence[bytes], found: Mapping[bytes, Entry]) -> int | None:
    """Return the row expected after these keys, or None if they are not in order of their rows."""
    first = next((found[key][4] for key in keys if key in found), None)
    last = next((found[key][4] for key in reversed(keys) if key in found), None)
    if first is not None and last is not None and 0 <= last - first < _MAX_GAP * len(keys):
        return last + 1
    return None


def _make_private(path: Path) -> None:
    """Create the file for its owner only; SQLite gives the files beside it the same mode."""
    private_files.make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        private_files.create(path).close()
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is not a regular file")
    if status.st_uid != os.geteuid():
        raise OSError(None, "it belongs to another user")
    if stat.S_IMODE(status.st_mode) & ~_OWNER_ONLY:
        path.chmod(_OWNER_ONLY)
