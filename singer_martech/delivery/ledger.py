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
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.delivery.ledger_store import KEY_BYTES
from singer_martech.delivery.rejects import TooManyRejects

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.ledger_key import RecordKey
    from singer_martech.delivery.ledger_store import LedgerStore, Scope
    from singer_martech.delivery.metrics import StreamMetrics

_MAX_BUFFERED_RECORDS = 2000
_MAX_BUFFERED_BYTES = 8 * 1024 * 1024
_MAX_UNWRITTEN = 20_000

_DELETION = bytes(KEY_BYTES)
_UNKNOWN = b"\xff" * KEY_BYTES
"""The hash of a body that is never compared."""


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
        """Start without records."""
        self.scope = scope
        self.id = scope.id
        self.lock = scope.lock
        self.metrics = metrics
        self.version: int | None = None
        self._ledger = ledger
        self._key_of = key_of
        self._person = scope.account_digest

    def submit(self, destination: Destination, record: PendingRecord) -> None:
        """Add a record, which is sent unless it is unchanged.

        Raises:
            MartechError: As for :meth:`singer_martech.delivery.dispatcher.Dispatcher.submit`.
        """
        found = self._key_of(record)
        if found is None:
            self._ledger.add(self, destination, record, None)
            return
        if found.is_deletion:
            body = _DELETION
        elif found.is_final:
            body = blake2b(record.body, digest_size=KEY_BYTES).digest()
        else:
            body = _UNKNOWN
        key = blake2b(found.key, digest_size=KEY_BYTES, person=self._person).digest()
        record.mark = key + body
        self._ledger.add(self, destination, record, found.deletion)

    def set_version(self, version: int | None) -> None:
        """Set the version of the records that follow."""
        if version != self.version:
            self._ledger.release()
            self.version = version


class Ledger:
    """The ledger of one run; used by the main thread only.

    Args:
        store: The database.
        resend_after_seconds: Age at which an unchanged record is sent again; None for never.
        is_dry_run: Whether nothing is written.
        reset: Whether the entries of a destination are removed first.

    Attributes:
        is_dry_run: See there.
        submit: Sends a record; set by the dispatcher.
        block_state_at: Blocks STATE from a sequence on; likewise.
    """

    submit: Callable[[Destination, PendingRecord], None]
    block_state_at: Callable[[int], None]

    def __init__(
        self,
        store: LedgerStore,
        *,
        resend_after_seconds: float | None = None,
        is_dry_run: bool = False,
        reset: bool = False,
    ) -> None:
        """Create a ledger; nothing is locked yet."""
        self.store = store
        self.is_dry_run = is_dry_run
        self._reset = reset
        self._taken_after = 0.0
        if resend_after_seconds is not None:
            self._taken_after = time.time() - resend_after_seconds
        self._streams: dict[StreamMetrics, StreamLedger] = {}
        self._opened: set[Scope] = set()
        self._buffer: list[_Buffered] = []
        self._buffered_bytes = 0
        self._compared: deque[tuple[Destination | None, PendingRecord]] = deque()
        self._under_way: dict[bytes, int] = {}
        self._settled: dict[bytes, tuple[int, bytes]] = {}
        self._has_deletions = False
        self._journal: dict[int, bytearray] = {}
        self._last_sequence = 0
        self._is_journal_written = False
        self._sightings: list[dict[str, Any]] = []

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
        stream = self._streams[metrics] = StreamLedger(self, scope, metrics, key_of)
        return stream

    def add(
        self,
        stream: StreamLedger,
        destination: Destination,
        record: PendingRecord,
        deletion: bytes | None,
    ) -> None:
        """Buffer a record; compare and send all when the buffer is full."""
        self._buffer.append(_Buffered(stream, destination, record, deletion))
        self._buffered_bytes += record.size
        if len(self._buffer) >= _MAX_BUFFERED_RECORDS or self._buffered_bytes > _MAX_BUFFERED_BYTES:
            self.release()

    def release(self) -> None:
        """Compare all buffered records, and send the changed ones.

        Raises:
            MartechError: As for :meth:`singer_martech.delivery.dispatcher.Dispatcher.submit`.
        """
        self._send_compared()  # what an error left
        if self._buffer:
            self._judge()
            self._send_compared()
        if len(self._sightings) > _MAX_UNWRITTEN:
            self._write_settled()

    @property
    def first_sequence(self) -> int | None:
        """The smallest sequence of the buffered records."""
        if self._compared:
            return self._compared[0][1].sequence
        return self._buffer[0].record.sequence if self._buffer else None

    def _judge(self) -> None:
        buffer, settled, under_way = self._buffer, self._settled, self._under_way
        keys = {each.record.mark[:KEY_BYTES] for each in buffer}
        keys.discard(b"")
        found = {} if self.is_dry_run and self._reset else self.store.lookup(list(keys))
        for each in buffer:
            stream, destination, record, _ = each
            mark = record.mark
            if not mark:
                self._compared.append((destination, record))
                continue
            key, body = mark[:KEY_BYTES], mark[KEY_BYTES:]
            entry, recent = found.get(key), settled.get(key)
            is_held = recent is not None or entry is not None
            if recent is not None:
                is_unchanged = recent[1] == body and body not in _SPECIAL
            else:
                is_unchanged = (
                    entry is not None and entry[1] == body and (entry[2] or 0) >= self._taken_after
                )
            count = under_way.get(key, 0)
            if is_unchanged and not count:
                self._compared.append((None, record))
            else:
                under_way[key] = count + 1
                if is_held or count:
                    self._journal.setdefault(stream.lock, bytearray()).extend(key)
                self._compared.append((destination, record))
            if (
                stream.version is not None
                and body is not _DELETION
                and (entry is None or entry[3] != stream.version)
            ):
                self._sight(each, key)
        self._last_sequence = buffer[-1].record.sequence
        self._buffer, self._buffered_bytes = [], 0

    def _sight(self, buffered: _Buffered, key: bytes) -> None:
        stream = buffered.stream
        self._sightings.append(
            {
                "key": key,
                "destination": stream.id,
                "seen": stream.version,
                "identifiers": buffered.deletion,
            }
        )

    def _send_compared(self) -> None:
        compared, submit = self._compared, self.submit
        while compared:
            destination, record = compared.popleft()
            if destination is None:
                metrics = record.metrics
                metrics.unchanged = (metrics.unchanged or 0) + 1
                continue
            try:
                submit(destination, record)
            except TooManyRejects:
                raise  # the dispatcher has the record
            except BaseException:
                self.block_state_at(record.sequence)
                raise

    def before_send(self) -> None:
        """Commit the keys of a request before it is sent.

        Raises:
            LedgerError: It cannot be written.
        """
        if self.is_dry_run or not (self._journal or self._sightings):
            return
        if self._has_deletions and self._sightings:
            self._write_settled()  # else a deletion would remove a key that came again
        self.store.write_ahead(
            [(lock, self._last_sequence, bytes(keys)) for lock, keys in self._journal.items()],
            self._sightings,
        )
        self._is_journal_written = self._is_journal_written or bool(self._journal)
        self._journal, self._sightings = {}, []

    def settle(self, batch_result: BatchResult) -> None:
        """Record the results of a batch.

        Raises:
            LedgerError: It cannot be written.
        """
        for record, is_taken in batch_result.fates():
            self._settle(record, is_taken=is_taken)
        if len(self._settled) > _MAX_UNWRITTEN:
            self._write_settled()

    def drop(self, record: PendingRecord) -> None:
        """Record that a record was rejected before it was sent."""
        self._settle(record, is_taken=False)

    def _settle(self, record: PendingRecord, *, is_taken: bool) -> None:
        mark = record.mark
        if not mark:
            return
        key, body = mark[:KEY_BYTES], mark[KEY_BYTES:]
        others = self._under_way.get(key, 1) - 1
        if others:
            self._under_way[key] = others
        else:
            self._under_way.pop(key, None)
        if not is_taken or (body == _DELETION and others):
            body = _UNKNOWN
        if not self.is_dry_run:
            self._has_deletions = self._has_deletions or body == _DELETION
            self._settled[key] = (self._streams[record.metrics].id, body)

    def before_state(self, first_unsettled: int | None) -> None:
        """Commit what is settled, before the STATE that covers it is written.

        Raises:
            LedgerError: It cannot be written.
        """
        if self.is_dry_run:
            return
        if self._settled or self._sightings:
            self._write_settled()
        if self._is_journal_written:
            self.store.trim_journal({scope.lock for scope in self._opened}, first_unsettled)
            self._is_journal_written = first_unsettled is not None

    def _write_settled(self) -> None:
        settled = self._settled
        if self.is_dry_run:
            self.store.remember_sighted([each["key"] for each in self._sightings])
            self._sightings = []
            return
        taken: list[tuple[bytes, int, bytes]] = []
        doubted: list[bytes] = []
        deleted: list[bytes] = []
        for key in sorted(settled):  # in the order of the table, which touches each page once
            stream, body = settled[key]
            if body == _UNKNOWN:
                doubted.append(key)
            elif body == _DELETION:
                deleted.append(key)
            else:
                taken.append((key, stream, body))
        self.store.write_settled(taken, doubted, deleted, self._sightings)
        self._settled, self._sightings, self._has_deletions = {}, [], False

    def flush(self) -> None:
        """Update the store when all records are settled.

        Raises:
            LedgerError: It cannot be written.
        """
        self._write_settled()

    def close(self) -> None:
        """Close the store and release all locks."""
        self.store.close()


class _Buffered(NamedTuple):
    stream: StreamLedger
    destination: Destination
    record: PendingRecord
    deletion: bytes | None


_SPECIAL = frozenset({_DELETION, _UNKNOWN})
