"""Records on their way to a vendor, gathered into what one request may hold."""

from __future__ import annotations

import abc
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from singer_martech.delivery.batch_result import Outcome
    from singer_martech.delivery.metrics import Tally


@dataclass(slots=True)
class Item:
    """One record, encoded once and ready to be sent.

    Attributes:
        tally: The counts of its stream.
        sequence: Its place in the input; a STATE waits for all smaller ones.
        key: What the vendor merges by, unlike that of any other channel's records; None
            where every record stands for itself.
        body: Its part of a request's body.
        raw: The record as received, as JSON, for the reject report.
        repeatable: False where sending it twice could do harm.
        superseded: The earlier record of the same key that this one replaces.
    """

    tally: Tally
    sequence: int
    key: Hashable | None
    body: bytes
    raw: bytes
    repeatable: bool = True
    superseded: Item | None = None


class Channel(abc.ABC):
    """One kind of request, and how it is sent: an endpoint, a dataset, an import.

    Attributes:
        name: The channel in a person's words.
        max_rows: How many records a request may hold.
        max_bytes: How many bytes a request's body may have.
        envelope_bytes: The bytes of a request without records, each of which counts with
            its own and one more.
        replaces: Whether, of several records of a key in one request, only the last is
            sent, because the vendor would keep nothing of the others.
    """

    name: str
    max_rows: int
    max_bytes: int
    envelope_bytes: int
    replaces: bool = False

    def open_batch(self) -> Batch:
        """Begin the next request."""
        return Batch(self)

    @abc.abstractmethod
    def send(self, batch: Batch, outcome: Outcome) -> None:
        """Send a batch; called in a worker thread.

        Returning means that every record is delivered, but for those given to
        ``outcome.reject``.

        Raises:
            MartechError: The run cannot go on. What was given to ``outcome.deliver`` is
                delivered, the rest is not known to be.
        """

    @abc.abstractmethod
    def preview(self, items: Iterable[Item]) -> str:
        """Word a request as it would be sent, without credentials, for a dry run."""


class Batch:
    """The records of one request, in memory."""

    def __init__(self, channel: Channel) -> None:
        """Begin without records."""
        self.channel = channel
        self._max_rows, self._max_bytes = channel.max_rows, channel.max_bytes
        self.opened_at = time.monotonic()
        self.rows = 0
        self.bytes = channel.envelope_bytes
        self.rows_of: Counter[Tally] = Counter()
        self.first_sequence: int | None = None
        self.repeatable = True
        self._places: dict[Hashable, int] = {}
        self._items: list[Item] = []
        self._replaced = 0

    def __len__(self) -> int:
        """The number of records that would be sent."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """The records, in the order in which they are sent."""
        return iter(self._items)

    @property
    def keys(self) -> Iterable[Hashable]:
        """The keys of its records, each at least once."""
        return self._places

    @property
    def is_full(self) -> bool:
        """Whether no further record fits, or those that others replaced fill the memory."""
        return self.rows >= self._max_rows or self._replaced > self._max_bytes

    def has_room_for(self, item: Item) -> bool:
        """Whether a record fits beside those that are in."""
        return self.bytes + len(item.body) < self._max_bytes and self.rows < self._max_rows

    def append(self, item: Item) -> None:
        """Take a record in."""
        self._note(item)
        key = item.key
        if key is not None:
            if self.channel.replaces and key in self._places:
                self._replace(self._places[key], item)
                return
            self._places[key] = len(self._items)
        self._items.append(item)

    def _replace(self, place: int, item: Item) -> None:
        earlier = self._items[place]
        item.superseded = earlier
        self._items[place] = item
        self.rows -= 1
        self.bytes -= len(earlier.body) + 1
        self._replaced += len(earlier.body) + 1

    def _note(self, item: Item) -> None:
        self.rows += 1
        self.bytes += len(item.body) + 1
        self.rows_of[item.tally] += 1
        if not item.repeatable:
            self.repeatable = False
        if self.first_sequence is None or item.sequence < self.first_sequence:
            self.first_sequence = item.sequence


def too_large(channel: Channel, body: bytes) -> bool:
    """Whether a record alone is more than a request of this channel may hold."""
    return channel.envelope_bytes + len(body) + 1 > channel.max_bytes
