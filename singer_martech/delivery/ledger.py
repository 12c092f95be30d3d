"""Send only changed records: compare each with the last body that the vendor accepted.

A record is processed in three steps. It is buffered, so that many keys are looked up at once. Then
it is compared: it is unchanged if the ledger has its body and no record of its key is in progress.
Otherwise it is passed to the dispatcher. When the vendor has accepted it, the ledger is updated,
before the STATE that covers it is written.

Before a request is sent, the keys whose entries it may invalidate are committed to a journal. If
the run is killed, they are in doubt, and the next run sends them again.
"""

from __future__ import annotations

import time
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from singer_martech._compat import override
from singer_martech.delivery.ledger_changes import LedgerChanges
from singer_martech.delivery.ledger_tables import DELETION, KEY_BYTES, UNKNOWN
from singer_martech.delivery.no_ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Entry, Parameters, Scope
    from singer_martech.delivery.metrics import StreamMetrics

_MAX_BUFFERED_RECORDS = 1000
"""More do not stay in the CPU's cache until they are sent."""


class StreamLedger:
    """One stream's part of the ledger.

    Args:
        ledger: The ledger of the run.
        scope: The destination of the stream's entries.
        metrics: The counts of the stream.
        keys_of: Returns the keys of records; None for a record that the vendor does not merge.
        header: The header of the bodies; with another one, all bodies count as changed.

    Attributes:
        keys_of: As given.
        version: Version of the full read, if the stream is mirrored.
    """

    def __init__(
        self,
        ledger: Ledger,
        scope: Scope,
        metrics: StreamMetrics,
        keys_of: Callable[[Sequence[PendingRecord]], Sequence[bytes | None]],
        header: bytes,
    ) -> None:
        self.scope = scope
        self.id = scope.id
        self.lock = scope.lock
        self.metrics = metrics
        self.version: int | None = None
        self.keys_of = keys_of
        self._ledger = ledger
        self._key_hash = blake2b(scope.account_digest, digest_size=KEY_BYTES, person=b"key")
        # A cryptographic hash of a body takes longer than all else that the ledger does with it.
        # Without the seed, nobody can prepare two bodies with the same hash.
        self._body_seed = ledger.store.seed ^ (xxh3_64_intdigest(header) if header else 0)

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Add a record, which is sent unless it is unchanged.

        Raises:
            MartechError: As for :meth:`singer_martech.delivery.dispatcher.Dispatcher.submit`.
        """
        self._ledger.add(self, destination, [record])

    def submit_all(self, destination: Destination, records: Sequence[PendingRecord]) -> None:
        """Add records in order; see ``submit``.

        Raises:
            MartechError: As for ``submit``.
        """
        self._ledger.add(self, destination, records)

    def set_hashes(self, records: Sequence[PendingRecord]) -> None:
        """Set the hashes of records; the key of one that the vendor does not merge has none."""
        new_key_hash, seed = self._key_hash.copy, self._body_seed
        for record, key in zip(records, self.keys_of(records), strict=True):
            if key is not None:
                key_hash = new_key_hash()
                key_hash.update(key)
                record.key_hash = key_hash.digest()
            if record.is_deletion:
                record.body_hash = DELETION
            elif record.idempotent:
                record.body_hash = xxh3_128_digest(record.body, seed)
            else:  # the vendor's state depends on more than this record
                record.body_hash = UNKNOWN

    def sightings(self, records: Iterable[PendingRecord]) -> list[Parameters]:
        """Return what a full read that contains these records says about their keys."""
        return [
            {
                "key": record.key_hash,
                "destination": self.id,
                "seen": self.version,
                "identifiers": record.identifiers,
            }
            for record in records
            if record.key_hash and not record.is_deletion
        ]

    def set_version(self, version: int | None) -> None:
        """Set the version of the records that follow."""
        if version != self.version:
            self._ledger.release()
            self.version = version


class Ledger(NoLedger):
    """The ledger of one run; used by the main thread only.

    Args:
        store: The database.
        resend_after_seconds: Age at which an unchanged record is sent again; None for never.
        is_dry_run: Whether nothing is written.
        reset: Whether the entries of a destination are removed first.
    """

    _submit_all: Callable[[Destination, Sequence[PendingRecord]], None]

    def __init__(
        self,
        store: LedgerStore,
        *,
        resend_after_seconds: float | None = None,
        is_dry_run: bool = False,
        reset: bool = False,
    ) -> None:
        self.store = store
        self.is_dry_run = is_dry_run
        self.is_reset = reset
        self._taken_after = 0.0
        if resend_after_seconds is not None:
            self._taken_after = time.time() - resend_after_seconds
        self._destinations: dict[StreamMetrics, int] = {}
        self._opened: set[Scope] = set()
        self._buffer: deque[_Buffered] = deque()
        self._buffered_records = 0
        self._changed: deque[tuple[Destination, list[PendingRecord]]] = deque()
        self._changes = LedgerChanges(store, is_dry_run=is_dry_run)

    @override
    def connect(self, submit_all: Callable[[Destination, Sequence[PendingRecord]], None]) -> None:
        self._submit_all = submit_all

    def stream(
        self,
        scope: Scope,
        metrics: StreamMetrics,
        keys_of: Callable[[Sequence[PendingRecord]], Sequence[bytes | None]],
        header: bytes = b"",
    ) -> StreamLedger:
        """Return a stream's part, locked for this run.

        Raises:
            LedgerError: Another run uses it.
        """
        if scope not in self._opened:
            if not self.is_dry_run:
                self.store.open(scope, reset=self.is_reset)
            self._opened.add(scope)
        metrics.unchanged = metrics.unchanged or 0
        self._destinations[metrics] = scope.id
        return StreamLedger(self, scope, metrics, keys_of, header)

    def add(
        self, stream: StreamLedger, destination: Destination, records: Sequence[PendingRecord]
    ) -> None:
        """Buffer records; compare and send all when the buffer is full."""
        last = self._buffer[-1] if self._buffer else None
        if last is not None and last.stream is stream and last.destination is destination:
            last.records.extend(records)
        else:
            self._buffer.append(_Buffered(stream, destination, [*records]))
        self._buffered_records += len(records)
        if self._buffered_records >= _MAX_BUFFERED_RECORDS:
            self.release()

    @override
    def release(self) -> None:
        self._send_changed()  # records that remained after an error
        if self._buffer:
            self._compare()
            self._send_changed()
        self._changes.write_if_many()

    @property
    @override
    def first_sequence(self) -> int | None:
        if self._changed:
            return self._changed[0][1][0].sequence
        return self._buffer[0].records[0].sequence if self._buffer else None

    def _compare(self) -> None:
        """Count the unchanged records of the buffer; the changed ones are to be sent."""
        changes = self._changes
        entries = self._look_up()
        while self._buffer:
            stream, destination, records = self._buffer[0]
            changed = changes.begin(records, entries, stream.lock)
            if stream.version is not None:
                changes.sightings += stream.sightings(records)
            if changed:
                self._changed.append((destination, changed))
            changes.last_sequence = records[-1].sequence
            self._buffer.popleft()
            metrics = stream.metrics
            metrics.unchanged = (metrics.unchanged or 0) + len(records) - len(changed)
        self._buffered_records = 0

    def _look_up(self) -> dict[bytes, Entry]:
        """Return the entries of the buffered records, whose hashes are set."""
        keys: dict[int, dict[bytes, None]] = {}
        for stream, _, records in self._buffer:
            stream.set_hashes(records)
            hashes = dict.fromkeys([record.key_hash for record in records])
            keys[stream.id] = {**keys[stream.id], **hashes} if stream.id in keys else hashes
        entries: dict[bytes, Entry] = {}
        if not (self.is_dry_run and self.is_reset):
            for destination, hashes in keys.items():
                found = self.store.lookup(destination, hashes, self._taken_after)
                entries = {**entries, **found} if entries else found
        return entries

    def _send_changed(self) -> None:
        while self._changed:
            destination, records = self._changed[0]
            try:
                self._submit_all(destination, records)  # an error blocks STATE at the rest
            finally:
                self._changed.popleft()

    @override
    def before_send(self) -> None:
        self._changes.before_send()

    @override
    def settle(self, batch_result: BatchResult) -> None:
        if batch_result.is_accepted:
            for metrics, sequence, keys, bodies in batch_result.batch.hashes():
                self._changes.accept(self._destinations[metrics], sequence, keys, bodies)
                self._changes.write_if_many()
            return
        for record, is_accepted in batch_result.fates():
            self._settle(record, is_accepted=is_accepted)
            self._changes.write_if_many()

    @override
    def drop(self, record: PendingRecord) -> None:
        self._settle(record, is_accepted=False)

    def _settle(self, record: PendingRecord, *, is_accepted: bool) -> None:
        self._changes.settle(
            self._destinations[record.metrics],
            record.sequence,
            record.key_hash,
            record.body_hash,
            is_accepted=is_accepted,
        )

    @override
    def before_state(self, first_unsettled: int | None) -> None:
        self._changes.write_if_any()
        self._changes.trim_journal({scope.lock for scope in self._opened}, first_unsettled)

    def flush(self) -> None:
        """Update the store when all records are settled.

        Raises:
            LedgerError: It cannot be written.
        """
        self._changes.write()

    @override
    def close(self) -> None:
        self.store.close()


class _Buffered(NamedTuple):
    """Consecutive records of one stream and destination."""

    stream: StreamLedger
    destination: Destination
    records: list[PendingRecord]
