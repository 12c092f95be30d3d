"""The interface of the target that a sink uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.dispatcher import Dispatcher
    from singer_martech.delivery.ledger import Ledger
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.mapping.stream_mappings import StreamMappings


class SinkTarget(Protocol):
    """The interface of the target that a sink uses.

    Attributes:
        name: The name of the plugin.
        sequence: The position of the current record in the input.
        ledger: The ledger, or None without the setting.
    """

    name: str
    sequence: int
    ledger: Ledger | None
    mappings: StreamMappings
    dispatcher: Dispatcher

    @property
    def config(self) -> Mapping[str, Any]:
        """The validated settings."""

    @property
    def account(self) -> str:
        """The API and the account there, for the ledger."""

    def warn_once(self, line: str, topic: Hashable = None) -> None:
        """Log a warning once per topic and run."""

    def metrics(self, stream: str) -> StreamMetrics:
        """Return the counts of a stream."""

    def destination(self, destination: Destination) -> Destination:
        """Return the given destination or, in a dry run, one that sends nothing."""
