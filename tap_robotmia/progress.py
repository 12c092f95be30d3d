"""How far a run is, in a line per window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tap_robotmia.client import format_days

if TYPE_CHECKING:
    import logging

    from tap_robotmia.windows import Window

_MINUTE, _HOUR = 60, 3600


class Progress:
    """Counts days and events.

    Args:
        total_days: How many days the run exports.
        logger: Where the lines go, at INFO.
    """

    def __init__(self, total_days: int, logger: logging.Logger) -> None:
        """Start the clock."""
        self._total_days = total_days
        self._logger = logger
        self._started = time.monotonic()
        self._days = 0
        self._events = 0

    def window_written(self, window: Window, events: int) -> None:
        """Say that a window is written whole."""
        self._days += window.days
        self._events += events
        seconds = max(time.monotonic() - self._started, 0.001)
        left = seconds / self._days * (self._total_days - self._days)
        self._logger.info(
            "%s: %d of %d days done, %d events so far, %.0f events/s, %s left",
            format_days(window.from_date, window.to_date),
            self._days,
            self._total_days,
            self._events,
            self._events / seconds,
            _duration(left),
        )


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    hours, rest = divmod(seconds, _HOUR)
    return f"{hours:.0f} h {rest / _MINUTE:.0f} min"
