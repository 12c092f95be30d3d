"""How long to wait before a request is tried again, and when to give up."""

from __future__ import annotations

import datetime
import logging
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import backoff

if TYPE_CHECKING:
    from collections.abc import Generator

    from singer_martech.http.errors import Answer

logger = logging.getLogger(__name__)

_TOO_MANY_REQUESTS = 429
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0


class Patience:
    """The tries of one request.

    Failures count against ``max_attempts``. Answers of 429 do not: an hourly budget
    outlasts any backoff, so they are waited out for up to
    ``max_rate_limit_wait_seconds`` in a row.
    """

    def __init__(self, what: str, max_attempts: int, max_rate_limit_wait_seconds: float) -> None:
        """Begin before the first try."""
        self._what = what
        self._max_attempts = max_attempts
        self._max_wait = max_rate_limit_wait_seconds
        self._failures = 0
        self._limited_since: float | None = None
        self._waits = _exponential()
        self.verdict = ""

    @property
    def is_rate_limited(self) -> bool:
        """Whether the last answer was 429."""
        return self._limited_since is not None

    def seconds_until_next_try(self, reason: str, answer: Answer | None) -> float | None:
        """Decide after a failed try.

        Args:
            reason: Why it failed, for the log.
            answer: What was answered, if anything.

        Returns:
            How long to wait, or None to give up, with ``verdict`` saying why.
        """
        asked = None if answer is None else _retry_after(answer)
        if answer is not None and answer.status == _TOO_MANY_REQUESTS:
            seconds = self._after_rate_limit(reason, asked)
        else:
            self._limited_since = None
            seconds = self._after_failure(reason, asked)
        if seconds is not None:
            logger.warning("%s: %s; next try in %.1f s", self._what, reason, seconds)
        return seconds

    def _after_failure(self, reason: str, asked: float | None) -> float | None:
        self._failures += 1
        if self._failures >= self._max_attempts:
            self.verdict = (
                f"{self._what}: gave up after {self._failures} tries (max_attempts); "
                f"the last failed with {reason}"
            )
            return None
        if asked is not None and asked > self._max_wait:
            self.verdict = (
                f"{self._what}: the vendor asks to come back in {asked:.0f} s, which is more "
                f"than max_rate_limit_wait_seconds ({self._max_wait:g}); {reason}"
            )
            return None
        return asked or next(self._waits)

    def _after_rate_limit(self, reason: str, asked: float | None) -> float | None:
        now = time.monotonic()
        if self._limited_since is None:
            self._limited_since = now
            self._waits = _exponential()
        left = self._limited_since + self._max_wait - now
        if left <= 0 or (asked is not None and asked > left):
            wish = "" if asked is None else f", and the vendor asks for {asked:.0f} s more"
            self.verdict = (
                f"{self._what}: still rate-limited after {now - self._limited_since:.0f} s"
                f"{wish}; wait, or raise max_rate_limit_wait_seconds ({self._max_wait:g}); {reason}"
            )
            return None
        return asked or min(next(self._waits), left)


def _exponential() -> Generator[float, None, None]:
    """Yield waits in seconds: half a second at first, doubled each time, with jitter."""
    ceilings = backoff.expo(base=2, factor=_FIRST_WAIT_SECONDS, max_value=_LONGEST_WAIT_SECONDS)
    next(ceilings)  # the generator first yields what backoff's own loop sends away
    for ceiling in ceilings:
        yield ceiling / 2 + backoff.full_jitter(ceiling / 2)


def _retry_after(answer: Answer) -> float | None:
    """Read ``Retry-After``, in seconds or as a date; None where it says nothing useful."""
    text = answer.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (TypeError, ValueError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.timezone.utc)
        seconds = (date - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    return seconds if 0 < seconds < float("inf") else None
