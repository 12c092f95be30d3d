"""Read and write the tables of a ledger."""

from __future__ import annotations

import secrets
from itertools import chain
from typing import TYPE_CHECKING

from singer_martech.delivery import ledger_inspection
from singer_martech.delivery.ledger_blocks import ENTRY, LedgerBlocks
from singer_martech.delivery.ledger_results import Results
from singer_martech.delivery.ledger_tables import (
    FORMAT,
    KEY_BYTES,
    TABLES,
    LedgerError,
    Scope,
)
from singer_martech.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from singer_martech.delivery.ledger_tables import Database, Entry, Parameters, Summary

_PAGE_ROWS = 1000
_PAGE_KEYS = 20_000


class LedgerStore:
    """Reads and writes the tables.

    Attributes:
        name: The name of the database.
        seed: The seed of the bodies' hashes, a random number of 63 bits.
    """

    def __init__(self, database: Database, *, must_exist: bool = False) -> None:
        """Create the tables if they do not exist.

        Args:
            database: The database.
            must_exist: Create none.

        Raises:
            LedgerError: The database cannot be used, or has no tables though it must.
            SettingError: The tables were written by another version.
        """
        self._database = database
        self.name = database.name
        self._locked: set[int] = set()
        self._has_sighted = False
        self._blocks = LedgerBlocks(database)
        if not must_exist:
            types = {"binary": database.binary, "clustered": database.clustered}
            database.write((table.format(**types), [{}]) for table in TABLES)
        formats = database.rows("SELECT format FROM ledger_format")
        if not formats:
            database.write([(_ADD_FORMAT, [{"format": FORMAT, "seed": secrets.randbits(63)}])])
        elif formats[0][0] != FORMAT:
            raise SettingError(
                f"setting 'ledger': {self.name} has format {formats[0][0]}, but this version knows "
                f"format {FORMAT}; name another ledger, or use the version that wrote it"
            )
        ((self.seed,),) = database.rows("SELECT seed FROM ledger_format")

    def open(self, scope: Scope, *, reset: bool = False) -> None:
        """Lock a destination, and add it if it does not exist.

        Raises:
            LedgerError: Another run uses it.
        """
        self.lock(scope)
        if reset:
            self.forget(scope)
        self._database.write([(_ADD_DESTINATION, [{"id": scope.id, **scope._asdict()}])])

    def lock(self, scope: Scope) -> None:
        """Lock a destination against other runs, and recover from a killed one.

        Raises:
            LedgerError: One uses it now.
        """
        if scope.lock in self._locked:
            return  # the journal is that of this run
        if not self._database.lock(scope.lock):
            raise LedgerError(
                f"ledger {self.name}: another run is using it for {scope}; run one after the other"
            )
        self._locked.add(scope.lock)
        self._recover(scope.lock)

    def _recover(self, lock: int) -> None:
        """Mark the keys that a killed run was sending as in doubt."""
        rows = self._database.rows("SELECT keys FROM ledger_journal WHERE lock = :id", id=lock)
        for (keys,) in rows:
            for start in range(0, len(keys), _PAGE_KEYS * KEY_BYTES):
                results = Results()
                results.doubt(0, 0, _split(keys[start : start + _PAGE_KEYS * KEY_BYTES]))
                self._database.write(self._blocks.write(results))
        if rows:
            self._database.write([("DELETE FROM ledger_journal WHERE lock = :id", [{"id": lock}])])

    def lookup(
        self, destination: int, keys: dict[bytes, None], taken_after: float
    ) -> dict[bytes, Entry]:
        """See :meth:`singer_martech.delivery.ledger_blocks.LedgerBlocks.lookup`."""
        return self._blocks.lookup(destination, keys, taken_after)

    def write_ahead(
        self, journal: Iterable[tuple[int, int, bytes]], sightings: Sequence[Parameters]
    ) -> None:
        """Write the keys of a request before it is sent.

        Args:
            journal: Lock, last sequence and joined keys of the records being sent.
            sightings: ``key``, ``destination``, ``seen`` and ``identifiers`` of mirrored keys.
        """
        rows = [
            {"lock": lock, "sequence": sequence, "keys": keys} for lock, sequence, keys in journal
        ]
        self._database.write([(_JOURNAL, rows), (_SIGHT, sightings)])

    def write_settled(self, results: Results, sightings: Sequence[Parameters] = ()) -> None:
        """Write the results of records, and sightings as ``write_ahead`` does."""
        self._database.write(chain(self._blocks.write(results), [(_SIGHT, sightings)]))

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
        ((size,),) = self._database.rows(
            "SELECT coalesce(sum(length(entries)), 0) FROM ledger_blocks WHERE destination = :id",
            id=scope.id,
        )
        return int(size) // ENTRY.size + self._never_accepted().get(scope.id, 0)

    def _never_accepted(self) -> dict[int, int]:
        """Return, by destination, the number of mirrored keys without an entry."""
        return dict(
            self._database.rows(
                "SELECT destination, count(*) FROM ledger_mirror m WHERE NOT EXISTS "
                "(SELECT 1 FROM ledger_entries e WHERE e.key = m.key) GROUP BY destination"
            )
        )

    def remember_sighted(self, sightings: Sequence[Parameters]) -> None:
        """Treat keys as seen until ``close`` without writing them to the ledger, for a dry run."""
        if not self._has_sighted:
            binary = self._database.binary
            table = (
                "CREATE TEMPORARY TABLE ledger_sighted "
                f"(key {binary} PRIMARY KEY, destination BIGINT NOT NULL)"
            )
            self._database.write([(table, [{}])])
            self._has_sighted = True
        insert = "INSERT INTO ledger_sighted VALUES (:key, :destination) ON CONFLICT DO NOTHING"
        rows = [{"key": each["key"], "destination": each["destination"]} for each in sightings]
        self._database.write([(insert, rows)])

    def count_added(self, scope: Scope) -> int:
        """Return the number of keys that a dry run would add to a destination."""
        if not self._has_sighted:
            return 0
        ((added,),) = self._database.rows(_ADDED, id=scope.id)
        return int(added)

    def _not_sighted(self, key: str) -> str:
        sighted = " AND {key} NOT IN (SELECT key FROM ledger_sighted)"
        return sighted.format(key=key) if self._has_sighted else ""

    @property
    def _unseen(self) -> str:
        return f"destination = :id AND seen <> :version{self._not_sighted('key')}"

    def count_unseen(self, scope: Scope, version: int) -> tuple[int, int]:
        """Return how many keys were not in this full read, and how many have no identifiers."""
        ((unseen, named),) = self._database.rows(
            f"SELECT count(*), count(identifiers) FROM ledger_mirror WHERE {self._unseen}",  # noqa: S608 - constants
            id=scope.id,
            version=version,
        )
        unmirrored_keys = _UNMIRRORED + self._not_sighted("e.key")
        ((unmirrored,),) = self._database.rows(unmirrored_keys, id=scope.id)
        return unseen + unmirrored, unseen - named + unmirrored

    def unseen(self, scope: Scope, version: int) -> Iterator[bytes]:
        """Yield the identifiers of the keys that were not in this full read."""
        after = b""
        while rows := self._database.rows(
            f"SELECT key, identifiers FROM ledger_mirror WHERE {self._unseen} "  # noqa: S608 - constants
            "AND identifiers IS NOT NULL AND key > :after ORDER BY key LIMIT :limit",
            id=scope.id,
            version=version,
            after=after,
            limit=_PAGE_ROWS,
        ):
            for key, identifiers in rows:
                after = key
                yield identifiers

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
        return ledger_inspection.summaries(self._database, self.scopes(), self._never_accepted())

    def forget(self, scope: Scope) -> int:
        """Remove all entries of a locked destination; return the number of keys."""
        count = self.count(scope)
        self._database.write((statement, [{"id": scope.id}]) for statement in _FORGET)
        return count

    def problems(self) -> list[str]:
        """Return the errors found in the ledger."""
        with self._database.snapshot():
            return [
                *self._database.problems(),
                *ledger_inspection.problems(self._database, self.scopes()),
            ]

    def close(self) -> None:
        """Close the database and release all locks."""
        self._database.close()


_ADD_FORMAT = (  # once, if two runs create the tables at the same time
    "INSERT INTO ledger_format VALUES (:format, 0, :seed) ON CONFLICT DO NOTHING"
)
_ADD_DESTINATION = """INSERT INTO ledger_destinations
    VALUES (:id, :target, :account, :collection, :stream) ON CONFLICT DO NOTHING"""
_FORGET = (
    """DELETE FROM ledger_entries WHERE block IN
        (SELECT id FROM ledger_blocks WHERE destination = :id)""",
    "DELETE FROM ledger_blocks WHERE destination = :id",
    "DELETE FROM ledger_mirror WHERE destination = :id",
    "DELETE FROM ledger_destinations WHERE id = :id",
)
_UNMIRRORED = (
    "SELECT count(*) FROM ledger_entries e JOIN ledger_blocks b ON b.id = e.block "
    "WHERE b.destination = :id AND NOT EXISTS "
    "(SELECT 1 FROM ledger_mirror m WHERE m.key = e.key)"
)
_ADDED = (
    "SELECT count(*) FROM ledger_sighted s WHERE destination = :id "
    "AND NOT EXISTS (SELECT 1 FROM ledger_entries e WHERE e.key = s.key) "
    "AND NOT EXISTS (SELECT 1 FROM ledger_mirror m WHERE m.key = s.key)"
)
_SIGHT = (
    "INSERT INTO ledger_mirror (key, destination, seen, identifiers) "
    "VALUES (:key, :destination, :seen, :identifiers) ON CONFLICT (key) DO UPDATE SET "
    "destination = excluded.destination, seen = excluded.seen, identifiers = excluded.identifiers"
)
_JOURNAL = "INSERT INTO ledger_journal VALUES (:lock, :sequence, :keys)"


def _split(keys: bytes) -> list[bytes]:
    return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]
