"""The ledger of a run without the setting ``ledger``: it compares and remembers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.delivery.destination import Destination


class NoLedger:
    """The interface of a ledger that the dispatcher uses."""

    def connect(self, submit_all: Callable[[Destination, Sequence[PendingRecord]], None]) -> None:
        """Connect to the dispatcher, given what sends records of one destination."""

    @property
    def first_sequence(self) -> int | None:
        """The smallest sequence of the buffered records."""
        return None

    def release(self) -> None:
        """Compare all buffered records, and send the changed ones.

        Raises:
            MartechError: As for :meth:`singer_martech.delivery.dispatcher.Dispatcher.submit`.
        """

    def before_send(self) -> None:
        """Commit the keys of a request before it is sent.

        Raises:
            LedgerError: It cannot be written.
        """

    def settle(self, batch_result: BatchResult) -> None:
        """Record the results of a batch.

        Raises:
            LedgerError: It cannot be written.
        """

    def drop(self, record: PendingRecord) -> None:
        """Record that a record was rejected before it was sent."""

    def before_state(self, first_unsettled: int | None) -> None:
        """Commit what is settled, before the STATE that covers it is written.

        Raises:
            LedgerError: It cannot be written.
        """

    def close(self) -> None:
        """Close the store and release all locks."""
