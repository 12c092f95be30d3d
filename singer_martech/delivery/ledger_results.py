"""The results of records, until they are written to the ledger."""

from __future__ import annotations

import time
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_tables import IN_DOUBT, KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TIME = Struct(">q")
DOUBTED = IN_DOUBT + _TIME.pack(0)
"""The value of a key whose body at the vendor is not known."""
DELETED = b""
"""The value of a key that the vendor deleted."""


class Results:
    """The results of records that are not written yet; the last one of a key counts.

    Attributes:
        values: Body and time by key; ``DOUBTED`` or ``DELETED``.
        blocks: The blocks that have entries of these keys; None for one that is not known.
        destinations: The destinations of the records.
        has_deletions: Whether a key was deleted.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.blocks: set[int | None] = set()
        self.destinations: set[int] = set()
        self.has_deletions = False
        self._parts: list[tuple[int, int, Sequence[bytes]]] = []
        self._count = 0

    def __len__(self) -> int:
        """Count the records."""
        return self._count

    def accept(
        self, destination: int, sequence: int, keys: Sequence[bytes], bodies: Iterable[bytes]
    ) -> None:
        """Add records that the vendor accepted, given the sequence of the first one."""
        now = _TIME.pack(int(time.time()))
        self._add(destination, sequence, keys, [body + now for body in bodies])

    def doubt(self, destination: int, sequence: int, keys: Sequence[bytes]) -> None:
        """Add records after which the body at the vendor is not known."""
        self._add(destination, sequence, keys, [DOUBTED] * len(keys))

    def delete(self, destination: int, sequence: int, key: bytes) -> None:
        """Add a record with which the vendor deleted its key."""
        self._add(destination, sequence, [key], [DELETED])
        self.has_deletions = True

    def _add(
        self, destination: int, sequence: int, keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        self.values.update(zip(keys, values, strict=True))
        self.destinations.add(destination)
        self._parts.append((sequence, destination, keys))
        self._count += len(keys)

    def body(self, key: bytes) -> bytes:
        """Return the body that the vendor accepted last for a key that has a result."""
        return self.values[key][:KEY_BYTES]

    def known_blocks(self) -> set[int]:
        """Return the blocks that have entries of these keys, as far as known."""
        return {block for block in self.blocks if block is not None}

    def owners(self) -> dict[bytes, int]:
        """Return the destination of each key, in the order of the input."""
        owners: dict[bytes, int] = {}
        in_order = sorted(self._parts, key=itemgetter(0))
        for _, destination, keys in (*in_order, *self._parts):  # the last result counts
            owners.update(dict.fromkeys(keys, destination))
        return owners
