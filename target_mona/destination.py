"""The export endpoint as a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from target_mona.responses import PartialFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from target_mona.client import MonaClient


class ExportDestination(Destination):
    """The export endpoint, shared by all streams.

    The client logs in now if the user id is only in the access token.
    """

    name = "Mona export"

    def __init__(self, client: MonaClient, max_rows: int, max_bytes: int) -> None:
        self._client = client
        self._bisector = Bisector("setting 'user_id' and the mappings in 'streams'")
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # each message counts with a comma, but the last one has none
        self.envelope_bytes = sum(map(len, client.envelope)) - 1

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        def post(records: Sequence[PendingRecord], *, idempotent: bool) -> None:
            messages = [record.body for record in records]
            try:
                self._client.export(messages, idempotent=idempotent, stats=batch_result.stats)
            except PartialFailure as failure:
                raise PartialRejection(str(failure), failure.reasons, failure.status) from failure

        self._bisector.send(batch, batch_result, post)

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        body = self._client.body([record.body for record in records])
        return f"POST {self._client.url} {body.decode()}"
