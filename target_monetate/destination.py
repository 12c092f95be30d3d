"""Sending the rows of a dataset."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from singer_martech.http.errors import BodyRejected, Conflict, PayloadTooLarge, RequestRejected
from target_monetate.client import ENVELOPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.http.request import RequestStats
    from target_monetate.client import MonetateClient

logger = logging.getLogger(__name__)

_MAX_WARNINGS = 100
_FIRST_ERROR_STATUS = 400


class DatasetDestination(Destination):
    """A dataset, which takes the rows of all streams that are mapped to it.

    Args:
        client: Sends the requests.
        dataset: The dataset's name.
        max_rows: See :class:`singer_martech.delivery.batch.Destination`.
        max_bytes: Likewise.
    """

    merges_by_key = True

    def __init__(self, client: MonetateClient, dataset: str, max_rows: int, max_bytes: int) -> None:
        """Send nothing yet."""
        self.name = f"Monetate dataset '{dataset}'"
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # each row counts with a comma, of which there is one fewer
        self.envelope_bytes = sum(map(len, ENVELOPE)) - 1
        self._client = client
        self._bisector = Bisector("'retailer' and the mapping of the dataset in 'streams'")
        self._dataset = dataset
        self._lock = threading.Lock()
        self._shown: set[str] = set()

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        def post(records: Sequence[PendingRecord], *, idempotent: bool) -> None:
            self._post(records, batch_result.stats, idempotent=idempotent)

        self._bisector.send(batch, batch_result, post)

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        body = self._client.body([record.body for record in records])
        return f"POST {self._client.rows_url(self._dataset)} {body.decode()}"

    def _post(
        self, records: Sequence[PendingRecord], stats: RequestStats, *, idempotent: bool
    ) -> None:
        rows = [record.body for record in records]
        try:
            warnings = self._client.post_rows(
                self._dataset, rows, idempotent=idempotent, stats=stats
            )
        except RequestRejected as rejection:
            status = rejection.status or 0
            # the vendor does not say whether such a refusal spares some of the rows
            is_partial = isinstance(rejection, (BodyRejected, Conflict)) and not isinstance(
                rejection, PayloadTooLarge
            )
            in_doubt = not idempotent and len(records) > 1 and is_partial
            if in_doubt or status < _FIRST_ERROR_STATUS:
                raise PartialRejection(str(rejection), None, rejection.status) from rejection
            raise
        for warning in warnings:
            self._show(warning)

    def _show(self, warning: str) -> None:
        with self._lock:
            if warning in self._shown or len(self._shown) > _MAX_WARNINGS:
                return
            self._shown.add(warning)
            is_last = len(self._shown) > _MAX_WARNINGS
        logger.warning(
            "%s: %s", self.name, "further warnings are not shown" if is_last else warning
        )
