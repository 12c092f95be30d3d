"""Show what would be sent, without sending it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.destination import Destination
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult

logger = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 10_000


class DryRunDestination(Destination):
    """A destination that logs its requests instead of sending them.

    Args:
        destination: The destination that it replaces.
        shown: The streams whose first request was shown; shared by all destinations.
    """

    def __init__(self, destination: Destination, shown: set[str]) -> None:
        """Copy the limits of the real destination."""
        self._destination = destination
        self._shown = shown
        self.name = destination.name
        self.max_rows = destination.max_rows
        self.max_bytes = destination.max_bytes
        self.envelope_bytes = destination.envelope_bytes
        self.merges_by_key = destination.merges_by_key

    @override
    def open_batch(self) -> Batch:
        return self._destination.open_batch()

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        batch_result.stats.requests += 1
        batch_result.stats.bytes += batch.bytes
        for metrics in batch.rows_by_stream:
            if metrics.stream not in self._shown:
                self._shown.add(metrics.stream)
                text = redact(self.preview(batch))
                cut = "" if len(text) <= _SHOWN_CHARACTERS else f" … ({len(text)} characters)"
                logger.info(
                    "dry run: the first request of stream '%s' holds %d record(s), %d bytes: %s%s",
                    metrics.stream,
                    len(batch),
                    batch.bytes,
                    text[:_SHOWN_CHARACTERS],
                    cut,
                )

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        return self._destination.preview(records)
