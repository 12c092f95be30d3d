"""Create something exactly once, even if the response to the request is lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from singer_martech.http.errors import InvalidResponse, OutcomeUnknown, RetriesExhausted
from singer_martech.http.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.http.client import HttpClient
    from singer_martech.http.stats import RequestStats

T = TypeVar("T")

logger = logging.getLogger(__name__)


def recover_lost(
    client: HttpClient,
    send: Callable[[], T],
    find: Callable[[OutcomeUnknown | InvalidResponse], T | None],
    *,
    label: str,
    stats: RequestStats | None = None,
) -> T:
    """Send a request that must not be sent twice; if its outcome is unknown, look for its effect.

    The request is sent again only when ``find`` has found nothing.

    Args:
        client: Its settings limit the attempts, and its shutdown ends the wait between them.
        send: Sends the request with ``idempotent=False`` and returns what it created.
        find: Looks for what a lost request created. It gets the error, and returns None if
            there is nothing. It may raise if it cannot tell.
        label: Names the request in messages.
        stats: Counts the retries.

    Raises:
        RetriesExhausted: ``max_attempts`` requests were lost, and none had an effect.
        HttpError: The request was rejected.
        Stopped: The run was asked to end.
    """
    policy = RetryPolicy(label, client.settings)
    while True:
        try:
            return send()
        except (OutcomeUnknown, InvalidResponse) as error:
            found = find(error)
            if found is not None:
                logger.warning("%s; %s was found", error, found)
                return found
            reason = f"{error}; it had no effect"
            seconds = policy.seconds_until_next_attempt(reason, error.response)
            if seconds is None:
                raise RetriesExhausted(policy.give_up_reason, error.response) from error
        client.shutdown.wait(seconds)
        if stats is not None:
            stats.retries += 1
