"""The entries of a ledger, in blocks.

A block has the entries of up to ``BLOCK_ENTRIES`` keys of one destination, in the order of the
input. Most taps read records in the same order each time. So a lookup reads the blocks that follow
those of the previous one, and a change of many records writes few blocks.

An entry has the hash of a key, the hash of the body that the vendor accepted last (``IN_DOUBT`` if
it is not known), and the time when it did, in seconds since 1970.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_results import DELETED, DOUBTED
from singer_martech.delivery.ledger_tables import IN_DOUBT, KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import Any

    from singer_martech.delivery.ledger_results import Results
    from singer_martech.delivery.ledger_tables import Database, Entry, Statement

    _Part = tuple[int, list[bytes]]

BLOCK_ENTRIES = 50
"""Two such blocks fill a page of SQLite. A row costs as much as its entries: SQLite releases the
interpreter's lock for each."""
ENTRY = Struct(f">{KEY_BYTES}s{KEY_BYTES}sq")
"""Key, body and time."""
PLACES = "SELECT key, block FROM ledger_entries WHERE key IN :values"
"""Selects the block of each of these keys."""

_KEY_AND_BODY = Struct(f"{KEY_BYTES}s{KEY_BYTES}s{ENTRY.size - 2 * KEY_BYTES}x")
_KEY_AND_VALUE = Struct(f"{KEY_BYTES}s{ENTRY.size - KEY_BYTES}s")
_MARGIN = 2
"""Blocks that are read beyond the expected ones: the first and the last one have other keys too."""
_MAX_SEARCHED = 0.16
"""Share of keys in blocks that were not expected, above which the order is another."""


class LedgerBlocks:
    """Reads and writes entries, in a database that has the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expected: dict[int, int] = {}

    def lookup(
        self, destination: int, keys: dict[bytes, None], taken_after: float
    ) -> dict[bytes, Entry]:
        """Return the body and the block of keys that have an entry, and perhaps of other keys.

        Args:
            destination: The destination of most of the keys.
            keys: Keys, in the order of the input; an empty one has no entry.
            taken_after: A body that the vendor accepted earlier counts as ``IN_DOUBT``.
        """
        expected = self._expected.pop(destination, None)
        found: dict[bytes, Entry] = {}
        if expected is not None:
            found = self._read_on(destination, expected, len(keys), taken_after)
        left = [key for key in keys if key and key not in found]
        searched = set()
        for key, block, entries in self._database.rows_in(_ENTRIES, left):
            searched.add(block)
            at = entries.find(key)
            while at > 0 and at % ENTRY.size:  # a part of another entry
                at = entries.find(key, at + 1)
            if at >= 0:  # otherwise the ledger is damaged, and the key counts as new
                _, body, taken_at = ENTRY.unpack_from(entries, at)
                found[key] = body if taken_at >= taken_after else IN_DOUBT, block
        if len(searched) <= _MAX_SEARCHED * len(keys):
            last = next((found[key][1] for key in reversed(keys) if key in found), expected)
            if last is not None:
                self._expected[destination] = last
        return found

    def _read_on(
        self, destination: int, first: int, count: int, taken_after: float
    ) -> dict[bytes, Entry]:
        """Return the entries from a block on, about as many as given, as ``lookup`` does."""
        found: dict[bytes, Entry] = {}
        limit = count // BLOCK_ENTRIES + _MARGIN
        rows = self._database.rows(_BLOCKS_FROM, destination=destination, first=first, limit=limit)
        for block, entries in rows:
            if taken_after:
                for key, body, taken_at in ENTRY.iter_unpack(entries):
                    found[key] = body if taken_at >= taken_after else IN_DOUBT, block
            else:  # common case
                for key, body in _KEY_AND_BODY.iter_unpack(entries):
                    found[key] = body, block
        return found

    def write(self, results: Results) -> Iterator[Statement]:
        """Yield the statements that write results; to be executed in one transaction."""
        left = dict(results.values)
        yield from self._change(results.known_blocks(), left, results)
        if left:  # they are new, or in blocks that were not known
            places = self._database.rows_in(PLACES, left)
            yield from self._change({block for _, block in places}, left, results)
        if results.has_deletions:
            yield from _deletions(results.values)
        yield from self._add(left, results)

    def _change(
        self, ids: Collection[int], left: dict[bytes, bytes], results: Results
    ) -> Iterator[Statement]:
        """Yield the statements that change the entries of keys in blocks.

        Args:
            ids: The blocks.
            left: The values of the keys; those of changed entries are removed.
            results: The results that have the values.
        """
        changed = self._changed(ids, left, results)
        yield _WRITE_BLOCK, changed
        yield _DELETE_BLOCK, [each for each in changed if not each["entries"]]

    def _changed(
        self, ids: Collection[int], left: dict[bytes, bytes], results: Results
    ) -> list[dict[str, Any]]:
        """Return the blocks with their changed entries; see ``_change``."""
        changed = []
        owners: dict[bytes, int] = {}
        for block, destination, entries in self._database.rows_in(
            _BLOCKS + self._database.for_update, ids
        ):
            pairs = _KEY_AND_VALUE.iter_unpack(entries)
            if results.destinations == {destination} and not results.has_deletions:  # common case
                pop = left.pop
                kept = [key + pop(key, value) for key, value in pairs]
            else:
                owners = owners or results.owners()
                kept = list(_kept(pairs, destination, left, owners))
            changed.append({"id": block, "entries": b"".join(kept)})
        return changed

    def _add(self, left: Mapping[bytes, bytes], results: Results) -> Iterator[Statement]:
        """Yield the statements that add keys without an entry.

        Args:
            left: The values of the keys; those that were deleted or are in doubt are not added.
            results: The results that have the values.
        """
        values = _added(left)
        if not values:
            return
        owners = results.owners()
        parts = _parts(values, owners)
        yield _RESERVE_BLOCKS, [{"count": len(parts)}]
        ((last,),) = self._database.rows(_LAST_BLOCK)
        numbered = list(enumerate(parts, last - len(parts) + 1))
        yield _ADD_BLOCK, _rows(numbered, values)
        yield _PLACE, _places(numbered)
        mirrored = self._database.rows_in(_MIRRORED, values)
        yield _MOVE_MIRRORED, [{"key": key, "destination": owners[key]} for (key,) in mirrored]


def _deletions(values: Mapping[bytes, bytes]) -> Iterator[Statement]:
    deleted = [{"key": key} for key, value in values.items() if value == DELETED]
    yield _DELETE_ENTRY, deleted
    yield _DELETE_MIRRORED, deleted


def _added(left: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in left.items() if value not in {DELETED, DOUBTED}}


def _parts(values: Collection[bytes], owners: Mapping[bytes, int]) -> list[_Part]:
    """Return the destination and the keys of each block to add."""
    by_destination: dict[int, list[bytes]] = {}
    for key, destination in owners.items():
        if key in values:
            by_destination.setdefault(destination, []).append(key)
    return [
        (destination, keys[start : start + BLOCK_ENTRIES])
        for destination, keys in by_destination.items()
        for start in range(0, len(keys), BLOCK_ENTRIES)
    ]


def _rows(
    numbered: Iterable[tuple[int, _Part]], values: Mapping[bytes, bytes]
) -> list[dict[str, Any]]:
    return [
        {
            "id": block,
            "destination": destination,
            "entries": b"".join([key + values[key] for key in keys]),
        }
        for block, (destination, keys) in numbered
    ]


def _places(numbered: Iterable[tuple[int, _Part]]) -> list[dict[str, Any]]:
    places = sorted((key, block) for block, (_, keys) in numbered for key in keys)
    return [{"key": key, "block": block} for key, block in places]


def _kept(
    pairs: Iterable[tuple[bytes, bytes]],
    destination: int,
    left: dict[bytes, bytes],
    owners: Mapping[bytes, int],
) -> Iterator[bytes]:
    """Yield the entries that remain in a block; see ``LedgerBlocks._change``."""
    for key, value in pairs:
        new = left.get(key)
        if new is None:
            yield key + value
        elif new in {DELETED, DOUBTED} or owners[key] == destination:
            del left[key]
            if new != DELETED:
                yield key + new


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
