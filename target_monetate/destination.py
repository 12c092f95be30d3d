"""Sending the rows of a dataset."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.batch import Channel
from singer_martech.delivery.bisect import PartlyRefused, send_in_parts
from singer_martech.http.errors import Refused
from target_monetate.client import ENVELOPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_martech.delivery.batch import Batch, Item
    from singer_martech.delivery.batch_result import Outcome
    from singer_martech.http.request import Traffic
    from target_monetate.client import MonetateClient

logger = logging.getLogger(__name__)

_MOST_WARNINGS = 100
_FIRST_REFUSAL = 400
_ABOUT_SOME_ROWS = frozenset({400, 409, 422})
"""Refusals of a request that may have spared some of its rows; nobody knows in public."""


class DatasetChannel(Channel):
    """A dataset, which takes the rows of all streams that are mapped to it.

    Args:
        client: Sends the requests.
        dataset: The dataset's name.
        max_rows: See :class:`singer_martech.delivery.batch.Channel`.
        max_bytes: Likewise.
    """

    replaces = True

    def __init__(self, client: MonetateClient, dataset: str, max_rows: int, max_bytes: int) -> None:
        """Send nothing yet."""
        self.name = f"Monetate dataset '{dataset}'"
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # each row counts with a comma, of which there is one fewer
        self.envelope_bytes = sum(map(len, ENVELOPE)) - 1
        self._client = client
        self._dataset = dataset
        self._lock = threading.Lock()
        self._shown: set[str] = set()

    @override
    def send(self, batch: Batch, outcome: Outcome) -> None:
        def post(items: Sequence[Item], *, repeatable: bool) -> None:
            self._post(items, outcome.traffic, repeatable=repeatable)

        send_in_parts(batch, outcome, post)

    @override
    def preview(self, items: Iterable[Item]) -> str:
        body = self._client.body([item.body for item in items])
        return f"POST {self._client.rows_url(self._dataset)} {body.decode()}"

    def _post(self, items: Sequence[Item], traffic: Traffic, *, repeatable: bool) -> None:
        rows = [item.body for item in items]
        try:
            warnings = self._client.post_rows(
                self._dataset, rows, repeatable=repeatable, traffic=traffic
            )
        except Refused as refusal:
            status = refusal.status or 0
            in_doubt = not repeatable and len(items) > 1 and status in _ABOUT_SOME_ROWS
            if in_doubt or status < _FIRST_REFUSAL:
                raise PartlyRefused(str(refusal), None, refusal.status) from refusal
            raise
        for warning in warnings:
            self._show(warning)

    def _show(self, warning: str) -> None:
        with self._lock:
            if warning in self._shown or len(self._shown) > _MOST_WARNINGS:
                return
            self._shown.add(warning)
            is_last = len(self._shown) > _MOST_WARNINGS
        logger.warning(
            "%s: %s", self.name, "further warnings are not shown" if is_last else warning
        )
