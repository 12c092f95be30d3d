"""Read and write the tables of a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_tables import (
    FORMAT,
    KEY_BYTES,
    TABLES,
    LedgerError,
    Scope,
    Summary,
)
from singer_martech.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from singer_martech.delivery.ledger_tables import Database, Entry, Parameters, Statement

_PAGE_ROWS = 1000


class LedgerStore:
    """Reads and writes the tables."""

    def __init__(self, database: Database) -> None:
        """Create the tables if they do not exist.

        Raises:
            LedgerError: The database cannot be used.
            SettingError: The tables were written by another version.
        """
        self._database = database
        self.name = database.name
        self._has_sighted = False
        database.write((table.format(binary=database.binary), [{}]) for table in TABLES)
        formats = database.rows("SELECT format FROM ledger_format")
        if not formats:
            database.write([("INSERT INTO ledger_format VALUES (:format)", [{"format": FORMAT}])])
        elif formats[0][0] != FORMAT:
            raise SettingError(
                f"setting 'ledger': {self.name} has format {formats[0][0]}, but this version knows "
                f"format {FORMAT}; upgrade singer-martech, or name another ledger"
            )

    def open(self, scope: Scope, *, reset: bool = False) -> None:
        """Lock a destination, and recover from a killed run.

        Raises:
            LedgerError: Another run uses it.
        """
        self.lock(scope)
        if reset:
            self.forget(scope)
        self._database.write([(_ADD_DESTINATION, [{"id": scope.id, **scope._asdict()}])])
        self._recover(scope.lock)

    def lock(self, scope: Scope) -> None:
        """Lock a destination against other runs.

        Raises:
            LedgerError: One uses it now.
        """
        if not self._database.lock(scope.lock):
            raise LedgerError(
                f"ledger {self.name}: another run is using it for {scope}; run one after the other"
            )

    def _recover(self, lock: int) -> None:
        """Mark the keys that a killed run was sending as in doubt."""
        rows = self._database.rows("SELECT keys FROM ledger_journal WHERE lock = :id", id=lock)
        if rows:
            keys = [key for (blob,) in rows for key in _split(bytes(blob))]
            self._database.write(
                [
                    (_DOUBT, [{"key": key} for key in keys]),
                    ("DELETE FROM ledger_journal WHERE lock = :id", [{"id": lock}]),
                ]
            )

    def lookup(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of these keys that exist."""
        return self._database.entries(keys)

    def write_ahead(
        self, journal: Iterable[tuple[int, int, bytes]], sightings: Sequence[Parameters]
    ) -> None:
        """Write the keys of a request before it is sent.

        Args:
            journal: Lock, last sequence and joined keys of the records being sent.
            sightings: ``key``, ``row`` (None if unknown), ``destination``, ``seen`` and
                ``identifiers`` of mirrored keys.
        """
        rows = [
            {"lock": lock, "sequence": sequence, "keys": keys} for lock, sequence, keys in journal
        ]
        self._database.write([(_JOURNAL, rows), *self._sight(sightings)])

    def write_settled(
        self,
        known: Sequence[tuple[int, bytes, int, int, bytes]],
        new: Sequence[Parameters],
        doubted: Iterable[bytes],
        deleted: Iterable[bytes],
        sightings: Sequence[Parameters],
    ) -> None:
        """Write the results of records.

        Args:
            known: Destination, body, time, row and key of accepted records whose row is known.
            new: ``key``, ``destination``, ``body`` and ``now`` of other accepted records.
            doubted: Keys whose body at the vendor is unknown.
            deleted: Keys that the vendor deleted.
            sightings: As for ``write_ahead``.
        """
        self._database.write(
            [
                ("DELETE FROM ledger_entries WHERE key = :key", [{"key": key} for key in deleted]),
                (_DOUBT, [{"key": key} for key in doubted]),
                (_TAKE_KNOWN.format(row=self._database.row), known),
                (_TAKE, new),
                *self._sight(sightings),
            ]
        )

    def _sight(self, sightings: Sequence[Parameters]) -> Iterator[Statement]:
        known = [each for each in sightings if each["row"] is not None]
        yield _SIGHT_KNOWN.format(row=self._database.row), known
        yield _SIGHT, [each for each in sightings if each["row"] is None]

    def trim_journal(self, locks: Iterable[int], first_unsettled: int | None) -> None:
        """Delete the journal of settled records."""
        before = 2**62 if first_unsettled is None else first_unsettled
        self._database.write(
            [
                (
                    "DELETE FROM ledger_journal WHERE lock = :id AND sequence < :before",
                    [{"id": lock, "before": before} for lock in locks],
                )
            ]
        )

    def count(self, scope: Scope) -> int:
        """Return the number of keys of a destination."""
        rows = self._database.rows(
            "SELECT count(*) FROM ledger_entries WHERE destination = :id", id=scope.id
        )
        return int(rows[0][0])

    def remember_sighted(self, keys: Sequence[bytes]) -> None:
        """Treat keys as seen until ``close`` without writing them to the ledger, for a dry run."""
        if not self._has_sighted:
            binary = self._database.binary
            table = f"CREATE TEMPORARY TABLE ledger_sighted (key {binary} PRIMARY KEY)"
            self._database.write([(table, [{}])])
            self._has_sighted = True
        insert = "INSERT INTO ledger_sighted VALUES (:key) ON CONFLICT DO NOTHING"
        self._database.write([(insert, [{"key": key} for key in keys])])

    @property
    def _unseen(self) -> str:
        condition = "destination = :id AND (seen IS NULL OR seen <> :version)"
        if self._has_sighted:
            condition += " AND key NOT IN (SELECT key FROM ledger_sighted)"
        return condition

    def count_unseen(self, scope: Scope, version: int) -> tuple[int, int]:
        """Return how many keys were not in this full read, and how many have no identifiers."""
        rows = self._database.rows(
            f"SELECT count(*), count(identifiers) FROM ledger_entries WHERE {self._unseen}",  # noqa: S608 - constants
            id=scope.id,
            version=version,
        )
        total, named = (int(each) for each in rows[0])
        return total, total - named

    def unseen(self, scope: Scope, version: int) -> Iterator[bytes]:
        """Yield the identifiers of the keys that were not in this full read."""
        after = b""
        while rows := self._database.rows(
            f"SELECT key, identifiers FROM ledger_entries WHERE {self._unseen} "  # noqa: S608 - constants
            "AND identifiers IS NOT NULL AND key > :after ORDER BY key LIMIT :limit",
            id=scope.id,
            version=version,
            after=after,
            limit=_PAGE_ROWS,
        ):
            for key, identifiers in rows:
                after = bytes(key)
                yield bytes(identifiers)

    def scopes(self) -> list[Scope]:
        """Return all destinations."""
        return [
            Scope(*row)
            for row in self._database.rows(
                "SELECT target, account, collection, stream FROM ledger_destinations "
                "ORDER BY 1, 2, 3, 4"
            )
        ]

    def summaries(self) -> list[Summary]:
        """Return all destinations with counts and dates."""
        counts = {
            row[0]: row[1:]
            for row in self._database.rows(
                "SELECT destination, count(*), count(*) - count(body), min(taken_at), "
                "max(taken_at) FROM ledger_entries GROUP BY destination"
            )
        }
        return [
            Summary(scope, *counts.get(scope.id, (0, 0, None, None))) for scope in self.scopes()
        ]

    def forget(self, scope: Scope) -> int:
        """Remove all entries of a destination; return the number of keys."""
        self._recover(scope.lock)
        count = self.count(scope)
        self._database.write(
            (f"DELETE FROM {table} WHERE {column} = :id", [{"id": scope.id}])  # noqa: S608 - constants
            for table, column in (
                ("ledger_entries", "destination"),
                ("ledger_destinations", "id"),
            )
        )
        return count

    def problems(self) -> list[str]:
        """Return the errors found in the ledger."""
        problems = self._database.problems()
        known = "(SELECT id FROM ledger_destinations)"
        checks = {
            "keys belong to no destination": f"destination NOT IN {known}",
            "keys have a hash of a wrong length": (
                f"length(key) <> {KEY_BYTES} OR length(body) <> {KEY_BYTES}"
            ),
        }
        for problem, condition in checks.items():
            (count,) = self._database.rows(
                f"SELECT count(*) FROM ledger_entries WHERE {condition}"  # noqa: S608 - constants
            )[0]
            if count:
                problems.append(f"{count:,} {problem}")
        return problems

    def close(self) -> None:
        """Close the database and release all locks."""
        self._database.close()


_ADD_DESTINATION = """INSERT INTO ledger_destinations
    VALUES (:id, :target, :account, :collection, :stream) ON CONFLICT DO NOTHING"""
_DOUBT = "UPDATE ledger_entries SET body = NULL WHERE key = :key"
_TAKE = (
    "INSERT INTO ledger_entries (key, destination, body, taken_at) "
    "VALUES (:key, :destination, :body, :now) ON CONFLICT (key) DO UPDATE SET "
    "destination = excluded.destination, body = excluded.body, taken_at = excluded.taken_at"
)
_SIGHT = (
    "INSERT INTO ledger_entries (key, destination, seen, identifiers) "
    "VALUES (:key, :destination, :seen, :identifiers) ON CONFLICT (key) DO UPDATE SET "
    "destination = excluded.destination, seen = excluded.seen, identifiers = excluded.identifiers"
)
_TAKE_KNOWN = (
    "UPDATE ledger_entries SET destination = ?, body = ?, taken_at = ? "
    "WHERE {row} = ? AND key = ?"  # without names it takes a quarter less time
)
_SIGHT_KNOWN = (
    "UPDATE ledger_entries SET destination = :destination, seen = :seen, "
    "identifiers = :identifiers WHERE {row} = :row AND key = :key"
)
_JOURNAL = "INSERT INTO ledger_journal VALUES (:lock, :sequence, :keys)"


def _split(keys: bytes) -> Iterator[bytes]:
    return (keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))
