"""Waiting for the end of an execution, of an export or of a document import."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.runtime.shutdown import ShutdownSignal

logger = logging.getLogger(__name__)

_LOG_INTERVAL_SECONDS = 60.0


class ExecutionFailed(MartechError):
    """An execution ended without success, or did not end in time."""


@dataclass(frozen=True)
class ExecutionWaiter:
    """Polls executions until they end.

    Attributes:
        shutdown: Ends the wait when the run is asked to end.
        poll_interval_seconds: Pause between two polls of an execution.
        timeout_seconds: How long an execution may take.
        consequence: The effect on the user if an execution outlasts the run, for messages.
    """

    shutdown: ShutdownSignal
    poll_interval_seconds: float
    timeout_seconds: float
    consequence: str

    def pause(self) -> None:
        """Wait for one poll interval."""
        self.shutdown.wait(self.poll_interval_seconds)

    def wait_for_end(
        self, execution: Execution, owner: str, refresh: Callable[[Execution], Execution]
    ) -> Execution:
        """Wait until an execution has ended, with or without success, and return it.

        Raises:
            ExecutionFailed: It has not ended in time. It is left running.
        """
        name = f"execution {execution.id} of {owner}"
        try:
            ended = self._poll(execution, name, refresh)
        except Stopped:
            logger.warning("%s continues at the vendor; %s", name, self.consequence)
            raise
        logger.info("%s: %s", name, ended.progress)
        return ended

    def _poll(
        self, execution: Execution, name: str, refresh: Callable[[Execution], Execution]
    ) -> Execution:
        deadline = time.monotonic() + self.timeout_seconds
        shown, log_again_at = "", 0.0
        while not execution.has_ended:
            now = time.monotonic()
            if execution.progress != shown or now >= log_again_at:
                shown, log_again_at = execution.progress, now + _LOG_INTERVAL_SECONDS
                logger.info("%s: %s", name, shown)
            if now >= deadline:
                reason = f"; {execution.error}" if execution.error else ""
                raise ExecutionFailed(
                    f"{name} has not ended within execution_timeout_seconds "
                    f"({self.timeout_seconds:g}); it continues at the vendor, status "
                    f"{execution.status}{reason}; {self.consequence}"
                )
            self.shutdown.wait(min(self.poll_interval_seconds, deadline - now))
            execution = refresh(execution)
        return execution


def failure_of(execution: Execution, owner: str, detail: str = "") -> ExecutionFailed:
    """Return the error for an execution that ended without success."""
    reason = execution.error or "the vendor gives no reason"
    return ExecutionFailed(
        f"execution {execution.id} of {owner} ended {execution.status}: {reason}{detail}"
    )
