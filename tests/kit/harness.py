"""The delivery core with its dependencies, without HTTP and without the SDK."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from singer_martech.delivery.checkpoint import Checkpoints
from singer_martech.delivery.dispatcher import Dispatcher
from singer_martech.delivery.rejects import Rejects
from singer_martech.runtime.shutdown import ShutdownSignal
from tests.kit.fake_destination import new_metrics, pending_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from singer_martech.delivery.ledger import Ledger
    from tests.kit.fake_destination import FakeDestination


class Harness:
    """A dispatcher with its dependencies."""

    def __init__(
        self,
        folder: Path | str,
        *,
        parallel: int = 4,
        allowed: int = 0,
        oldest_seconds: float = 60.0,
        grace_seconds: float = 20.0,
        ledger: Ledger | None = None,
    ) -> None:
        self.shutdown = ShutdownSignal()
        self.metrics = new_metrics()
        self.checkpoints = Checkpoints(0.001)
        self.rejects = Rejects(str(folder), "target-test", allowed)
        self.woken = threading.Event()
        self.waits = threading.Semaphore(0)
        self.dispatcher = Dispatcher(
            parallel_requests=parallel,
            checkpoints=self.checkpoints,
            rejects=self.rejects,
            shutdown=self.shutdown,
            oldest_seconds=oldest_seconds,
            wake=self.woken.set,
            while_waiting=self.waits.release,
            grace_seconds=grace_seconds,
            ledger=ledger,
        )
        self.sequence = 0

    def add(
        self, destination: FakeDestination, body: str | None = None, key: object = None
    ) -> None:
        self.sequence += 1
        self.metrics.read += 1
        self.dispatcher.submit(destination, pending_record(self.metrics, self.sequence, body, key))

    def add_many(
        self, destination: FakeDestination, count: int, body: str, key: object = None
    ) -> None:
        for _ in range(count):
            self.add(destination, body, key)

    def load(self, destination: FakeDestination, count: int) -> None:
        """Send records, each followed by a STATE."""
        for _ in range(count):
            self.add(destination)
            self.state()
        self.dispatcher.flush()

    def close(self) -> None:
        self.dispatcher.close()
        self.rejects.close()

    def state(self) -> None:
        self.checkpoints.add(self.sequence, json.dumps({"at": self.sequence}).encode())

    def in_background(self, work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        return thread
