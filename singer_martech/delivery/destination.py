"""A destination: the limits of a request and how it is sent."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from singer_martech.delivery.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult


class Destination(abc.ABC):
    """One kind of request, for an endpoint, a dataset or an import.

    Attributes:
        name: A label for messages.
        max_rows: Maximum number of records per request.
        max_bytes: Maximum size of a request body.
        envelope_bytes: Size of a request body without records. Each record adds its own size
            and one byte.
        merges_by_key: Whether only the last record of a key in a request is sent, because the
            vendor would discard the others.
    """

    name: str
    max_rows: int
    max_bytes: int
    envelope_bytes: int
    merges_by_key: bool = False

    def open_batch(self) -> Batch:
        """Open an empty batch."""
        return Batch(self)

    @abc.abstractmethod
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        """Send a batch; called in a worker thread.

        When it returns, every record is delivered except those passed to
        ``batch_result.reject``.

        Raises:
            MartechError: The run cannot continue. Records passed to
                ``batch_result.mark_delivered`` are delivered; the others may not be.
        """

    @abc.abstractmethod
    def preview(self, records: Iterable[PendingRecord]) -> str:
        """Format a request for a dry run, without credentials."""

    def is_too_large(self, body: bytes) -> bool:
        """Whether a record by itself exceeds ``max_bytes``."""
        return self.envelope_bytes + len(body) + 1 > self.max_bytes
