"""A ledger in a private SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from singer_martech.delivery.ledger_tables import LedgerError
from singer_martech.runtime import private_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from singer_martech.delivery.ledger_tables import Statement

_OWNER_ONLY = 0o600
_BUSY_SECONDS = 60
"""Another run's transaction lasts less than this."""
_MAX_PARAMETERS = 500
_PLACEHOLDERS = f"({','.join('?' * _MAX_PARAMETERS)})"
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit that was reported survives a power failure
    "secure_delete=ON",  # an erased person's identifiers are overwritten
    "cache_size=-32768",  # KiB
)


class SqliteDatabase:
    """One connection, for one thread.

    Args:
        path: The file; it is created if it does not exist.
        read_only: Write nothing; without a file, the database is empty.

    Raises:
        LedgerError: The file cannot be opened, or belongs to another user.
    """

    binary = "BLOB"
    clustered = "WITHOUT ROWID"
    for_update = ""  # a transaction that writes locks the whole file

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = Path(path).expanduser().absolute()
        self.name = str(self._path)
        self._locks: dict[int, FileLock] = {}
        is_temporary = read_only and not self._path.exists()
        with self._errors():
            if not is_temporary:
                _make_private(self._path)
            self._connection = _connect(":memory:" if is_temporary else self._path)

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._errors():
            return self._connection.execute(statement, parameters).fetchall()

    def rows_in(self, statement: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query with the condition ``IN :values``."""
        statement = statement.replace(":values", _PLACEHOLDERS)
        rows: list[tuple[Any, ...]] = []
        left = iter(values)
        with self._errors():
            while part := list(islice(left, _MAX_PARAMETERS)):
                part += [None] * (_MAX_PARAMETERS - len(part))  # one statement for all, cached
                rows += self._connection.execute(statement, part).fetchall()
        return rows

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

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state in all queries, whatever other runs write."""
        with self._errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.rollback()

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


def _connect(file: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file,
        timeout=_BUSY_SECONDS,
        isolation_level=None,  # transactions are explicit
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Create the file for its owner only; SQLite gives the files beside it the same mode."""
    private_files.make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        private_files.create(path).close()
    _check_link(path)
    status = path.stat()
    _check_own(status)
    if stat.S_IMODE(status.st_mode) & ~_OWNER_ONLY:
        path.chmod(_OWNER_ONLY)


def _check_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise OSError(None, "it is a symbolic link to nothing")


def _check_own(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is not a regular file")
    if status.st_uid != os.geteuid():
        raise OSError(None, "it belongs to another user")
