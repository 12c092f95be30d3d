"""Showing what would be sent, without sending it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.batch import Channel
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_martech.delivery.batch import Batch, Item
    from singer_martech.delivery.batch_result import Outcome

logger = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 10_000


class DryChannel(Channel):
    """A channel that words its requests instead of sending them.

    Args:
        channel: The channel whose place it takes.
        shown: The streams whose first request was shown; shared by all channels.
    """

    def __init__(self, channel: Channel, shown: set[str]) -> None:
        """Take over the limits of the real channel."""
        self._channel = channel
        self._shown = shown
        self.name = channel.name
        self.max_rows = channel.max_rows
        self.max_bytes = channel.max_bytes
        self.envelope_bytes = channel.envelope_bytes
        self.replaces = channel.replaces

    @override
    def open_batch(self) -> Batch:
        batch = self._channel.open_batch()
        batch.channel = self
        return batch

    @override
    def send(self, batch: Batch, outcome: Outcome) -> None:
        outcome.traffic.requests += 1
        outcome.traffic.bytes += batch.bytes
        for tally in batch.rows_of:
            if tally.stream not in self._shown:
                self._shown.add(tally.stream)
                text = redact(self.preview(batch))
                cut = "" if len(text) <= _SHOWN_CHARACTERS else f" … ({len(text)} characters)"
                logger.info(
                    "dry run: the first request of stream '%s' holds %d record(s), %d bytes: %s%s",
                    tally.stream,
                    len(batch),
                    batch.bytes,
                    text[:_SHOWN_CHARACTERS],
                    cut,
                )

    @override
    def preview(self, items: Iterable[Item]) -> str:
        return self._channel.preview(items)
