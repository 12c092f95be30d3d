"""Wait for the requests in flight when a run ends early."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from singer_martech.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.sender_pool import SenderPool
    from singer_martech.runtime.shutdown import ShutdownSignal

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 5.0


def wait_for_all(
    pool: SenderPool,
    settle_ended: Callable[[], None],
    shutdown: ShutdownSignal,
    grace_seconds: float,
) -> None:
    """Settle all requests in flight; failures are only logged."""
    deadline: float | None = None
    is_logged = False
    while True:
        if not _succeeds(settle_ended):
            continue
        if not pool.awaited:
            return
        if shutdown.is_set and deadline is None:
            deadline = time.monotonic() + shutdown.seconds_left(grace_seconds)
        left = _QUIET_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            logger.warning(
                "no response to %d request(s) within %.0f s after the signal; "
                "their records are not in STATE and will be sent again",
                len(pool.awaited),
                grace_seconds,
            )
            return
        if not pool.wait(left) and deadline is None and not is_logged:
            is_logged = True
            logger.warning(
                "the run has failed; waiting for the responses to %d request(s), so that "
                "STATE is exact; a signal ends the wait",
                len(pool.awaited),
            )


def _succeeds(settle_ended: Callable[[], None]) -> bool:
    try:
        settle_ended()
    except Stopped:
        return False
    except BaseException as error:  # noqa: BLE001 - the first error is the reason
        logger.warning("%s", str(error) or type(error).__name__)
        return False
    return True
