"""A batch that goes to disk once it is large, for requests too large to hold in memory."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, groupby, islice
from struct import Struct
from typing import IO, TYPE_CHECKING, overload

from singer_martech._compat import override
from singer_martech.delivery.batch import Batch, PendingRecord
from singer_martech.runtime.temp_files import SpoolFile

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from singer_martech.delivery.batch import Hashes, RequestLimits
    from singer_martech.delivery.metrics import StreamMetrics

_LABEL = "the records to be sent"
_BLOCK_BYTES = 1024 * 1024
_RECORDS_AT_ONCE = 5000
_HASHES = Struct("16s16s")


class SpooledBatch(Batch):
    """The records of one request, in private temporary files.

    The body is written as it is sent: ``head``, then each record and a line feed. Memory holds
    only a few numbers per record. All records of a key are sent, not only the last.

    Args:
        limits: The limits of the request.
        head: The start of the body, ``envelope_bytes`` of the limits long.
    """

    def __init__(self, limits: RequestLimits, head: bytes = b"") -> None:
        super().__init__(limits)
        self._body, self._raw = SpoolFile(_LABEL), SpoolFile(_LABEL)
        self._head_bytes = len(head)
        self._body_ends, self._raw_ends = array("Q", [len(head)]), array("Q", [0])
        self._sequences, self._streams = array("Q"), array("I")
        self._metrics: list[StreamMetrics] = []
        self._stream_indexes: dict[StreamMetrics, int] = {}
        self._keys = array("q")
        self._hashes = bytearray()
        self._body.write(head)

    @override
    def __len__(self) -> int:
        return len(self._sequences)

    @override
    def __iter__(self) -> Iterator[PendingRecord]:
        """The records, each read from disk when requested."""
        return iter(self.records())

    @override
    def records(self) -> SpooledRecords:
        self.flush()
        return SpooledRecords(self, range(len(self)))

    @override
    def hashes(self) -> Iterator[Hashes]:
        for start in range(0, len(self), _RECORDS_AT_ONCE):
            end = min(start + _RECORDS_AT_ONCE, len(self))
            hashes = self._hashes[start * _HASHES.size : end * _HASHES.size]
            rows = zip(range(start, end), _HASHES.iter_unpack(hashes), strict=True)
            for metrics, group in groupby(rows, key=lambda row: self.metrics(row[0])):
                indexes, pairs = zip(*group, strict=True)
                keys, bodies = zip(*pairs, strict=True)
                yield metrics, self.sequence(indexes[0]), keys, bodies

    @property
    @override
    def keys(self) -> Iterable[Hashable]:
        return self._keys

    @override
    def append(self, record: PendingRecord) -> None:
        """Add a record; its key must be a number of 64 bits, such as a hash.

        Raises:
            DiskFull: There is no space left on the disk.
        """
        self._append_all([record])

    @override
    def extend(self, records: Sequence[PendingRecord]) -> int:
        """Add records of one stream in order, as long as they fit; see ``append``."""
        fitting = records[: self._max_rows - self.rows]
        size = sum([len(record.body) for record in fitting]) + len(fitting)
        if self.bytes + size > self._max_bytes or not fitting:
            return self._append_each(records)
        self._append_all(fitting)
        return len(fitting)

    def _append_all(self, records: Sequence[PendingRecord]) -> None:
        start = self._body_ends[-1]
        bodies = [record.body for record in records]
        raws = [record.raw for record in records]
        self._body.write(b"\n".join([*bodies, b""]))
        self._raw.write(b"".join(raws))
        metrics = records[0].metrics
        index = self._stream_indexes.get(metrics)
        if index is None:
            index = self._stream_indexes[metrics] = len(self._metrics)
            self._metrics.append(metrics)
        self._keys.extend([record.key for record in records if record.key is not None])  # type: ignore[misc] # by contract
        if records[0].key_hash:  # with a ledger, every record of the batch has one
            self._hashes += b"".join(
                [each for record in records for each in (record.key_hash, record.body_hash)]
            )
        self._body_ends.extend(_ends([len(body) + 1 for body in bodies], start))
        self._raw_ends.extend(_ends(map(len, raws), self._raw_ends[-1]))
        self._streams.extend([index] * len(records))
        self._sequences.extend([record.sequence for record in records])
        self._count_all(records, self._body_ends[-1] - start)
        self.held_bytes = self._body.bytes_in_memory + self._raw.bytes_in_memory

    @property
    @override
    def is_on_disk(self) -> bool:
        return self._body.is_on_disk or self._raw.is_on_disk

    def record(self, index: int) -> PendingRecord:
        """Return the record at an index, without its key."""
        key_hash, body_hash = self.hashes_of(index)
        return _SpooledRecord(
            key=None,
            body=b"",
            idempotent=self.idempotent,
            metrics=self.metrics(index),
            sequence=self.sequence(index),
            key_hash=key_hash,
            body_hash=body_hash,
            batch=self,
            index=index,
        )

    def line(self, index: int) -> bytes:
        """Return a record's line in the body, without its line feed."""
        start, end = self._body_ends[index], self._body_ends[index + 1] - 1
        return self._body.read(start, end)

    def raw(self, index: int) -> bytes:
        """Return a record as received."""
        return self._raw.read(self._raw_ends[index], self._raw_ends[index + 1])

    def metrics(self, index: int) -> StreamMetrics:
        """Return the counts of a record's stream."""
        return self._metrics[self._streams[index]]

    def hashes_of(self, index: int) -> tuple[bytes, bytes]:
        """Return the hashes of a record's key and body; empty without a ledger."""
        if not self._hashes:
            return b"", b""
        return _HASHES.unpack_from(self._hashes, index * _HASHES.size)

    def sequence(self, index: int) -> int:
        """Return a record's position in the input."""
        return self._sequences[index]

    def body(self) -> IO[bytes]:
        """Return the request body, a complete file positioned at its start."""
        return self._body.open()

    @contextlib.contextmanager
    def part(self, start: int, end: int) -> Iterator[IO[bytes]]:
        """Open a separate file with a body that has only the records of these indexes."""
        self.flush()
        copy = SpoolFile(_LABEL)
        spans = ((0, self._head_bytes), (self._body_ends[start], self._body_ends[end]))
        for first, last in spans:
            for at in range(first, last, _BLOCK_BYTES):
                copy.write(self._body.read(at, min(at + _BLOCK_BYTES, last)))
        with contextlib.closing(copy.open()) as body:
            yield body

    def flush(self) -> None:
        """Flush buffered data, so that it can be read."""
        self._body.flush()
        self._raw.flush()


def _ends(sizes: Iterable[int], start: int) -> Iterator[int]:
    """Return the position after each of the parts that follow a position."""
    return islice(accumulate(sizes, initial=start), 1, None)


class SpooledRecords(Sequence[PendingRecord]):
    """A slice of the records of a batch on disk, each read when requested."""

    def __init__(self, batch: SpooledBatch, indexes: range) -> None:
        self._batch = batch
        self._indexes = indexes

    @override
    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, index: int) -> PendingRecord: ...

    @overload
    def __getitem__(self, index: slice) -> SpooledRecords: ...

    @override
    def __getitem__(self, index: int | slice) -> PendingRecord | SpooledRecords:
        if isinstance(index, slice):
            return SpooledRecords(self._batch, self._indexes[index])
        return self._batch.record(self._indexes[index])

    def line(self, index: int) -> bytes:
        """Return a record's line in the body, without its line feed."""
        return self._batch.line(self._indexes[index])

    @contextlib.contextmanager
    def open_body(self) -> Iterator[IO[bytes]]:
        """Open a request body with these records only, positioned at its start."""
        if len(self) == len(self._batch):
            yield self._batch.body()
            return
        with self._batch.part(self._indexes.start, self._indexes.stop) as body:
            yield body


class _SpooledRecord(PendingRecord, gc=False, eq=False, kw_only=True):
    """A record whose bytes are read from disk when requested."""

    batch: SpooledBatch
    index: int

    @property  # type: ignore[misc]
    def body(self) -> bytes:  # type: ignore[override]
        return self.batch.line(self.index)

    @property  # type: ignore[misc]
    def raw(self) -> bytes:  # type: ignore[override]
        return self.batch.raw(self.index)
