"""Describe and verify the content of a ledger, for the command ``singer-martech-ledger``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_blocks import ENTRY, PLACES
from singer_martech.delivery.ledger_tables import IN_DOUBT, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_martech.delivery.ledger_tables import Database, Scope

_PAGE_BLOCKS = 200


def summaries(
    database: Database, scopes: Sequence[Scope], never_accepted: Mapping[int, int]
) -> list[Summary]:
    """Return destinations with counts and dates.

    Args:
        database: The database.
        scopes: The destinations.
        never_accepted: By destination, the number of mirrored keys without an entry.
    """
    keys, in_doubt = Counter(never_accepted), Counter(never_accepted)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for page in _pages(database):
        for _, destination, entries in page:
            bodies = [(body, taken_at) for _, body, taken_at in ENTRY.iter_unpack(entries)]
            accepted = [taken_at for body, taken_at in bodies if body != IN_DOUBT]
            keys[destination] += len(bodies)
            in_doubt[destination] += len(bodies) - len(accepted)
            if accepted:
                first[destination] = min(*accepted, first.get(destination, accepted[0]))
                last[destination] = max(*accepted, last.get(destination, accepted[0]))
    return [
        Summary(scope, keys[scope.id], in_doubt[scope.id], first.get(scope.id), last.get(scope.id))
        for scope in scopes
    ]


def problems(database: Database, scopes: Sequence[Scope]) -> list[str]:
    """Return the errors found in blocks and entries."""
    known = {scope.id for scope in scopes}
    counts = Counter[str]()
    for page in _pages(database):
        blocks = dict[bytes, int]()
        for block, destination, entries in page:
            if len(entries) % ENTRY.size:
                counts["block(s) have a wrong length"] += 1
                continue
            keys = [key for key, _, _ in ENTRY.iter_unpack(entries)]
            blocks.update(dict.fromkeys(keys, block))
            counts["key(s) belong to no destination"] += len(keys) * (destination not in known)
            counts["key(s) without an entry"] -= len(keys)
        found = dict(database.rows_in(PLACES, blocks))
        counts["key(s) are in another block than the table of keys says"] += sum(
            found.get(key) != block for key, block in blocks.items()
        )
    ((total,),) = database.rows("SELECT count(*) FROM ledger_entries")
    counts["key(s) without an entry"] += total
    return [f"{abs(count):,} {problem}" for problem, count in counts.items() if count]


def _pages(database: Database) -> Iterator[list[tuple[int, int, bytes]]]:
    """Yield all blocks, some at a time, each with its destination and entries."""
    after = 0
    while page := database.rows(
        "SELECT id, destination, entries FROM ledger_blocks WHERE id > :after "
        "ORDER BY id LIMIT :limit",
        after=after,
        limit=_PAGE_BLOCKS,
    ):
        yield page
        after = page[-1][0]
