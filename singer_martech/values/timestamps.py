"""Parse timestamps in common forms, and format them."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Any

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_from_iso_format = datetime.datetime.fromisoformat
_FIRST_MILLISECONDS = 100_000_000_000
"""Larger numbers are milliseconds; as seconds they would be after the year 5000."""
_MAX_DIGITS = 16
"""Epoch milliseconds of the year 9999 have 15 digits. Larger numbers are never expanded."""
_MAX_TEXT = 100
_OUT_OF_RANGE = "the time is outside the years 1 to 9999"
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r" ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def parse_timestamp(value: Any) -> datetime.datetime:
    """Parse a point in time.

    Args:
        value: ISO 8601 text, a date, or a number of seconds or milliseconds since 1970.
            A value without an offset is UTC.

    Returns:
        The time in UTC.

    Raises:
        ValueError: The value is not a timestamp.
    """
    if isinstance(value, str):
        return parse_iso(value)
    if isinstance(value, datetime.datetime):
        return _in_utc(value)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return _from_epoch(value)
    raise ValueError(f"{type(value).__name__} is not a date-time")


def parse_iso(text: str) -> datetime.datetime:
    """Parse an ISO 8601 date or date-time, in more forms than Python 3.10 accepts.

    A text without an offset is UTC. Digits beyond microseconds are cut off.

    Returns:
        The time in UTC.

    Raises:
        ValueError: The text is not ISO 8601, or its year in UTC is not between 1 and 9999.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError("the text is too long for a date-time")
    text = text.strip()
    try:
        time = _from_iso_format(text)
    except ValueError:
        time = _parse_leniently(text)
    return time if time.tzinfo is datetime.timezone.utc else _in_utc(time)


def _parse_leniently(text: str) -> datetime.datetime:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("the text is not an ISO 8601 date or date-time")
    date, hour, minute, second, fraction, offset = match.groups(default="")
    offset = "+00:00" if offset in {"", "Z", "z"} else offset
    if len(offset) == len("+00"):
        offset += ":00"
    elif ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    fraction = fraction[:6].ljust(6, "0")
    return _from_iso_format(
        f"{date}T{hour or '00'}:{minute or '00'}:{second or '00'}.{fraction}{offset}"
    )


def _from_epoch(value: float | Decimal) -> datetime.datetime:
    number: int | Decimal
    if isinstance(value, int):
        number = value
    else:
        number = Decimal(str(value))
        # check before expanding the digits
        if not number.is_finite() or number.adjusted() >= _MAX_DIGITS:
            raise ValueError(_OUT_OF_RANGE)
    is_seconds = -_FIRST_MILLISECONDS < number < _FIRST_MILLISECONDS
    scale = 1_000_000 if is_seconds else 1_000
    try:
        return _EPOCH + datetime.timedelta(microseconds=int(number * scale))
    except OverflowError:
        raise ValueError(_OUT_OF_RANGE) from None


def _in_utc(time: datetime.datetime) -> datetime.datetime:
    if time.tzinfo is None:
        return time.replace(tzinfo=datetime.timezone.utc)
    try:
        return time.astimezone(datetime.timezone.utc)
    except OverflowError:
        raise ValueError(_OUT_OF_RANGE) from None


def epoch_s(value: Any) -> int:
    """Return whole seconds since 1970."""
    since = parse_timestamp(value) - _EPOCH
    return since.days * 86_400 + since.seconds


def epoch_ms(value: Any) -> int:
    """Return whole milliseconds since 1970."""
    time = parse_iso(value) if value.__class__ is str else parse_timestamp(value)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def end_of_day(day: datetime.date, zone: datetime.tzinfo) -> datetime.datetime:
    """Return the first instant after a day in a time zone, in UTC."""
    after = day + datetime.timedelta(days=1)
    midnight = datetime.datetime(after.year, after.month, after.day, tzinfo=zone)
    return midnight.astimezone(datetime.timezone.utc)


def instant_text(instant: datetime.datetime) -> str:
    """Return ISO 8601 text in UTC with microseconds; such texts sort by their times."""
    utc = instant.astimezone(datetime.timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def iso(value: Any) -> str:
    """Return ISO 8601 text in UTC, with as many decimals as needed."""
    time = parse_timestamp(value)
    precision = "milliseconds" if time.microsecond and not time.microsecond % 1000 else "auto"
    return time.isoformat(timespec=precision).replace("+00:00", "Z")
