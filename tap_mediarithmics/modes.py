"""The executions that the modes ``latest`` and ``all`` read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.mediarithmics.executions import id_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Exports

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cursor:
    """The position after which executions are new.

    Attributes:
        created: Creation of the execution that was read last, in epoch milliseconds.
        id: Its id, to order executions of one millisecond.
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


def new_executions(exports: Exports, export_id: str, after: Cursor) -> list[Execution]:
    """Return the new executions of an export, oldest first."""
    pages = _new_pages(exports, export_id, after)
    new = (execution for page in pages for execution in page)
    return sorted(new, key=lambda execution: execution.position)


def _new_pages(exports: Exports, export_id: str, after: Cursor) -> Iterator[list[Execution]]:
    """Yield the new executions of an export in pages, newest first."""
    for page in exports.executions(export_id):
        new = [execution for execution in page if after.precedes(execution)]
        if new:
            yield new
        elif page:
            return


def latest(exports: Exports, export_id: str, after: Cursor) -> Execution | None:
    """Return the newest execution that succeeded, if it is new."""
    return newest(exports, export_id, after, lambda execution: execution.succeeded)


def newest(
    exports: Exports, export_id: str, after: Cursor, is_wanted: Callable[[Execution], bool]
) -> Execution | None:
    """Return the newest of the wanted executions, if it is new."""
    for page in _new_pages(exports, export_id, after):
        wanted = [execution for execution in page if is_wanted(execution)]
        if wanted:
            return max(wanted, key=lambda execution: execution.position)
    return None


def all_ended(exports: Exports, export_id: str, after: Cursor) -> list[Execution]:
    """Return each new execution that succeeded, oldest first.

    It stops before the oldest one that has not ended: the bookmark would pass it.
    """
    chosen = []
    for execution in new_executions(exports, export_id, after):
        if not execution.has_ended:
            level = logging.INFO if execution.is_running else logging.WARNING
            logger.log(
                level,
                "export %s: execution %s is %s; it and newer ones are left for a later run "
                "(if it never ends, set start_date after it)",
                export_id,
                execution.id,
                execution.status,
            )
            break
        if execution.succeeded:
            chosen.append(execution)
    return chosen
