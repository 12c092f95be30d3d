"""Which days a run exports, cut into windows, one request each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """Some days that are exported together.

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
        """How many days it has."""
        return (self.to_date - self.from_date).days + 1


def first_day(
    start_date: date,
    bookmark_day: date | None,
    lookback_days: int,
    first_start_date: date | None = None,
) -> date:
    """Return the day on which a run begins.

    Args:
        start_date: The setting.
        bookmark_day: The project's day of the bookmark, if there is one.
        lookback_days: How many days before the bookmark are exported again.
        first_start_date: The ``start_date`` of the first run, if known; an earlier one does
            not bring back what was left out then.
    """
    if bookmark_day is None:
        return start_date
    if first_start_date is not None:
        start_date = max(start_date, first_start_date)
    return max(start_date, days_before(bookmark_day, lookback_days))


def days_before(day: date, number: int) -> date:
    """Return the day so many days earlier, or the calendar's first."""
    try:
        return day - timedelta(days=number)
    except OverflowError:
        return date.min


def windows(first_days: Mapping[str, date], last_day: date, window_days: int) -> Iterator[Window]:
    """Cut the days that some streams need into windows, oldest first.

    Where the streams need the same days they share a window; a stream that begins later
    joins at the start of one.

    Args:
        first_days: The first day that each stream needs.
        last_day: The last day, inclusive, of all of them.
        window_days: How many days a window has at most.
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
