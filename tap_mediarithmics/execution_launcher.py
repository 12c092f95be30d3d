"""Mode ``run``: launch an execution of an export, or attach to one, and wait for its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_martech.mediarithmics.waiting import failure_of
from tap_mediarithmics.modes import newest

if TYPE_CHECKING:
    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Exports
    from singer_martech.mediarithmics.waiting import ExecutionWaiter
    from tap_mediarithmics.modes import Cursor

logger = logging.getLogger(__name__)


class ExecutionLauncher:
    """Runs one export."""

    def __init__(self, exports: Exports, export_id: str, waiter: ExecutionWaiter) -> None:
        self._exports = exports
        self._export_id = export_id
        self._owner = f"export {export_id}"
        self._waiter = waiter

    def running(self, after: Cursor) -> Execution | None:
        """Return the newest pending or running execution, if there is one."""
        return newest(self._exports, self._export_id, after, lambda each: each.is_running)

    def launch(self) -> Execution:
        """Launch an execution."""
        execution = self._exports.launch(self._export_id)
        logger.info("%s of %s launched", execution, self._owner)
        return execution

    def wait_for_result(self, execution: Execution) -> Execution:
        """Wait until an execution has succeeded, and return its final state.

        Raises:
            ExecutionFailed: It ended without success; the message has the vendor's reason.
        """
        ended = self.wait_for_end(execution)
        if ended.succeeded:
            return ended
        head = self._exports.error_file_head(ended)
        raise failure_of(ended, self._owner, f"; its error file begins: {head}" if head else "")

    def wait_for_end(self, execution: Execution) -> Execution:
        """Wait until an execution has ended, with or without success, and return it.

        Raises:
            ExecutionFailed: It has not ended in time. It is left running.
        """
        return self._waiter.wait_for_end(execution, self._owner, self._refresh)

    def _refresh(self, execution: Execution) -> Execution:
        """Find an execution in the list: no endpoint for a single one is documented."""
        for page in self._exports.executions(self._export_id):
            for listed in page:
                if listed.id == execution.id:
                    return listed
            if page and all(listed.created < execution.created for listed in page):
                break
        logger.warning("execution %s is not in the list of executions", execution.id)
        return execution
