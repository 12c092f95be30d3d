"""Where requests go: what one may hold, and how it is sent."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from singer_martech.delivery.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult


class Destination(abc.ABC):
    """One kind of request, and how it is sent: an endpoint, a dataset, an import.

    Attributes:
        name: What it is, for messages.
        max_rows: How many records a request may hold.
        max_bytes: How many bytes a request's body may have.
        envelope_bytes: The bytes of a request without records, each of which counts with
            its own and one more.
        merges_by_key: Whether, of several records of a key in one request, only the last is
            sent, because the vendor would keep nothing of the others.
    """

    name: str
    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool = False

    def open_batch(self) -> Batch:
        """Begin the next request."""
        return Batch(self)

    @abc.abstractmethod
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        """Send a batch; called in a worker thread.

        Returning means that every record is delivered, but for those given to
        ``batch_result.reject``.

        Raises:
            MartechError: The run cannot go on. What was given to ``batch_result.mark_delivered`` is
                delivered, the rest is not known to be.
        """

    @abc.abstractmethod
    def preview(self, records: Iterable[PendingRecord]) -> str:
        """Word a request as it would be sent, without credentials, for a dry run."""

    def is_too_large(self, body: bytes) -> bool:
        """Whether a record alone exceeds ``max_bytes``."""
        return self.envelope_bytes + len(body) + 1 > self.max_bytes
