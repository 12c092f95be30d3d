"""A vendor made of memory, for tests of delivery without HTTP."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from singer_martech.delivery.batch import Channel, Item
from singer_martech.delivery.bisect import PartlyRefused, send_in_parts
from singer_martech.delivery.metrics import Tally
from singer_martech.errors import MartechError
from singer_martech.http.errors import Answer, OutcomeUnknown, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from singer_martech.delivery.batch import Batch
    from singer_martech.delivery.batch_result import Outcome


def refusal(status: int = 400) -> Refused:
    return Refused(f"refused with status {status}", Answer("sending", status, {}))


class Memory(Channel):
    """Takes every record, unless told otherwise, and remembers what was sent.

    Attributes:
        sent: The bodies of each request that was taken, at least in part.
        requests: The bodies of each request.
        taken: The bodies that were taken, in their order.
        judge: Called with a request's bodies; it may raise, or return those it refuses.
        names_culprits: Whether a refusal of some records says which they are.
        gate: Each request waits for it.
    """

    name = "memory"

    def __init__(
        self, max_rows: int = 10, max_bytes: int = 10_000, *, replaces: bool = False
    ) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.envelope_bytes = 2
        self.replaces = replaces
        self.requests: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.judge: Callable[[list[bytes]], Iterable[bytes]] = lambda _bodies: ()
        self.takes_the_rest = True
        self.names_culprits = False
        self.gate = threading.Event()
        self.gate.set()
        self.busy = 0
        self.most_busy = 0
        self.keys_busy: set[Any] = set()
        self.overlaps: list[Any] = []
        self._lock = threading.Condition()

    def send(self, batch: Batch, outcome: Outcome) -> None:
        keys = set(batch.keys)
        with self._lock:
            self.overlaps += keys & self.keys_busy
            self.keys_busy |= keys
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            self._lock.notify_all()
        self.gate.wait(30)
        try:
            send_in_parts(batch, outcome, self._post)
        finally:
            with self._lock:
                self.keys_busy -= keys
                self.busy -= 1

    def wait_until_busy(self, count: int) -> None:
        """Wait until so many requests are in flight."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.busy >= count, 20)

    def _post(self, items: Sequence[Item], *, repeatable: bool) -> None:
        del repeatable
        bodies = [item.body for item in items]
        with self._lock:
            self.requests.append(bodies)
            refused = set(self.judge(bodies))
            if refused and not self.takes_the_rest:
                raise refusal()
            self.taken += [body for body in bodies if body not in refused]
            if refused:
                named = {place: "bad" for place, body in enumerate(bodies) if body in refused}
                raise PartlyRefused("some bad", named if self.names_culprits else None, 400)

    def preview(self, items: Iterable[Item]) -> str:
        return ",".join(item.body.decode() for item in items)


def item(
    tally: Tally,
    sequence: int,
    body: str | None = None,
    key: Any = None,
    *,
    repeatable: bool = True,
) -> Item:
    text = (body or str(sequence)).encode()
    return Item(tally, sequence, key, text, b'{"n":%d}' % sequence, repeatable)


def unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the connection broke")


def broken() -> MartechError:
    return MartechError("the vendor is gone")


def new_tally() -> Tally:
    return Tally("orders")
