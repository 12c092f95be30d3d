"""What a worker found out about the records of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from singer_martech.http import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.batch import Batch, Item
    from singer_martech.errors import MartechError
    from singer_martech.tally import Tally

OUTCOME_UNKNOWN = "outcome unknown"
"""The reason of a record that may have been taken, but must not be sent twice."""


@dataclass(frozen=True)
class Rejection:
    """A record that was not taken.

    Attributes:
        item: The record.
        reason: Why, in words for a person.
        status: The HTTP status of the vendor's refusal, or None.
    """

    item: Item
    reason: str
    status: int | None = None


@dataclass
class Outcome:
    """The fate of one batch; filled by a worker, read by the main thread afterwards.

    Attributes:
        failure: Why the run cannot go on, or None.
        crash: An error that nobody foresaw, or None.
    """

    batch: Batch
    traffic: Traffic = field(default_factory=Traffic)
    rejections: list[Rejection] = field(default_factory=list)
    failure: MartechError | None = None
    crash: BaseException | None = None
    _delivered: list[Item] = field(default_factory=list)

    def deliver(self, items: Iterable[Item]) -> None:
        """Note that these records were taken, whatever becomes of the others."""
        self._delivered.extend(items)

    def reject(self, item: Item, reason: str, status: int | None = None) -> None:
        """Note that this record was not taken and that others may still be."""
        self.rejections.append(Rejection(item, reason, status))

    @property
    def is_whole(self) -> bool:
        """Whether every record was either taken or rejected."""
        return self.failure is None and self.crash is None

    def settlement(self) -> Settlement:
        """Work out what became of every record of the batch."""
        result = Settlement()
        if self.is_whole and not self.batch.channel.replaces:
            result.delivered.update(self.batch.rows_of)
            result.delivered.subtract(each.item.tally for each in self.rejections)
            return result
        if not self.is_whole and not self._delivered:
            result.first_unsettled = self.batch.first_sequence
            return result
        rejected = {id(each.item) for each in self.rejections}
        delivered = {id(item) for item in self._delivered}
        for newest in self.batch:
            chain = [item for item in with_superseded(newest) if id(item) not in rejected]
            if chain and (self.is_whole or id(chain[0]) in delivered):
                result.delivered[chain[0].tally] += 1
                result.superseded.update(item.tally for item in chain[1:])
            else:
                result.leave_open(chain)
        return result


@dataclass
class Settlement:
    """Counts per stream, and where the first record stands whose fate is unknown."""

    delivered: Counter[Tally] = field(default_factory=Counter)
    superseded: Counter[Tally] = field(default_factory=Counter)
    first_unsettled: int | None = None

    def leave_open(self, items: Iterable[Item]) -> None:
        """Note that nobody knows whether these records were taken."""
        for item in items:
            if self.first_unsettled is None or item.sequence < self.first_unsettled:
                self.first_unsettled = item.sequence


def with_superseded(item: Item) -> Iterator[Item]:
    """Yield a record and all that it replaced, the latest first."""
    current: Item | None = item
    while current is not None:
        yield current
        current = current.superseded
