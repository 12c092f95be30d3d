"""Write the date-times of ISO 8601 in the form of RFC 3339.

The vendor's OpenAPI description says ``format: date-time``: a calendar date, a time with
seconds, and an offset with a colon.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_ISO_8601 = re.compile(
    r"(\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d|\d{4}-\d{3})"
    r"(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?"
    r" ?([Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_ZEROED_RFC_3339 = re.compile(rb"0000-00-00T00:00:00(?:\.0+)?(?:Z|[+-]00:00)")
_SEPARATOR = b'","'
_check_ranges = msgspec.json.Decoder(list[datetime.datetime]).decode
_SECONDS_END = len("2024-01-31T00:00:00")
_CALENDAR_DIGITS = len("20240131")


def to_rfc_3339(text: str) -> str | None:
    """Return a date-time of ISO 8601 in the form of RFC 3339.

    Calendar, ordinal and week dates in basic or extended format are accepted, with a time or
    without. Without an offset it is UTC; without a time it is midnight.

    Args:
        text: The text; it is returned itself if it has that form already.

    Returns:
        The date-time, or None if the text is not one.

    Raises:
        ValueError: The text has the form of a date-time, but there is no such date or time.
    """
    if _is_common(text):
        return text
    if _RFC_3339.fullmatch(text):
        _check(text[:_SECONDS_END])
        return text
    match = _ISO_8601.fullmatch(text.strip())
    if match is None:
        return None
    date, hour, minute, second, fraction, offset = match.groups()
    plain = f"{_calendar_date(date)}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    _check(plain)
    return f"{plain}{f'.{fraction}' if fraction else ''}{_offset(offset)}"


def are_rfc_3339(texts: Sequence[str]) -> bool:
    """Whether ``to_rfc_3339`` returns each text itself; False also if that is unclear.

    The texts are checked together, which takes a fraction of the time of one by one.

    Args:
        texts: At least one text.
    """
    try:
        joined = _SEPARATOR.decode().join(texts).encode()
        if not _have_form(texts, joined):
            return False
        _check_ranges(b'["%b"]' % joined)
    except ValueError:
        return False
    return True


def _have_form(texts: Sequence[str], joined: bytes) -> bool:
    zeroed = joined.translate(_ZEROS)
    forms = [zeroed[: len(texts[0])]] * len(texts)
    if _SEPARATOR.join(forms) != zeroed:  # they differ
        forms = zeroed.split(_SEPARATOR)
    return len(forms) == len(texts) and all(map(_ZEROED_RFC_3339.fullmatch, set(forms)))


def _is_common(text: str) -> bool:
    """Whether a text is a UTC date-time as most taps write it; faster than the expression."""
    if text[-1:] != "Z" or text[4:17:3] != "--T::":  # at each third position from 4 to 16
        return False
    fraction = text[_SECONDS_END:-1]
    if fraction and not (fraction[0] == "." and fraction[1:].isdecimal() and fraction.isascii()):
        return False
    try:
        datetime.datetime.fromisoformat(text[:_SECONDS_END])
    except ValueError:  # it may be a leap second
        return False
    return True


def _calendar_date(text: str) -> str:
    digits = text.replace("-", "")
    if "W" in digits:
        year, week, day = int(digits[:4]), int(digits[5:7]), int(digits[7])
        return datetime.date.fromisocalendar(year, week, day).isoformat()
    if len(digits) == _CALENDAR_DIGITS:
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    year, day = int(digits[:4]), int(digits[4:])
    date = datetime.date(year, 1, 1) + datetime.timedelta(days=day - 1)
    if date.year != year:
        raise ValueError(text)
    return date.isoformat()


def _offset(text: str | None) -> str:
    if text is None or text in {"Z", "z"}:
        return "Z"
    digits = text[1:].replace(":", "").ljust(4, "0")
    return f"{text[0]}{digits[:2]}:{digits[2:]}"


def _check(text: str) -> None:
    # RFC 3339 has leap seconds, which Python does not know
    datetime.datetime.fromisoformat(f"{text[:-2]}59" if text.endswith(":60") else text)
