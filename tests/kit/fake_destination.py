"""An in-memory vendor, for tests of delivery without HTTP."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.errors import MartechError
from singer_martech.http.errors import OutcomeUnknown, RequestRejected
from singer_martech.http.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from singer_martech.delivery.batch import Batch
    from singer_martech.delivery.batch_result import BatchResult


def rejection(status: int = 400) -> RequestRejected:
    message = f"rejected with status {status}"
    return RequestRejected.by_status(message, Response("sending", status, {}))


class FakeDestination(Destination):
    """Accepts every record by default, and records what was sent.

    Attributes:
        sent: The bodies of each request that was accepted, at least in part.
        requests: The bodies of each request.
        accepted: The accepted bodies, in order.
        reject_when: Called with a request's bodies; it may raise, or return those to reject.
        names_rejected: Whether a partial rejection identifies the records.
        gate: An event for which each request waits.
    """

    name = "memory"

    def __init__(
        self, max_rows: int = 10, max_bytes: int = 10_000, *, merges_by_key: bool = False
    ) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.envelope_bytes = 2
        self.merges_by_key = merges_by_key
        self.requests: list[list[bytes]] = []
        self.accepted: list[bytes] = []
        self.bisector = Bisector("'streams'")
        self.reject_when: Callable[[list[bytes]], Iterable[bytes]] = lambda _bodies: ()
        self.accepts_the_rest = True
        self.names_rejected = False
        self.gate = threading.Event()
        self.gate.set()
        self.busy = 0
        self.most_busy = 0
        self.keys_busy: set[Any] = set()
        self.overlaps: list[Any] = []
        self._lock = threading.Condition()

    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        keys = set(batch.keys)
        with self._lock:
            self.overlaps += keys & self.keys_busy
            self.keys_busy |= keys
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            self._lock.notify_all()
        self.gate.wait(30)
        try:
            self.bisector.send(batch, batch_result, self._post)
        finally:
            with self._lock:
                self.keys_busy -= keys
                self.busy -= 1

    def wait_until_busy(self, count: int) -> None:
        """Wait until this many requests are in flight."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.busy >= count, 20)

    def _post(self, records: Sequence[PendingRecord], *, idempotent: bool) -> None:
        del idempotent
        bodies = [pending_record.body for pending_record in records]
        with self._lock:
            self.requests.append(bodies)
        rejected = set(self.reject_when(bodies))  # it may wait for another request
        with self._lock:
            if rejected and not self.accepts_the_rest:
                raise rejection()
            self.accepted += [body for body in bodies if body not in rejected]
            if rejected:
                named = {place: "bad" for place, body in enumerate(bodies) if body in rejected}
                raise PartialRejection("some bad", named if self.names_rejected else None, 400)

    def preview(self, records: Iterable[PendingRecord]) -> str:
        return ",".join(pending_record.body.decode() for pending_record in records)


def pending_record(
    metrics: StreamMetrics,
    sequence: int,
    body: str | None = None,
    key: Any = None,
    *,
    idempotent: bool = True,
) -> PendingRecord:
    text = (body or str(sequence)).encode()
    return as_received(metrics, sequence, key, text, b'{"n":%d}' % sequence, idempotent=idempotent)


def as_received(
    metrics: StreamMetrics,
    sequence: int,
    key: Hashable | None,
    body: bytes,
    raw: bytes,
    *,
    idempotent: bool = True,
) -> PendingRecord:
    """Return a record as a sink passes it to the dispatcher."""
    record = PendingRecord(key, body, idempotent)
    record.metrics, record.sequence, record.raw = metrics, sequence, raw
    return record


def unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the connection broke")


def broken() -> MartechError:
    return MartechError("the vendor is gone")


def new_metrics() -> StreamMetrics:
    return StreamMetrics("orders")
