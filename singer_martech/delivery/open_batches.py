"""The batches that wait to be filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.delivery.batch import Batch
from singer_martech.delivery.destination import Destination

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_ON_DISK = 32
"""Each has up to two open files."""
_MAX_BYTES = 256 * 1024 * 1024
"""Maximum memory of all batches together."""
_BETWEEN_CHECKS = 16
"""Number of batches that may be opened before the limits are checked again."""


class OpenBatches(dict[Destination, Batch]):
    """The open batch of each destination, in the order in which they were opened."""

    @property
    def is_check_due(self) -> bool:
        """Whether the limits must be checked before another batch is opened."""
        return len(self) % _BETWEEN_CHECKS == 0

    def surplus(self) -> Iterator[tuple[Destination, Batch]]:
        """Yield the oldest batches, until the others use few enough files and little memory."""
        files = sum(batch.is_on_disk for batch in self.values()) - _MAX_ON_DISK
        excess = sum(batch.held_bytes for batch in self.values()) - _MAX_BYTES
        for destination, batch in list(self.items()):
            if files <= 0 and excess <= 0:
                return
            if excess > 0 or batch.is_on_disk:
                files -= batch.is_on_disk
                excess -= batch.held_bytes
                yield destination, batch
