"""What a worker found out about the records of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from singer_martech.http.request import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.delivery.batch import Batch, Item
    from singer_martech.delivery.metrics import Tally
    from singer_martech.errors import MartechError

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


@dataclass(frozen=True)
class Unmatched:
    """Records that were not taken, though nobody can tell which of the batch they are.

    Attributes:
        count: How many.
        reason: Why, in words for a person.
        detail: More for the report, such as the head of ``file``.
        name: What the vendor calls the request.
        file: What the vendor says of them, to be kept beside the reject report.
    """

    count: int
    reason: str
    detail: str
    name: str
    file: IO[bytes] | None = None


@dataclass
class Outcome:
    """The fate of one batch; filled by a worker, read by the main thread afterwards.

    Attributes:
        unmatched: What was rejected beside ``rejections``, as far as it is known.
        failure: Why the run cannot go on, or None.
        crash: An error that nobody foresaw, or None.
    """

    batch: Batch
    traffic: Traffic = field(default_factory=Traffic)
    rejections: list[Rejection] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    failure: MartechError | None = None
    crash: BaseException | None = None
    _delivered: list[Item] = field(default_factory=list)

    def deliver(self, items: Iterable[Item]) -> None:
        """Note that these records were taken, whatever becomes of the others."""
        self._delivered.extend(items)

    def reject(self, item: Item, reason: str, status: int | None = None) -> None:
        """Note that this record was not taken and that others may still be."""
        self.rejections.append(Rejection(item, reason, status))

    def close(self) -> None:
        """Close what came with it."""
        for each in self.unmatched:
            if each.file is not None:
                each.file.close()

    @property
    def is_whole(self) -> bool:
        """Whether every record was either taken or rejected."""
        return self.failure is None and self.crash is None

    def settlement(self) -> Settlement:
        """Work out what became of every record of the batch."""
        result = Settlement()
        none_superseded = len(self.batch) == sum(self.batch.rows_of.values())
        if self.is_whole and none_superseded:
            result.delivered.update(self.batch.rows_of)
            result.delivered.subtract(rejection.item.tally for rejection in self.rejections)
            for each in self.unmatched:
                result.reject_some(each.count)
            return result
        if not self.is_whole and not self._delivered:
            result.first_unsettled = self.batch.first_sequence
            return result
        rejected = {_identity(each.item) for each in self.rejections}
        delivered = {_identity(item) for item in self._delivered}
        for newest in self.batch:
            chain = [item for item in with_superseded(newest) if _identity(item) not in rejected]
            if chain and (self.is_whole or _identity(chain[0]) in delivered):
                result.delivered[chain[0].tally] += 1
                result.superseded.update(item.tally for item in chain[1:])
            else:
                result.leave_open(chain)
        return result


@dataclass
class Settlement:
    """Counts per stream, and where the first record stands whose fate is unknown.

    Attributes:
        rejected: Only those that nobody can name.
    """

    delivered: Counter[Tally] = field(default_factory=Counter)
    superseded: Counter[Tally] = field(default_factory=Counter)
    rejected: Counter[Tally] = field(default_factory=Counter)
    first_unsettled: int | None = None

    def reject_some(self, count: int) -> None:
        """Count records as rejected that nobody can name, the largest stream's first."""
        for tally, rows in self.delivered.most_common():
            share = min(count, rows)
            self.rejected[tally] += share
            self.delivered[tally] -= share
            count -= share

    def leave_open(self, items: Iterable[Item]) -> None:
        """Note that nobody knows whether these records were taken."""
        for item in items:
            if self.first_unsettled is None or item.sequence < self.first_unsettled:
                self.first_unsettled = item.sequence


def _identity(item: Item) -> tuple[int, int]:
    """Tell a record from all others, also where it was read anew from a file."""
    return item.sequence, id(item.tally)


def with_superseded(item: Item) -> Iterator[Item]:
    """Yield a record and all that it replaced, the latest first."""
    current: Item | None = item
    while current is not None:
        yield current
        current = current.superseded
