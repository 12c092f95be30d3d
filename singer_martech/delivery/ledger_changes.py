"""The changes of a run to the ledger, collected so that few transactions are needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from singer_martech.delivery.ledger_tables import KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from singer_martech.delivery.batch import Mark
    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Parameters
    from singer_martech.delivery.metrics import StreamMetrics

_MAX_UNWRITTEN = 20_000

DELETION = bytes(KEY_BYTES)
"""The hash of the body of a deletion."""
UNKNOWN = b"\xff" * KEY_BYTES
"""The hash of a body that is never compared."""


class LedgerChanges:
    """The changes of a run that are not written yet.

    Attributes:
        in_progress: The number of records in progress for each key that has any.
        settled: Destination, body and sequence of each key with a result that is not written yet.
        rows: The rows of entries that may change.
        sightings: Entries of mirrored keys that this full read contains.
        last_sequence: The sequence of the last record that was compared.
    """

    def __init__(self, store: LedgerStore, *, is_dry_run: bool) -> None:
        self.in_progress: dict[bytes, int] = {}
        self.settled: dict[bytes, tuple[int, bytes, int]] = {}
        self.rows: dict[bytes, int | None] = {}
        self.sightings: list[dict[str, Any]] = []
        self.last_sequence = 0
        self._store = store
        self._is_dry_run = is_dry_run
        self._journal: dict[int, bytearray] = {}
        self._has_deletions = False
        self._is_journal_written = False

    def add_to_journal(self, lock: int, key: bytes) -> None:
        """Add a key to the journal: its entry may be wrong once the next request is sent."""
        keys = self._journal.get(lock)
        if keys is None:
            keys = self._journal[lock] = bytearray()
        keys += key

    def settle(
        self,
        results: Iterable[tuple[Mark, bool]],
        destinations: Mapping[StreamMetrics, int],
    ) -> None:
        """Record whether the vendor accepted records, given the destination of each stream."""
        in_progress, settled = self.in_progress, self.settled
        for (mark, metrics, sequence), is_accepted in results:
            if not mark:
                continue
            key, body = mark[:KEY_BYTES], mark[KEY_BYTES:]
            others = in_progress.pop(key, 1) - 1
            if others:
                in_progress[key] = others
            if not is_accepted or (others and body == DELETION):
                body = UNKNOWN
            elif body == DELETION:
                self._has_deletions = True
            settled[key] = (destinations[metrics], body, sequence)
        if self._is_dry_run:
            self.settled.clear()
            self.rows.clear()

    def before_send(self) -> None:
        """Commit the keys of a request before it is sent.

        Raises:
            LedgerError: It cannot be written.
        """
        if self._is_dry_run or not (self._journal or self.sightings):
            return
        if self._has_deletions and self.sightings:
            self.write()  # otherwise a deletion would remove a key that was loaded again
        self._store.write_ahead(
            [(lock, self.last_sequence, bytes(keys)) for lock, keys in self._journal.items()],
            self.sightings,
        )
        self._is_journal_written = self._is_journal_written or bool(self._journal)
        self._journal, self.sightings = {}, []

    def trim_journal(self, locks: Iterable[int], first_unsettled: int | None) -> None:
        """Delete the journal of settled records.

        Raises:
            LedgerError: It cannot be written.
        """
        if self._is_journal_written:
            self._store.trim_journal(locks, first_unsettled)
            self._is_journal_written = first_unsettled is not None

    def write_if_many(self) -> None:
        """Write all changes if they use much memory.

        Raises:
            LedgerError: They cannot be written.
        """
        if len(self.settled) > _MAX_UNWRITTEN or len(self.sightings) > _MAX_UNWRITTEN:
            self.write()

    def write_if_any(self) -> None:
        """Write all changes before a STATE.

        Raises:
            LedgerError: They cannot be written.
        """
        if not self._is_dry_run and (self.settled or self.sightings):
            self.write()

    def write(self) -> None:
        """Write all changes; a dry run remembers sightings until its end.

        Raises:
            LedgerError: They cannot be written.
        """
        if self._is_dry_run:
            self._store.remember_sighted([each["key"] for each in self.sightings])
        else:
            self._write_settled()
        for key in self.settled:
            self.rows.pop(key, None)
        self.settled.clear()
        self.sightings, self._has_deletions = [], False

    def _write_settled(self) -> None:
        rows, settled = self.rows, self.settled
        known: list[tuple[int, bytes, int, int, bytes]] = []
        new: list[Parameters] = []
        doubted: list[bytes] = []
        deleted: list[bytes] = []
        now = int(time.time())
        for key, (destination, body, _) in settled.items():
            if body == UNKNOWN:
                doubted.append(key)
            elif body == DELETION:
                deleted.append(key)
            else:
                row = rows.get(key)
                if row is None:
                    new.append({"key": key, "destination": destination, "body": body, "now": now})
                else:
                    known.append((destination, body, now, row, key))
        # rows in the order of the input are near each other when the next run reads them
        new.sort(key=lambda entry: settled[entry["key"]][2])
        self._store.write_settled(known, new, doubted, deleted, self.sightings)
