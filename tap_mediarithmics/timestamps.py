"""Convert between the epoch milliseconds of the vendor and the date-times of Singer."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

from singer_martech.values.timestamps import parse_iso

_EPOCH = dt.date(1970, 1, 1)
_DAY = 86_400_000
_FRACTIONS = [f".{milli:03}Z" for milli in range(1000)]
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def date_time(milliseconds: int) -> str:
    """Format epoch milliseconds as ``2021-02-08T12:55:02.668Z``.

    All such texts sort in the order of their times.

    Raises:
        OverflowError: The year is not between 1 and 9999.
    """
    rest = milliseconds % _DAY
    return f"{_date(milliseconds // _DAY)}{_times()[rest // 1000]}{_FRACTIONS[rest % 1000]}"


@lru_cache(maxsize=1)
def _times() -> list[str]:
    """All times of a day. Looking them up is several times faster than formatting."""
    return [
        f"T{hour:02}:{minute:02}:{second:02}"
        for hour in range(24)
        for minute in range(60)
        for second in range(60)
    ]


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return (_EPOCH + dt.timedelta(days=day)).isoformat()


def parse(text: str) -> dt.datetime | None:
    """Parse an ISO 8601 date or date-time, or return None. Without an offset it is UTC."""
    try:
        return parse_iso(text)
    except ValueError:
        return None


def is_date_time(text: str) -> bool:
    """Whether the text is a date with a time of day, as JSON Schema's date-time is."""
    return _DATE_TIME.match(text) is not None and parse(text) is not None


def is_date(text: str) -> bool:
    """Whether the text is a date such as ``2021-02-08``."""
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
