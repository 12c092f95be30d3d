"""The data of the sandbox in SQLite, so that it can be queried while it runs."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Store:
    """One SQLite database shared by the server's thread and the tests' threads.

    Args:
        path: The database file, kept between runs; None stores everything in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            str(path) if path else ":memory:",
            check_same_thread=False,
            isolation_level=None,
        )
        self._connection.row_factory = sqlite3.Row
        # A shell may read while the sandbox writes; durability is not needed.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")

    def create(self, statements: Iterable[str]) -> None:
        """Run the `CREATE TABLE IF NOT EXISTS …` statements of a vendor."""
        with self._lock:
            for statement in statements:
                self._connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return the connection for one transaction, which is committed or rolled back."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries."""
        with self._lock:
            return [dict(row) for row in self._connection.execute(sql, parameters)]

    def value(self, sql: str, *parameters: Any) -> Any:
        """Return the first column of the first row, or None."""
        with self._lock:
            row = self._connection.execute(sql, parameters).fetchone()
            return None if row is None else row[0]

    def clear(self) -> None:
        """Delete all rows of every table."""
        names = self.rows(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        )
        with self.transaction() as connection:
            for name in names:
                # A table's name cannot be a parameter; these come from the database itself.
                connection.execute(f'DELETE FROM "{name["name"]}"')  # noqa: S608 - see above

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()
