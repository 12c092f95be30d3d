"""The tables of a ledger, in SQLite or in another SQL database.

- ``ledger_format``: the version of the tables, the number of the last block, and the seed of the
  bodies' hashes.
- ``ledger_destinations``: one row per target, API account, collection (dataset, import or arc
  class) and stream.
- ``ledger_blocks``: the entries of a destination, many to a row and in the order of the input, so
  that few statements read and write them. See :mod:`singer_martech.delivery.ledger_blocks`.
- ``ledger_entries``: the block that has the entry of each key.
- ``ledger_mirror``: the keys of mirrored streams, with the version of the full read in which each
  was last read, and the identifiers that delete it at the vendor.
- ``ledger_journal``: the keys that are being sent. Those of a killed run are in doubt.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    Entry = tuple[bytes, int]
    Parameters = Mapping[str, Any]
    Statement = tuple[str, Sequence[Parameters]]

FORMAT = 3
"""Version of the tables. A ledger of another version is an error."""

KEY_BYTES = 16
"""Length of a hash of a key or a body."""

DELETION = bytes(KEY_BYTES)
"""The hash of the body of a deletion."""
UNKNOWN = b"\xff" * KEY_BYTES
"""The hash of a body that is never compared."""
IN_DOUBT = b"\xfe" * KEY_BYTES
"""The hash in the ledger if the body at the vendor is not known."""


class LedgerError(MartechError):
    """The ledger cannot be read or written."""


class Scope(NamedTuple):
    """The destination of the entries of one stream.

    Attributes:
        target: The name of the target.
        account: The API and the account there.
        collection: The dataset, import or arc class; empty if it differs between records.
        stream: The name of the stream.
    """

    target: str
    account: str
    collection: str
    stream: str

    @property
    def id(self) -> int:
        """A number for the scope, the same on every machine."""
        return int.from_bytes(_digest(*self, size=6), "big")

    @property
    def lock(self) -> int:
        """A number for the lock: two runs must not load the same destination concurrently."""
        return int.from_bytes(_digest(*self[:3], size=6), "big")

    @property
    def account_digest(self) -> bytes:
        """Separates the keys of different accounts; streams of one collection share keys."""
        return _digest(self.target, self.account, size=KEY_BYTES)

    def __str__(self) -> str:
        """Return the scope for messages."""
        collection = f", {self.collection}" if self.collection else ""
        return f"stream '{self.stream}' ({self.target}, {self.account}{collection})"


class Summary(NamedTuple):
    """One destination, as ``singer-martech-ledger show`` lists it.

    Attributes:
        scope: The destination.
        entries: Number of keys.
        in_doubt: Those of them whose body at the vendor is unknown.
        first: When the oldest body was accepted, in seconds since 1970.
        last: When the newest body was accepted.
    """

    scope: Scope
    entries: int
    in_doubt: int
    first: int | None
    last: int | None


class Database(Protocol):
    """A SQL database; every error is a LedgerError.

    Attributes:
        name: Its path or URL, without a password.
        binary: Its type for bytes.
        clustered: Its option for a table whose rows are stored with its primary key.
        for_update: Its clause that locks the rows of a query until the end of the transaction.
    """

    name: str
    binary: str
    clustered: str
    for_update: str

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, whose parameters are named ``:name``."""

    def rows_in(self, statement: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query with the condition ``IN :values``."""

    def write(self, statements: Iterable[Statement]) -> None:
        """Execute statements in one transaction, each once per set of parameters.

        Args:
            statements: May be a generator that reads rows in the transaction.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Read the same state in all queries, whatever other runs write."""

    def lock(self, number: int) -> bool:
        """Take a lock until ``close``; return False if another run has it."""

    def problems(self) -> list[str]:
        """Return the errors that the database finds in its files."""

    def close(self) -> None:
        """Close the connection and release all locks."""


TABLES = (
    """CREATE TABLE IF NOT EXISTS ledger_format (
        format BIGINT PRIMARY KEY, last_block BIGINT NOT NULL, seed BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS ledger_destinations (
        id BIGINT PRIMARY KEY, target TEXT NOT NULL, account TEXT NOT NULL,
        collection TEXT NOT NULL, stream TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS ledger_blocks (
        id INTEGER PRIMARY KEY, destination BIGINT NOT NULL, entries {binary} NOT NULL)""",
    """CREATE INDEX IF NOT EXISTS ledger_blocks_of_destination
        ON ledger_blocks (destination, id)""",
    """CREATE TABLE IF NOT EXISTS ledger_entries (
        key {binary} PRIMARY KEY, block INTEGER NOT NULL) {clustered}""",
    """CREATE TABLE IF NOT EXISTS ledger_mirror (
        key {binary} PRIMARY KEY, destination BIGINT NOT NULL, seen BIGINT NOT NULL,
        identifiers {binary})""",
    """CREATE TABLE IF NOT EXISTS ledger_journal (
        lock BIGINT NOT NULL, sequence BIGINT NOT NULL, keys {binary} NOT NULL)""",
)


def _digest(*texts: str, size: int) -> bytes:
    return blake2b("\0".join(texts).encode(), digest_size=size).digest()
