"""One log line per exported window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from singer_martech.values.wording import counted
from tap_robotmia.client import format_days

if TYPE_CHECKING:
    import logging

    from tap_robotmia.windows import Window

_MINUTE, _HOUR = 60, 3600


class Progress:
    """Counts days and events, and estimates the remaining time."""

    def __init__(self, total_days: int, logger: logging.Logger) -> None:
        self._total_days = total_days
        self._logger = logger
        self._started = time.monotonic()
        self._days = 0
        self._events = 0

    def window_written(self, window: Window, events: int) -> None:
        """Log that all records of a window are written."""
        self._days += window.days
        self._events += events
        seconds = max(time.monotonic() - self._started, 0.001)
        days_left = self._total_days - self._days
        rate = f", {self._events / seconds:,.0f} events/s" if self._events else ""
        left = f", {_duration(seconds / self._days * days_left)} left" if days_left else ""
        self._logger.info(
            "%s: %d of %s done, %s so far%s%s",
            format_days(window.from_date, window.to_date),
            self._days,
            counted(self._total_days, "day"),
            counted(self._events, "event"),
            rate,
            left,
        )


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{max(seconds, 1):.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    hours, rest = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"{hours} h {rest} min"
