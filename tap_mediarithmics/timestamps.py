"""Points in time between the vendor's epoch milliseconds and Singer's date-times."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

UTC = dt.timezone.utc
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_FRACTIONS = [f".{milli:03}Z" for milli in range(1000)]
_MILLISECOND = dt.timedelta(milliseconds=1)
_PARTS_OF_SECOND = re.compile(r"(?<=:\d\d)[.,](\d+)")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def date_time(milliseconds: int) -> str:
    """Write epoch milliseconds as ``2021-02-08T12:55:02.668Z``, exact to the millisecond.

    All such texts sort as the instants do.

    Raises:
        OverflowError: The year is not between 1 and 9999.
    """
    rest = milliseconds % _DAY
    return f"{_date(milliseconds // _DAY)}{_times()[rest // 1000]}{_FRACTIONS[rest % 1000]}"


@lru_cache(maxsize=1)
def _times() -> list[str]:
    """All times of a day: looking them up is what makes millions of date-times cheap."""
    return [
        f"T{hour:02}:{minute:02}:{second:02}"
        for hour in range(24)
        for minute in range(60)
        for second in range(60)
    ]


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return (_EPOCH + dt.timedelta(days=day)).date().isoformat()


def date(milliseconds: int) -> str | None:
    """Write epoch milliseconds as a date, where they are a midnight in UTC."""
    day, rest = divmod(milliseconds, _DAY)
    return None if rest else _date(day)


def milliseconds(instant: dt.datetime) -> int:
    """Return an instant in whole epoch milliseconds, what is finer cut off."""
    return (instant - _EPOCH) // _MILLISECOND


def parse(text: str) -> dt.datetime | None:
    """Read an ISO 8601 date or date-time; without an offset it is UTC.

    Returns:
        The instant, or None where the text is something else.
    """
    # Python before 3.11 reads neither Z nor other fractions than of 3 or 6 digits.
    text = _PARTS_OF_SECOND.sub(lambda match: f".{match[1][:6]:0<6}", text.strip())
    if text[-1:] in {"Z", "z"}:
        text = f"{text[:-1]}+00:00"
    try:
        instant = dt.datetime.fromisoformat(text)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        instant.astimezone(UTC)
    except (ValueError, OverflowError):  # also where its year would not be one in UTC
        return None
    return instant


def is_date_time(text: str) -> bool:
    """Whether the text is a date with a time of day, as JSON Schema's date-time is."""
    return _DATE_TIME.match(text) is not None and parse(text) is not None


def is_date(text: str) -> bool:
    """Whether the text is a date such as ``2021-02-08``."""
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
