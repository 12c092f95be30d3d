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
from collections import Counter, deque
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.ledger_changes import DELETION, UNKNOWN, LedgerChanges
from singer_martech.delivery.ledger_tables import KEY_BYTES
from singer_martech.delivery.no_ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.ledger_key import RecordKey
    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Entry, Scope
    from singer_martech.delivery.metrics import StreamMetrics

_MAX_BUFFERED_RECORDS = 5000
_MAX_BUFFERED_BYTES = 8 * 1024 * 1024


class StreamLedger:
    """One stream's part of the ledger.

    Args:
        ledger: The ledger of the run.
        scope: The destination of the stream's entries.
        metrics: The counts of the stream.
        key_of: Returns the key of a record; None for a record that the vendor does not merge.

    Attributes:
        version: Version of the full read, if the stream is mirrored.
    """

    def __init__(
        self,
        ledger: Ledger,
        scope: Scope,
        metrics: StreamMetrics,
        key_of: Callable[[PendingRecord], RecordKey | None],
    ) -> None:
        self.scope = scope
        self.id = scope.id
        self.lock = scope.lock
        self.metrics = metrics
        self.version: int | None = None
        self.key_of = key_of
        self._ledger = ledger
        self._account = scope.account_digest

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Add a record, which is sent unless it is unchanged.

        Raises:
            MartechError: As for :meth:`singer_martech.delivery.dispatcher.Dispatcher.submit`.
        """
        self._ledger.add([(self, destination, record)])

    def submit_all(self, destination: Destination, records: Sequence[PendingRecord]) -> None:
        """Add records in order; see ``submit``.

        Raises:
            MartechError: As for ``submit``.
        """
        self._ledger.add([(self, destination, record) for record in records])

    def mark(self, record: PendingRecord) -> bytes:
        """Return the hashes of a record's key and body; nothing if the vendor does not merge it."""
        found = self.key_of(record)
        if found is None:
            return b""
        if found.is_deletion:
            body = DELETION
        elif record.idempotent:
            body = blake2b(record.body, digest_size=KEY_BYTES).digest()
        else:  # the vendor's state depends on more than this record
            body = UNKNOWN
        return blake2b(self._account + found.key, digest_size=KEY_BYTES).digest() + body

    def sighting(self, record: PendingRecord, key: bytes, row: int | None) -> dict[str, object]:
        """Return the entry of a mirrored key that this full read contains."""
        found = self.key_of(record)
        return {
            "key": key,
            "row": row,
            "destination": self.id,
            "seen": self.version,
            "identifiers": None if found is None else found.deletion,
        }

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
        self._reset = reset
        self._taken_after = 0.0
        if resend_after_seconds is not None:
            self._taken_after = time.time() - resend_after_seconds
        self._destinations: dict[StreamMetrics, int] = {}
        self._opened: set[Scope] = set()
        self._buffer: list[_Buffered] = []
        self._buffered_bytes = 0
        self._changed: deque[tuple[Destination, list[PendingRecord]]] = deque()
        self._changes = LedgerChanges(store, is_dry_run=is_dry_run)

    @override
    def connect(self, submit_all: Callable[[Destination, Sequence[PendingRecord]], None]) -> None:
        self._submit_all = submit_all

    def stream(
        self,
        scope: Scope,
        metrics: StreamMetrics,
        key_of: Callable[[PendingRecord], RecordKey | None],
    ) -> StreamLedger:
        """Return a stream's part, locked for this run.

        Raises:
            LedgerError: Another run uses it.
        """
        if scope not in self._opened:
            if not self.is_dry_run:
                self.store.open(scope, reset=self._reset)
            self._opened.add(scope)
        metrics.unchanged = metrics.unchanged or 0
        self._destinations[metrics] = scope.id
        return StreamLedger(self, scope, metrics, key_of)

    def add(self, records: Sequence[_Buffered]) -> None:
        """Buffer records; compare and send all when the buffer is full."""
        self._buffer += records
        self._buffered_bytes += sum(record.size for _, _, record in records)
        is_full = self._buffered_bytes > _MAX_BUFFERED_BYTES
        if is_full or len(self._buffer) >= _MAX_BUFFERED_RECORDS:
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
        return self._buffer[0][2].sequence if self._buffer else None

    def _compare(self) -> None:
        """Count the unchanged records of the buffer; the changed ones are to be sent."""
        changes = self._changes
        in_progress, settled = changes.in_progress, changes.settled
        entries = self._look_up()
        unchanged: list[StreamMetrics] = []
        for stream, destination, record in self._buffer:
            mark = record.mark
            if not mark:
                self._send_later(destination, record)
                continue
            key, body = mark[:KEY_BYTES], mark[KEY_BYTES:]
            entry = entries.get(key)
            count = in_progress.get(key, 0)
            recent = settled.get(key)
            is_first = not count and recent is None
            if recent is not None:
                is_known = recent[1] == body and body not in _NEVER_EQUAL
            else:
                is_known = entry is not None and entry[1] == body and entry[2] >= self._taken_after
            if is_known and not count:
                unchanged.append(record.metrics)
            else:
                in_progress[key] = count + 1
                if entry is not None or not is_first:
                    changes.add_to_journal(stream.lock, key)
                if entry is not None and is_first:
                    changes.rows[key] = entry[4]
                self._send_later(destination, record)
            if (
                stream.version is not None
                and body != DELETION
                and (entry is None or entry[3] != stream.version)
            ):
                row = entry[4] if entry is not None and is_first else None
                changes.sightings.append(stream.sighting(record, key, row))
        changes.last_sequence = self._buffer[-1][2].sequence
        self._buffer, self._buffered_bytes = [], 0
        for metrics, number in Counter(unchanged).items():
            metrics.unchanged = (metrics.unchanged or 0) + number

    def _look_up(self) -> dict[bytes, Entry]:
        """Return the entries of the buffered records, whose hashes are set."""
        keys: dict[bytes, None] = {}
        for stream, _, record in self._buffer:
            record.mark = mark = stream.mark(record)
            if mark:
                keys[mark[:KEY_BYTES]] = None
        return {} if self.is_dry_run and self._reset else self.store.lookup(list(keys))

    def _send_later(self, destination: Destination, record: PendingRecord) -> None:
        """Add a changed record to the last group, which has one destination and stream."""
        if self._changed:
            last, records = self._changed[-1]
            if last is destination and records[-1].metrics is record.metrics:
                records.append(record)
                return
        self._changed.append((destination, [record]))

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
        results = batch_result.fates()
        while some := list(islice(results, _MAX_BUFFERED_RECORDS)):  # a batch may be very large
            self._changes.settle(some, self._destinations)
            self._changes.write_if_many()

    @override
    def drop(self, record: PendingRecord) -> None:
        mark = (record.mark, record.metrics, record.sequence)
        self._changes.settle([(mark, False)], self._destinations)

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


if TYPE_CHECKING:
    _Buffered = tuple[StreamLedger, Destination, PendingRecord]

_NEVER_EQUAL = frozenset({DELETION, UNKNOWN})
