"""The windows of a run: days that are exported with one request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """Consecutive days that are exported with one request.

    Attributes:
        from_date: The first day, in the project's time zone.
        to_date: The last day, inclusive.
        streams: The names of the streams that need these days.
    """

    from_date: date
    to_date: date
    streams: tuple[str, ...]

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.to_date - self.from_date).days + 1


def first_day(
    start_date: date,
    bookmark_day: date,
    lookback_days: int,
    first_start_date: date | None = None,
) -> date:
    """Return the first day of a run.

    Args:
        start_date: The setting.
        bookmark_day: The project's day of the bookmark.
        lookback_days: Days before the bookmark to export again.
        first_start_date: The ``start_date`` of the first run, if known. An earlier
            ``start_date`` is ignored.
    """
    if first_start_date is not None:
        start_date = max(start_date, first_start_date)
    return max(start_date, days_before(bookmark_day, lookback_days))


def days_before(day: date, number: int) -> date:
    """Return the day ``number`` days earlier, or the first day of the calendar."""
    try:
        return day - timedelta(days=number)
    except OverflowError:
        return date.min


def windows(first_days: Mapping[str, date], last_day: date, window_days: int) -> Iterator[Window]:
    """Yield the windows that the streams need, oldest first.

    Streams share the windows of days that they all need.
    """
    starts = sorted({day for day in first_days.values() if day <= last_day})
    ends = [*(day - _DAY for day in starts[1:]), last_day]
    for start, end in zip(starts, ends, strict=False):
        names = tuple(name for name, day in first_days.items() if day <= start)
        while start <= end:
            try:
                to_date = min(start + (window_days - 1) * _DAY, end)
            except OverflowError:
                to_date = end
            yield Window(start, to_date, names)
            if to_date == date.max:
                return
            start = to_date + _DAY  # noqa: PLW2901 - the next window's
