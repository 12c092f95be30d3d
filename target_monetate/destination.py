"""The rows of a dataset as a destination."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from singer_martech.http.errors import BodyRejected, Conflict, PayloadTooLarge
from target_monetate.client import ENVELOPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.http.stats import RequestStats
    from target_monetate.client import MonetateClient

logger = logging.getLogger(__name__)

_MAX_WARNINGS = 100


class DatasetDestination(Destination):
    """A dataset, shared by all streams that are mapped to it."""

    merges_by_key = True

    def __init__(self, client: MonetateClient, dataset: str, max_rows: int, max_bytes: int) -> None:
        self.name = f"Monetate dataset '{dataset}'"
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # each row counts with a comma, but the last one has none
        self.envelope_bytes = sum(map(len, ENVELOPE)) - 1
        self._client = client
        self._bisector = Bisector("setting 'retailer' and the mapping of the dataset in 'streams'")
        self._dataset = dataset
        self._lock = threading.Lock()
        self._logged: set[str] = set()

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
        except PayloadTooLarge:
            raise
        except (BodyRejected, Conflict) as rejection:
            # the vendor does not say whether it accepts the other rows of a rejected request
            if idempotent or len(records) == 1:
                raise
            raise PartialRejection(str(rejection), None, rejection.status) from rejection
        for warning in warnings:
            self._log_once(warning)

    def _log_once(self, warning: str) -> None:
        with self._lock:
            if warning in self._logged or len(self._logged) > _MAX_WARNINGS:
                return
            self._logged.add(warning)
            is_last = len(self._logged) > _MAX_WARNINGS
        logger.warning(
            "%s: %s", self.name, "further warnings are not logged" if is_last else warning
        )
