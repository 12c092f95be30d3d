"""The tables of a ledger, in SQLite or in another SQL database.

- ``ledger_destinations``: one row per target, API account, collection (dataset, import or arc
  class) and stream.
- ``ledger_entries``: one row per key. ``body`` is null while the vendor's body is unknown.
- ``ledger_journal``: the keys that are being sent. Those of a killed run are in doubt.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Entry = tuple[bytes, bytes | None, int, int | None, int | None]
    Parameters = Mapping[str, Any]
    Statement = tuple[str, Sequence[Parameters | tuple[Any, ...]]]

FORMAT = 1
"""Version of the tables. A ledger of another version is an error."""

KEY_BYTES = 16
"""Length of a hash of a key or a body."""


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

    Parameters are named ``:name``, or ``?`` in statements that need the number of a row.

    Attributes:
        name: Its path or URL, without a password.
        binary: Its type for bytes.
        row: Its column for the number of a row.
    """

    name: str
    binary: str
    row: str

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of these keys that exist, and perhaps those of other keys.

        Each has the key, the hash of the last accepted body (None if in doubt), its time in seconds
        since 1970, the version of the full read in which a mirrored key was last read, and the
        number of its row, if the database finds rows faster by it.

        Args:
            keys: Distinct keys, in the order of the input.
        """

    def write(self, statements: Iterable[Statement]) -> None:
        """Execute statements in one transaction, each once per set of parameters."""

    def lock(self, number: int) -> bool:
        """Take a lock until ``close``; return False if another run has it."""

    def problems(self) -> list[str]:
        """Return the errors that the database finds in its files."""

    def close(self) -> None:
        """Close the connection and release all locks."""


TABLES = (
    "CREATE TABLE IF NOT EXISTS ledger_format (format INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS ledger_destinations (
        id BIGINT PRIMARY KEY, target TEXT NOT NULL, account TEXT NOT NULL,
        collection TEXT NOT NULL, stream TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS ledger_entries (
        key {binary} PRIMARY KEY, destination BIGINT NOT NULL, body {binary},
        taken_at BIGINT, seen BIGINT, identifiers {binary})""",
    """CREATE TABLE IF NOT EXISTS ledger_journal (
        lock BIGINT NOT NULL, sequence BIGINT NOT NULL, keys {binary} NOT NULL)""",
)


def _digest(*texts: str, size: int) -> bytes:
    return blake2b("\0".join(texts).encode(), digest_size=size).digest()
