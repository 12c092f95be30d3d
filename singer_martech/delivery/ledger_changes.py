"""The changes of a run to the ledger, collected so that few transactions are needed."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from singer_martech.delivery.ledger_results import Results
from singer_martech.delivery.ledger_tables import DELETION, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Entry, Parameters

_MAX_UNWRITTEN = 20_000
_NEVER_EQUAL = frozenset({DELETION, UNKNOWN})


class LedgerChanges:
    """The changes of a run that are not written yet.

    Attributes:
        sightings: Keys of mirrored streams that this full read contains.
        last_sequence: The sequence of the last record that was compared.
    """

    def __init__(self, store: LedgerStore, *, is_dry_run: bool) -> None:
        self.sightings: list[Parameters] = []
        self.last_sequence = 0
        self._store = store
        self._is_dry_run = is_dry_run
        self._in_progress: dict[bytes, int | None] = {}  # with the block that has the entry
        self._repeats: dict[bytes, int] = {}  # the other records in progress of these keys
        self._results = Results()
        self._journal: dict[int, bytearray] = {}
        self._is_journal_written = False

    def begin(
        self, records: Sequence[PendingRecord], entries: Mapping[bytes, Entry], lock: int
    ) -> list[PendingRecord]:
        """Return the changed ones of these records, which are in progress from now on.

        Those whose entries may be wrong once the next request is sent are added to the journal.

        Args:
            records: Records whose hashes are set.
            entries: The entries of their keys.
            lock: The lock of their destination.
        """
        in_progress, recent = self._in_progress, self._results.values
        journal = self._journal.setdefault(lock, bytearray())
        changed = []
        for record in records:
            key = record.key_hash
            if key in in_progress or key in recent:
                if self._is_repeated(key, record.body_hash):
                    continue
                journal += key
            else:
                entry = entries.get(key)
                if entry is not None:
                    body, block = entry
                    if body == record.body_hash:
                        continue
                    in_progress[key] = block
                    journal += key
                elif key:  # otherwise the vendor does not merge the record
                    in_progress[key] = None
            changed.append(record)
        return changed

    def _is_repeated(self, key: bytes, body: bytes) -> bool:
        """Whether the vendor accepted this body in this run, and no other of the key since."""
        if key in self._in_progress:
            self._repeats[key] = self._repeats.get(key, 0) + 1
            return False
        if self._results.body(key) == body:
            return True
        self._in_progress[key] = None
        return False

    def accept(
        self, destination: int, sequence: int, keys: Sequence[bytes], bodies: Sequence[bytes]
    ) -> None:
        """Record that the vendor accepted records of one stream.

        Args:
            destination: Their destination.
            sequence: The sequence of the first one.
            keys: The hashes of their keys.
            bodies: The hashes of their bodies.
        """
        if self._repeats or not _NEVER_EQUAL.isdisjoint(bodies) or not all(keys):
            for key, body in zip(keys, bodies, strict=True):
                self.settle(destination, sequence, key, body, is_accepted=True)
            return
        # common case
        self._results.blocks.update(map(self._in_progress.pop, keys, repeat(None)))
        self._results.accept(destination, sequence, keys, bodies)
        self._forget_if_dry()

    def settle(
        self, destination: int, sequence: int, key: bytes, body: bytes, *, is_accepted: bool
    ) -> None:
        """Record whether the vendor accepted a record; see ``accept``."""
        if not key:
            return
        results = self._results
        others = self._repeats.pop(key, 0)
        results.blocks.add(self._in_progress.get(key))
        if others > 1:
            self._repeats[key] = others - 1
        elif not others:
            self._in_progress.pop(key, None)
        if is_accepted and body not in _NEVER_EQUAL:
            results.accept(destination, sequence, [key], [body])
        elif is_accepted and body == DELETION and not others:
            results.delete(destination, sequence, key)
        else:
            results.doubt(destination, sequence, [key])
        self._forget_if_dry()

    def _forget_if_dry(self) -> None:
        if self._is_dry_run:
            self._results = Results()

    def before_send(self) -> None:
        """Commit the keys of a request before it is sent.

        Raises:
            LedgerError: It cannot be written.
        """
        sent, self._journal = self._journal, {}
        journal = [(lock, self.last_sequence, bytes(keys)) for lock, keys in sent.items() if keys]
        if self._is_dry_run or not (journal or self.sightings):
            return
        if self._results.has_deletions and self.sightings:
            self.write()  # otherwise a deletion would remove a key that was loaded again
        self._store.write_ahead(journal, self.sightings)
        self._is_journal_written = self._is_journal_written or bool(journal)
        self.sightings = []

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
        if len(self._results) > _MAX_UNWRITTEN or len(self.sightings) > _MAX_UNWRITTEN:
            self.write()

    def write_if_any(self) -> None:
        """Write all changes before a STATE.

        Raises:
            LedgerError: They cannot be written.
        """
        if not self._is_dry_run and (self._results or self.sightings):
            self.write()

    def write(self) -> None:
        """Write all changes; a dry run remembers sightings until its end.

        Raises:
            LedgerError: They cannot be written.
        """
        if self._is_dry_run:
            self._store.remember_sighted(self.sightings)
        else:
            self._store.write_settled(self._results, self.sightings)
        self._results, self.sightings = Results(), []
