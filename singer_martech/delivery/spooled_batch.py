"""A batch on disk, for requests that are larger than memory should be."""

from __future__ import annotations

import contextlib
import os
import weakref
from array import array
from typing import IO, TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.batch import Batch, Item
from singer_martech.runtime.temp_files import open_spool, raise_if_disk_full

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from singer_martech.delivery.batch import Channel
    from singer_martech.delivery.metrics import Tally

_WHAT = "the records to be sent"
_BLOCK = 1024 * 1024


class SpooledBatch(Batch):
    """The records of one request, in files that nobody else can read.

    The body is written as it will be sent: ``head``, then each record and a line feed. Only
    a few numbers stay in memory for each record. Of equal keys, all are sent.

    Args:
        channel: Takes the request.
        head: What stands before the first record; ``envelope_bytes`` of the channel.
    """

    def __init__(self, channel: Channel, head: bytes = b"") -> None:
        """Open the files."""
        super().__init__(channel)
        self._body, self._raw = open_spool(), open_spool()
        weakref.finalize(self, _close, self._body, self._raw)
        self._head_bytes = len(head)
        self._body_ends, self._raw_ends = array("Q", [len(head)]), array("Q", [0])
        self._sequences, self._tally_places = array("Q"), array("H")
        self._tallies: dict[Tally, int] = {}
        self._keys = array("q")
        self._write(self._body, head)

    @override
    def __len__(self) -> int:
        return len(self._sequences)

    @override
    def __iter__(self) -> Iterator[Item]:
        """The records, each read from disk when it is asked for."""
        self.flush()
        return map(self.item, range(len(self)))

    @property
    @override
    def keys(self) -> Iterable[Hashable]:
        return self._keys

    @override
    def append(self, item: Item) -> None:
        """Take a record in; its key must be a number of 64 bits, such as a hash.

        Raises:
            DiskFull: There is no room for it.
        """
        body, raw = item.body, item.raw
        try:
            self._body.write(body + b"\n")
            self._raw.write(raw)
        except OSError as error:
            raise_if_disk_full(error, _WHAT)
            raise
        self._note(item)
        if item.key is not None:
            self._keys.append(item.key)  # type: ignore[arg-type] # by contract
        self._body_ends.append(self._body_ends[-1] + len(body) + 1)
        self._raw_ends.append(self._raw_ends[-1] + len(raw))
        self._sequences.append(item.sequence)
        self._tally_places.append(self._tallies.setdefault(item.tally, len(self._tallies)))

    def item(self, place: int) -> Item:
        """Return the record at a place, counted from 0, without its key."""
        return _SpooledItem(self, place)

    def line(self, place: int) -> bytes:
        """Return a record's part of the body, without its line feed."""
        start, end = self._body_ends[place], self._body_ends[place + 1] - 1
        return _read(self._body, start, end)

    def raw(self, place: int) -> bytes:
        """Return a record as received."""
        return _read(self._raw, self._raw_ends[place], self._raw_ends[place + 1])

    def tally(self, place: int) -> Tally:
        """Return the counts of a record's stream."""
        return list(self._tallies)[self._tally_places[place]]

    def sequence(self, place: int) -> int:
        """Return a record's place in the input."""
        return self._sequences[place]

    def body(self) -> IO[bytes]:
        """Return the request's body, a file that is at its beginning and on disk whole."""
        self.flush()
        self._body.seek(0)
        return self._body

    def part(self, start: int, end: int) -> IO[bytes]:
        """Return a body that holds only the records of these places, in a file of its own."""
        self.flush()
        copy = open_spool()
        spans = ((0, self._head_bytes), (self._body_ends[start], self._body_ends[end]))
        for first, last in spans:
            for at in range(first, last, _BLOCK):
                self._write(copy, _read(self._body, at, min(at + _BLOCK, last)))
        self._flush(copy)
        copy.seek(0)
        return copy

    def flush(self) -> None:
        """Bring all that was written where it can be read."""
        self._flush(self._body)
        self._flush(self._raw)

    @staticmethod
    def _write(file: IO[bytes], block: bytes) -> None:
        try:
            file.write(block)
        except OSError as error:
            raise_if_disk_full(error, _WHAT)
            raise

    @staticmethod
    def _flush(file: IO[bytes]) -> None:
        try:
            file.flush()
        except OSError as error:
            raise_if_disk_full(error, _WHAT)
            raise


class _SpooledItem(Item):
    """A record whose bytes stay on disk until they are asked for."""

    __slots__ = ("_batch", "_place")

    def __init__(self, batch: SpooledBatch, place: int) -> None:
        self._batch = batch
        self._place = place
        self.tally = batch.tally(place)
        self.sequence = batch.sequence(place)
        self.key = None
        self.repeatable = batch.repeatable
        self.superseded = None

    @property
    def body(self) -> bytes:  # type: ignore[override]
        return self._batch.line(self._place)

    @property
    def raw(self) -> bytes:  # type: ignore[override]
        return self._batch.raw(self._place)


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    # not by seeking: a worker may be sending the file, or the reader appending to it
    return os.pread(file.fileno(), end - start, start)


def _close(*files: IO[bytes]) -> None:
    for file in files:
        with contextlib.suppress(OSError):  # on a full disk, what is buffered cannot be written
            file.close()
