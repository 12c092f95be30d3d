"""The mode ``run``: launch an execution of an export, or join one, and wait for its end."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError
from singer_martech.http.errors import OutcomeUnknown
from tap_mediarithmics.modes import new_executions

if TYPE_CHECKING:
    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Exports
    from singer_martech.runtime.shutdown import ShutdownSignal
    from tap_mediarithmics.modes import Cursor

logger = logging.getLogger(__name__)

_MOST_LAUNCHES = 3


class ExecutionFailed(MartechError):
    """An execution ended without a result."""


class ExecutionLauncher:
    """Runs one export.

    Args:
        exports: The organisation's exports.
        export_id: The export to run.
        poll_interval_seconds: How often to look at a running execution.
        timeout_seconds: How long to wait for its end.
        shutdown: Ends the wait when the run is asked to end.
    """

    def __init__(
        self,
        exports: Exports,
        export_id: str,
        *,
        poll_interval_seconds: float,
        timeout_seconds: float,
        shutdown: ShutdownSignal,
    ) -> None:
        """Send no request yet."""
        self._exports = exports
        self._export_id = export_id
        self._poll_interval = poll_interval_seconds
        self._timeout = timeout_seconds
        self._shutdown = shutdown

    def under_way(self, after: Cursor) -> Execution | None:
        """Return the newest execution that waits or runs, if there is one."""
        for page in new_executions(self._exports, self._export_id, after):
            waiting = [execution for execution in page if execution.is_under_way]
            if waiting:
                return max(waiting, key=lambda execution: execution.position)
        return None

    def launch(self) -> Execution:
        """Launch an execution; when the answer is lost, look whether one was launched."""
        newest = self._newest()
        for attempt in range(1, _MOST_LAUNCHES + 1):
            try:
                execution = self._exports.launch(self._export_id)
            except OutcomeUnknown as error:
                if attempt == _MOST_LAUNCHES:
                    raise
                logger.warning("%s; looking for the execution", error)
                self._shutdown.wait(self._poll_interval)
                found = self._newest()
                if found is None or (newest and found.position <= newest.position):
                    continue
                execution = found
            logger.info("execution %s of export %s launched", execution.id, self._export_id)
            break
        return execution

    def _newest(self) -> Execution | None:
        page = next(self._exports.executions(self._export_id), [])
        return max(page, key=lambda execution: execution.position, default=None)

    def wait_for_result(self, execution: Execution) -> Execution:
        """Wait until an execution has succeeded, and return it as it is then.

        Raises:
            ExecutionFailed: It ended otherwise; with the vendor's reason.
        """
        ended = self.wait_for_end(execution)
        if ended.succeeded:
            return ended
        reason = ended.error or "the vendor gives no reason"
        head = self._exports.error_file_head(ended)
        message = f"execution {ended.id} of export {self._export_id} is {ended.status}: {reason}"
        raise ExecutionFailed(f"{message}; its error file begins: {head}" if head else message)

    def wait_for_end(self, execution: Execution) -> Execution:
        """Wait until an execution has ended, in whatever way, and return it.

        Raises:
            MartechError: It has not ended in time. It is left running.
        """
        deadline = time.monotonic() + self._timeout
        seen = ""
        while not execution.has_ended:
            seen = self._show_progress(execution, seen)
            left = deadline - time.monotonic()
            if left <= 0:
                message = (
                    f"execution {execution.id} of export {self._export_id} is still "
                    f"{execution.status} after {self._timeout:g} s (execution_timeout_seconds); "
                    "it was left running, and the next run waits for it again"
                )
                raise MartechError(message)
            self._shutdown.wait(min(self._poll_interval, left))
            execution = self._refresh(execution)
        self._show_progress(execution, seen)
        return execution

    def _refresh(self, execution: Execution) -> Execution:
        """Find an execution in the list: the API is not known to give a single one."""
        for page in self._exports.executions(self._export_id):
            for listed in page:
                if listed.id == execution.id:
                    return listed
            if page and all(listed.created < execution.created for listed in page):
                break
        logger.warning("execution %s is not in the list of executions", execution.id)
        return execution

    def _show_progress(self, execution: Execution, seen: str) -> str:
        tasks = execution.tasks("num")
        done = f", {execution.tasks('completed') or 0} of {tasks} tasks done" if tasks else ""
        line = f"execution {execution.id} of export {self._export_id}: {execution.status}{done}"
        if line != seen:
            logger.info("%s", line)
        return line
