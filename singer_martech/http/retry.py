"""The wait before a request is retried, and when to give up."""

from __future__ import annotations

import datetime
import logging
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import backoff

if TYPE_CHECKING:
    from collections.abc import Generator

    from singer_martech.http.response import Response
    from singer_martech.http.settings import HttpSettings

logger = logging.getLogger(__name__)

_TOO_MANY_REQUESTS = 429
_MIN_WAIT_SECONDS = 0.1
"""Lower bound of ``Retry-After``, so that 429 responses never become a busy loop."""
_INITIAL_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 60.0


class RetryPolicy:
    """Counts the attempts of one request.

    Failures count against ``max_attempts``. Status 429 does not: an hourly budget outlasts
    any backoff, so consecutive 429 responses are waited out for up to
    ``max_rate_limit_wait_seconds``.
    """

    def __init__(self, label: str, limits: HttpSettings) -> None:
        self._label = label
        self._max_attempts = limits.max_attempts
        self._max_wait = limits.max_rate_limit_wait_seconds
        self._failures = 0
        self._limited_since: float | None = None
        self._waits = _exponential()
        self.give_up_reason = ""

    @property
    def is_rate_limited(self) -> bool:
        """Whether the last response was 429."""
        return self._limited_since is not None

    def seconds_until_next_attempt(self, reason: str, response: Response | None) -> float | None:
        """Decide what follows a failed attempt.

        Returns:
            How long to wait, or None to give up; ``give_up_reason`` then says why.
        """
        retry_after = None if response is None else _retry_after(response)
        if response is not None and response.status == _TOO_MANY_REQUESTS:
            seconds = self._after_rate_limit(reason, retry_after)
        else:
            self._limited_since = None
            seconds = self._after_failure(reason, retry_after)
        if seconds is not None:
            logger.warning("%s: %s; next attempt in %.1f s", self._label, reason, seconds)
        return seconds

    def _after_failure(self, reason: str, retry_after: float | None) -> float | None:
        self._failures += 1
        if self._failures >= self._max_attempts:
            attempts = "1 attempt" if self._failures == 1 else f"{self._failures} attempts"
            self.give_up_reason = (
                f"{self._label}: gave up after {attempts} (max_attempts); "
                f"the last failed with {reason}"
            )
            return None
        if retry_after is not None and retry_after > self._max_wait:
            self.give_up_reason = (
                f"{self._label}: the vendor asks to wait {retry_after:.0f} s, which is more "
                f"than max_rate_limit_wait_seconds ({self._max_wait:g}); {reason}"
            )
            return None
        return retry_after or next(self._waits)

    def _after_rate_limit(self, reason: str, retry_after: float | None) -> float | None:
        now = time.monotonic()
        if self._limited_since is None:
            self._limited_since = now
            self._waits = _exponential()
        waited = now - self._limited_since
        if waited >= self._max_wait or (
            retry_after is not None and waited + retry_after > self._max_wait
        ):
            asks = (
                "" if retry_after is None else f", and the vendor asks for {retry_after:.0f} s more"
            )
            self.give_up_reason = (
                f"{self._label}: still rate-limited after {waited:.0f} s"
                f"{asks}; wait, or raise max_rate_limit_wait_seconds ({self._max_wait:g}); {reason}"
            )
            return None
        return retry_after or min(next(self._waits), self._max_wait - waited)


def _exponential() -> Generator[float, None, None]:
    """Yield waits in seconds, doubled each time, with jitter."""
    ceilings = backoff.expo(base=2, factor=_INITIAL_WAIT_SECONDS, max_value=_MAX_WAIT_SECONDS)
    next(ceilings)  # the first value is not a wait: backoff's own loop discards it, too
    for ceiling in ceilings:
        yield ceiling / 2 + backoff.full_jitter(ceiling / 2)


def _retry_after(response: Response) -> float | None:
    """Read ``Retry-After``, in seconds or as a date; None if it is missing or invalid."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text)
    return max(seconds, _MIN_WAIT_SECONDS) if 0 < seconds < float("inf") else None


def _seconds_until(text: str) -> float:
    """Return the seconds until a date; 0 if it is invalid."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return 0
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.timezone.utc)
    return (date - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
