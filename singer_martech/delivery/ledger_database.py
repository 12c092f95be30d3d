"""A ledger in PostgreSQL, for runs on many machines. Needs the extra ``singer-martech[ledger]``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from singer_martech.delivery.ledger_tables import LedgerError
from singer_martech.runtime.redaction import register_secret

try:
    import sqlalchemy
except ImportError as error:
    raise LedgerError(
        "a database URL needs the extra: pip install 'singer-martech[ledger]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from singer_martech.delivery.ledger_tables import Statement


class SqlDatabase:
    """One connection, for one thread.

    Raises:
        LedgerError: There is no such database, or it is not PostgreSQL.
    """

    binary = "BYTEA"
    clustered = ""
    for_update = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        _mask_password(url)
        self.name = url.partition("://")[0]
        with self._errors():
            parsed = self._parsed(url)
            self._engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool)
            self._connection = self._engine.connect()

    def _parsed(self, url: str) -> sqlalchemy.URL:
        parsed = sqlalchemy.make_url(url)
        self.name = parsed.render_as_string(hide_password=True)
        if parsed.get_backend_name() != "postgresql":
            raise LedgerError(f"ledger {self.name}: only PostgreSQL is supported, or a path")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # the driver of the extra
        return parsed

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._rows(sqlalchemy.text(statement), parameters)

    def rows_in(self, statement: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query with the condition ``IN :values``."""
        if not values:
            return []
        query = sqlalchemy.text(statement)
        query = query.bindparams(sqlalchemy.bindparam("values", expanding=True))
        return self._rows(query, {"values": list(values)})

    def _rows(
        self, query: sqlalchemy.TextClause, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        in_write = self._connection.in_transaction()
        with self._errors(), contextlib.nullcontext() if in_write else self._connection.begin():
            return [
                # some drivers return memoryview
                tuple(bytes(each) if isinstance(each, memoryview) else each for each in row)
                for row in self._connection.execute(query, parameters)
            ]

    def write(self, statements: Iterable[Statement]) -> None:
        """Execute statements in one transaction, each once per set of parameters."""
        with self._errors(), self._connection.begin():
            for statement, parameters in statements:
                if parameters:
                    self._connection.execute(sqlalchemy.text(statement), parameters)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state in all queries, whatever other runs write."""
        with self._errors(), self._connection.begin():
            self._connection.execute(
                sqlalchemy.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            )
            yield

    def lock(self, number: int) -> bool:
        """Take a lock until ``close``; return False if another run has it."""
        return bool(self.rows("SELECT pg_try_advisory_lock(:number)", number=number)[0][0])

    def problems(self) -> list[str]:
        """Return nothing: PostgreSQL checks its own files."""
        return []

    def close(self) -> None:
        """Close the connection, which releases all locks."""
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
            # the server notices a closed connection later
            self._connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock_all()"))
            self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            cause = getattr(error, "orig", None) or error
            raise LedgerError(f"ledger {self.name}: {' '.join(str(cause).split())}") from error


def _mask_password(url: str) -> None:
    with contextlib.suppress(ValueError):
        register_secret(unquote(urlsplit(url).password or ""))
