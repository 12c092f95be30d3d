"""Which executions of an export a run reads, in the modes that launch none."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.mediarithmics.executions import id_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Exports

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cursor:
    """What executions have to be newer than.

    Attributes:
        created: Creation of the newest execution that was read, in epoch milliseconds.
        id: Its id, which decides between executions of one millisecond.
        start: Executions created before this are ignored, in epoch milliseconds.
    """

    created: int | None = None
    id: str | None = None
    start: int | None = None

    def precedes(self, execution: Execution) -> bool:
        """Whether ``execution`` is new."""
        if self.start is not None and execution.created < self.start:
            return False
        if self.created is None:
            return True
        if self.id is None:
            return execution.created > self.created
        return execution.position > (self.created, *id_order(self.id))


def new_executions(exports: Exports, export_id: str, after: Cursor) -> Iterator[list[Execution]]:
    """Yield the new executions of an export, newest first, as far as there are any."""
    for page in exports.executions(export_id):
        new = [execution for execution in page if after.precedes(execution)]
        if new:
            yield new
        elif page:
            return


def latest(exports: Exports, export_id: str, after: Cursor) -> Execution | None:
    """Return the newest execution that succeeded, if it is new."""
    for page in new_executions(exports, export_id, after):
        succeeded = [execution for execution in page if execution.succeeded]
        if succeeded:
            return max(succeeded, key=lambda execution: execution.position)
    return None


def all_ended(exports: Exports, export_id: str, after: Cursor) -> list[Execution]:
    """Return each new execution that succeeded, oldest first.

    Those that are not older than one that has not ended are left for a later run: the
    bookmark would pass it.
    """
    pages = new_executions(exports, export_id, after)
    executions = sorted(
        (execution for page in pages for execution in page),
        key=lambda execution: execution.position,
    )
    chosen = []
    for execution in executions:
        if not execution.has_ended:
            level = logging.INFO if execution.is_under_way else logging.WARNING
            logger.log(
                level,
                "export %s: execution %s is %s; it and newer ones are left for a later run "
                "(should it never end, a start_date after it leaves it out)",
                export_id,
                execution.id,
                execution.status,
            )
            break
        if execution.succeeded:
            chosen.append(execution)
    return chosen
