"""Points in time: reading them in the forms that occur, and writing them."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_FIRST_MILLISECONDS = 100_000_000_000
"""Numbers from here on are milliseconds: as seconds they would lie after the year 5000."""
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r" ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def parse_timestamp(value: Any) -> datetime.datetime:
    """Read a point in time.

    Args:
        value: ISO-8601 text, a date, or a number of seconds or milliseconds since 1970.
            Without an offset it is UTC.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, datetime.datetime):
        return _in_utc(value)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = Decimal(str(value))
        scale = 1_000 if abs(number) >= _FIRST_MILLISECONDS else 1_000_000
        return _EPOCH + datetime.timedelta(microseconds=int(number * scale))
    message = f"{type(value).__name__} is not a date-time"
    raise ValueError(message)


@lru_cache(maxsize=256)  # a mapping often asks for one field's time more than once
def _parse_text(text: str) -> datetime.datetime:
    """Read ISO-8601 text, in more of its forms than Python 3.10 does by itself."""
    match = _ISO.fullmatch(text)
    if match is not None:
        date, hour, minute, second, fraction, offset = match.groups(default="")
        offset = "+00:00" if offset in {"", "Z", "z"} else offset
        if len(offset) == len("+00"):
            offset += ":00"
        elif ":" not in offset:
            offset = f"{offset[:3]}:{offset[3:]}"
        fraction = fraction[:6].ljust(6, "0")
        text = f"{date}T{hour or '00'}:{minute or '00'}:{second or '00'}.{fraction}{offset}"
    return _in_utc(datetime.datetime.fromisoformat(text))


def _in_utc(point: datetime.datetime) -> datetime.datetime:
    if point.tzinfo is None:
        return point.replace(tzinfo=datetime.timezone.utc)
    return point.astimezone(datetime.timezone.utc)


def epoch_s(value: Any) -> int:
    """Whole seconds since 1970."""
    since = parse_timestamp(value) - _EPOCH
    return since.days * 86_400 + since.seconds


def epoch_ms(value: Any) -> int:
    """Whole milliseconds since 1970."""
    since = parse_timestamp(value) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def iso(value: Any) -> str:
    """ISO-8601 text in UTC, with as many decimals as are needed."""
    point = parse_timestamp(value)
    precision = "milliseconds" if point.microsecond and not point.microsecond % 1000 else "auto"
    return point.isoformat(timespec=precision).replace("+00:00", "Z")
