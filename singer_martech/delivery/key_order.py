"""Keep order per key: two records of one key are never in flight together."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.destination import Destination

_MAX_HELD_RECORDS = 20_000
_MAX_HELD_BYTES = 64 * 1024 * 1024


class KeyOrder:
    """The keys in flight, and the records that wait for one of them.

    A waiting record is either held for its key or ready for a batch, never both.
    """

    def __init__(self) -> None:
        self._in_flight: set[Hashable] = set()
        self._held: dict[Hashable, deque[tuple[Destination, PendingRecord]]] = {}
        self._held_records = 0
        self._held_bytes = 0
        self.ready: deque[tuple[Destination, PendingRecord]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether the waiting records use all the memory allowed."""
        return self._held_records > _MAX_HELD_RECORDS or self._held_bytes > _MAX_HELD_BYTES

    def is_blocked(self, key: Hashable | None) -> bool:
        """Whether a record of this key must wait."""
        return key is not None and (key in self._in_flight or key in self._held)

    def are_free(self, records: Iterable[PendingRecord]) -> bool:
        """Whether no record must wait, neither for a key nor behind one that is ready."""
        if self.ready:
            return False
        if not self._in_flight and not self._held:
            return True
        keys = [record.key for record in records if record.key is not None]
        return self._in_flight.isdisjoint(keys) and self._held.keys().isdisjoint(keys)

    def start(self, keys: Iterable[Hashable]) -> None:
        """Record that a batch with these keys is in flight."""
        self._in_flight.update(keys)

    def hold_next(self) -> None:
        """Hold the first ready record until its key is free."""
        destination, record = self.ready[0]
        self._held.setdefault(record.key, deque()).append((destination, record))
        self.ready.popleft()
        self._held_records += 1
        self._held_bytes += record.size

    def finish(self, keys: Iterable[Hashable]) -> None:
        """Record that a batch is settled, which makes the records waiting for its keys ready."""
        self._in_flight.difference_update(keys)
        if not self._held:
            return
        for key in keys:
            waiting = self._held.get(key)
            if waiting is None:
                continue
            # in front: later records of the key may be ready behind those of other keys
            self.ready.extendleft(reversed(waiting))
            del self._held[key]
            self._held_records -= len(waiting)
            self._held_bytes -= sum(record.size for _, record in waiting)

    def first_sequence(self) -> int | None:
        """Return the smallest sequence of the waiting records."""
        sequences = [waiting[0][1].sequence for waiting in self._held.values() if waiting]
        sequences += [record.sequence for _, record in self.ready]
        return min(sequences, default=None)
