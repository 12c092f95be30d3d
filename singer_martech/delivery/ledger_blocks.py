"""The entries of a ledger, in blocks.

A block has the entries of up to ``BLOCK_ENTRIES`` keys of one destination, in the order of the
input. Most taps read records in the same order each time. So a lookup reads the blocks that follow
those of the previous one, and a change of many records writes few blocks.

An entry has the hash of a key, the hash of the body that the vendor accepted last (``IN_DOUBT`` if
it is not known), and the time when it did, in seconds since 1970.
"""

from __future__ import annotations

from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_results import DELETED, DOUBTED
from singer_martech.delivery.ledger_tables import IN_DOUBT, KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from singer_martech.delivery.ledger_results import Results
    from singer_martech.delivery.ledger_tables import Database, Statement

BLOCK_ENTRIES = 25
"""Four such blocks fill a page of SQLite. Larger ones cost more if the order is another."""
ENTRY = Struct(f">{KEY_BYTES}s{KEY_BYTES}sq")
"""Key, body and time."""
PLACES = "SELECT key, block FROM ledger_entries WHERE key IN :values"
"""The block of each of these keys."""

_KEY_AND_BODY = Struct(f"{KEY_BYTES}s{KEY_BYTES}s{ENTRY.size - 2 * KEY_BYTES}x")
_KEY_AND_VALUE = Struct(f"{KEY_BYTES}s{ENTRY.size - KEY_BYTES}s")
_MARGIN = 2
"""Blocks that are read beyond the expected ones: the first and the last one have other keys too."""
_MAX_SEARCHED = 0.16
"""Share of keys in blocks that were not expected, above which the order is another."""


class Entries:
    """The entries that lookups found, perhaps with those of other keys.

    Args:
        taken_after: Bodies that the vendor accepted earlier are in doubt.

    Attributes:
        bodies: The hash of the body of each key.
        blocks: The block that has the entry of each key.
    """

    def __init__(self, taken_after: float | None = None) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self.blocks: dict[bytes, int] = {}
        self._taken_after = taken_after

    def add(self, block: int, entries: bytes) -> None:
        """Add the entries of a block."""
        if self._taken_after is None:
            bodies = dict(_KEY_AND_BODY.iter_unpack(entries))
        else:
            bodies = {
                key: body if taken_at >= self._taken_after else IN_DOUBT
                for key, body, taken_at in ENTRY.iter_unpack(entries)
            }
        self.bodies.update(bodies)
        self.blocks.update(dict.fromkeys(bodies, block))

    def add_one(self, key: bytes, block: int, entries: bytes) -> None:
        """Add the entry of one key of a block."""
        at = entries.find(key)
        while at > 0 and at % ENTRY.size:  # a part of another entry
            at = entries.find(key, at + 1)
        if at >= 0:  # otherwise the ledger is damaged, and the key counts as unknown
            self.add(block, entries[at : at + ENTRY.size])


class LedgerBlocks:
    """Reads and writes entries, in a database that has the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expected: dict[int, int] = {}

    def lookup(self, destination: int, keys: Sequence[bytes], found: Entries) -> None:
        """Add the entries of keys.

        Args:
            destination: The destination of most of the keys.
            keys: Distinct keys, in the order of the input.
            found: Receives the entries.
        """
        blocks = found.blocks
        expected = self._expected.pop(destination, None)
        if expected is not None:
            limit = len(keys) // BLOCK_ENTRIES + _MARGIN
            for block, entries in self._database.rows(
                _BLOCKS_FROM, destination=destination, first=expected, limit=limit
            ):
                found.add(block, entries)
        left = [key for key in keys if key not in blocks]
        searched = set()
        for key, block, entries in self._database.rows_in(_ENTRIES, left):
            found.add_one(key, block, entries)
            searched.add(block)
        if len(searched) <= _MAX_SEARCHED * len(keys):
            last = next((blocks[key] for key in reversed(keys) if key in blocks), expected)
            if last is not None:
                self._expected[destination] = last

    def write(self, results: Results) -> Iterator[Statement]:
        """Yield the statements that write results; to be executed in one transaction."""
        values, owners = results.values, results.owners()
        blocks = self._read({block for block in results.blocks if block is not None})
        missing = _missing(values, blocks)
        if missing:
            places = self._database.rows_in(PLACES, missing)
            blocks.update(self._read({block for _, block in places}))
            missing = _missing(values, blocks)
        new = {key for key in missing if values[key] not in {DELETED, DOUBTED}}
        new.update(_change(blocks, values, owners))
        if results.has_deletions:
            deleted = [{"key": key} for key, value in values.items() if value == DELETED]
            yield _DELETE_ENTRY, deleted
            yield _DELETE_MIRRORED, deleted
        yield (
            _WRITE_BLOCK,
            [
                {"id": block, "entries": _packed(entries)}
                for block, (_, entries) in blocks.items()
                if entries
            ],
        )
        yield (
            _DELETE_BLOCK,
            [{"id": block} for block, (_, entries) in blocks.items() if not entries],
        )
        if new:
            yield from self._add({key: owners[key] for key in owners if key in new}, values)

    def _read(self, ids: Collection[int]) -> _Blocks:
        rows = self._database.rows_in(_BLOCKS + self._database.for_update, ids)
        return {
            block: (destination, dict(_KEY_AND_VALUE.iter_unpack(entries)))
            for block, destination, entries in rows
        }

    def _add(self, keys: Mapping[bytes, int], values: Mapping[bytes, bytes]) -> Iterator[Statement]:
        """Yield the statements that add keys without an entry.

        Args:
            keys: The destination of each key, in the order of the input.
            values: The values of the keys.
        """
        by_destination: dict[int, list[bytes]] = {}
        for key, destination in keys.items():
            by_destination.setdefault(destination, []).append(key)
        parts = [
            (destination, part[start : start + BLOCK_ENTRIES])
            for destination, part in by_destination.items()
            for start in range(0, len(part), BLOCK_ENTRIES)
        ]
        yield _RESERVE_BLOCKS, [{"count": len(parts)}]
        ((last,),) = self._database.rows(_LAST_BLOCK)
        numbered = list(enumerate(parts, last - len(parts) + 1))
        yield (
            _ADD_BLOCK,
            [
                {
                    "id": block,
                    "destination": destination,
                    "entries": _packed({key: values[key] for key in part}),
                }
                for block, (destination, part) in numbered
            ],
        )
        places = sorted((key, block) for block, (_, part) in numbered for key in part)
        yield _PLACE, [{"key": key, "block": block} for key, block in places]
        yield (
            _MOVE_MIRRORED,
            [
                {"key": key, "destination": keys[key]}
                for (key,) in self._database.rows_in(_MIRRORED, keys)
            ],
        )


if TYPE_CHECKING:
    _Blocks = dict[int, tuple[int, dict[bytes, bytes]]]

_BLOCKS_FROM = (
    "SELECT id, entries FROM ledger_blocks WHERE destination = :destination AND id >= :first "
    "ORDER BY id LIMIT :limit"
)
_BLOCKS = "SELECT id, destination, entries FROM ledger_blocks WHERE id IN :values ORDER BY id"
_ENTRIES = (
    "SELECT e.key, b.id, b.entries FROM ledger_entries e JOIN ledger_blocks b ON b.id = e.block "
    "WHERE e.key IN :values"
)
_PLACE = (
    "INSERT INTO ledger_entries (key, block) VALUES (:key, :block) "
    "ON CONFLICT (key) DO UPDATE SET block = excluded.block"
)
_RESERVE_BLOCKS = "UPDATE ledger_format SET last_block = last_block + :count"
_LAST_BLOCK = "SELECT last_block FROM ledger_format"
_ADD_BLOCK = (
    "INSERT INTO ledger_blocks (id, destination, entries) VALUES (:id, :destination, :entries)"
)
_WRITE_BLOCK = "UPDATE ledger_blocks SET entries = :entries WHERE id = :id"
_DELETE_BLOCK = "DELETE FROM ledger_blocks WHERE id = :id"
_DELETE_ENTRY = "DELETE FROM ledger_entries WHERE key = :key"
_DELETE_MIRRORED = "DELETE FROM ledger_mirror WHERE key = :key"
_MIRRORED = "SELECT key FROM ledger_mirror WHERE key IN :values"
_MOVE_MIRRORED = "UPDATE ledger_mirror SET destination = :destination WHERE key = :key"


def _missing(values: Mapping[bytes, bytes], blocks: _Blocks) -> set[bytes]:
    """Return the keys without an entry in these blocks."""
    missing = set(values)
    for _, entries in blocks.values():
        missing.difference_update(entries)
    return missing


def _change(
    blocks: _Blocks, values: Mapping[bytes, bytes], owners: Mapping[bytes, int]
) -> list[bytes]:
    """Change the entries in blocks; return the keys that another destination has now."""
    moved = []
    for destination, entries in blocks.values():
        for key in entries.keys() & values.keys():
            value = values[key]
            is_moved = owners[key] != destination and value != DOUBTED
            if is_moved and value != DELETED:
                moved.append(key)
            if is_moved or value == DELETED:
                del entries[key]
            else:
                entries[key] = value
    return moved


def _packed(entries: Mapping[bytes, bytes]) -> bytes:
    return b"".join(chain.from_iterable(entries.items()))
