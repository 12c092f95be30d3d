"""The delivery core with a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.delivery.ledger import Ledger
from singer_martech.delivery.ledger_key import stable_all
from singer_martech.delivery.ledger_settings import open_store
from singer_martech.delivery.ledger_tables import Scope
from tests.kit.fake_destination import pending_record
from tests.kit.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from singer_martech.delivery.batch import PendingRecord
    from tests.kit.fake_destination import FakeDestination

SCOPE = Scope("target-test", "account", "collection", "orders")


class LedgerRun:
    """One run of the delivery core with the ledger in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        scope: Scope = SCOPE,
        allowed: int = 0,
        parallel: int = 4,
        location: str | None = None,
        resend_after_seconds: float | None = None,
        is_dry_run: bool = False,
        reset: bool = False,
    ) -> None:
        self.store = open_store(location or str(folder / "ledger.db"), read_only=is_dry_run)
        self.ledger = Ledger(
            self.store,
            resend_after_seconds=resend_after_seconds,
            is_dry_run=is_dry_run,
            reset=reset,
        )
        self.harness = Harness(folder, allowed=allowed, parallel=parallel, ledger=self.ledger)
        self.metrics = self.harness.metrics
        try:
            self.stream = self.ledger.stream(scope, self.metrics, _keys)
        except BaseException:
            self.harness.close()
            raise

    def load(
        self, destination: FakeDestination, records: Iterable[tuple[str | None, str | None]]
    ) -> None:
        """Submit records, given as key and body; a body of None deletes the key."""
        for key, body in records:
            self.harness.sequence += 1
            self.metrics.read += 1
            sent = f"deleted {key}" if body is None else body
            record = pending_record(self.metrics, self.harness.sequence, sent, key)
            record.is_deletion = body is None
            self.stream.submit(destination, record)

    def finish(self) -> None:
        """Deliver everything, and commit it."""
        self.harness.dispatcher.flush()
        self.harness.dispatcher.write_state(now=True)

    def send_without_settling(self) -> None:
        """Send everything, and stop like a killed process."""
        dispatcher = self.harness.dispatcher
        self.ledger.release()
        for destination, batch in list(dispatcher._open.items()):  # noqa: SLF001 - a process is killed anywhere
            dispatcher._dispatch(destination, batch)  # noqa: SLF001 - likewise
        self.wait_for_requests()

    def wait_for_requests(self) -> None:
        """Wait until the vendor has all that was sent, without settling it."""
        pool = self.harness.dispatcher._pool  # noqa: SLF001 - likewise
        for result in pool.awaited:
            while not result.has_ended:
                pool.wait(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.harness.close()


def _keys(records: Sequence[PendingRecord]) -> Sequence[bytes | None]:
    return stable_all([record.key for record in records])
