"""Filters of templates that need no Jinja."""

from __future__ import annotations

import datetime
import decimal
import functools
import hashlib
import json
import uuid
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.operations import format_text
from singer_martech.values import numbers
from singer_martech.values.json_codec import encode
from singer_martech.values.limits import check_insertion, check_replacement
from singer_martech.values.number_limits import check_magnitude
from singer_martech.values.timestamps import epoch_ms, epoch_s, iso, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "singer-martech").bytes
_NAMESPACE_DIGEST = hashlib.sha1(_NAMESPACE, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_ODD = {digit: f"{int(digit, 16) | 1:x}" for digit in "0123456789abcdef"}
_GREGORIAN_START = datetime.datetime(1582, 10, 15, tzinfo=datetime.timezone.utc)
_ROUNDINGS = {
    "common": decimal.ROUND_HALF_EVEN,
    "ceil": decimal.ROUND_CEILING,
    "floor": decimal.ROUND_FLOOR,
}
_MAX_PRECISION = 1000


def as_text(value: Any) -> str:
    """Return a value as text: null as empty text, text unchanged, other values as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        return iso(value)
    if isinstance(value, (dict, list, tuple, bool)):
        return json.dumps(value, default=as_text, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def sha256(value: Any) -> str:
    """Return the SHA-256 of the text, in hexadecimal."""
    text = value if value.__class__ is str else as_text(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def name_uuid(value: Any) -> str:
    """Return a version 5 UUID that depends only on the text."""
    # the same result as uuid.uuid5 in a fraction of its time
    return _uuid_text(_name_digits(value), version=5)


def time_uuid(value: Any, time: Any = None) -> str:
    """Return a UUID in version 1 format that depends only on the text and the time.

    Args:
        value: The text.
        time: The time in the UUID; without one, the UUID's time is arbitrary.
    """
    digits = _name_digits(value)
    if time is not None:
        since = parse_timestamp(time) - _GREGORIAN_START
        ticks = (since // datetime.timedelta(microseconds=1)) * 10
        if not 0 <= ticks < 1 << 60:
            raise ValueError("a version 1 UUID can only hold times from 1582-10-15 to 5236")
        times = f"{ticks:016x}"
        digits = times[8:] + times[4:8] + times[:4] + digits[16:]
    # a random node id has the multicast bit (RFC 9562, section 6.10)
    return _uuid_text(f"{digits[:21]}{_ODD[digits[21]]}{digits[22:]}", version=1)


def _name_digits(value: Any) -> str:
    digest = _NAMESPACE_DIGEST.copy()
    digest.update(as_text(value).encode())
    return digest.hexdigest()


def _uuid_text(digits: str, version: int) -> str:
    """Return a UUID whose remaining digits are those of a hash."""
    return (
        f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-"
        f"{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"
    )


def as_json(value: Any) -> str:
    """Like Jinja's ``tojson``, but return plain text with exact numbers."""
    return encode(value).decode()


def exact_float(value: Any, default: Any = Decimal(0)) -> Decimal:
    """Like Jinja's ``float``, but return a decimal."""
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return Decimal(str(default))


def exact_int(value: Any, default: Any = 0, base: int = 10) -> Any:
    """Like Jinja's ``int``, but without converting to a double.

    Raises:
        ValueError: The number is too large.
    """
    try:
        if isinstance(value, str) and base != _DECIMAL_BASE:
            number_in_base = int(value, base)
            check_magnitude(number_in_base)
            return number_in_base
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except (ArithmeticError, TypeError, ValueError):
        return default
    if not number.is_finite():
        return default
    check_magnitude(number)
    return int(number)


_DECIMAL_BASE = 10


def exact_round(value: Any, precision: int = 0, method: str = "common") -> Any:
    """Like Jinja's ``round``, but exact.

    Raises:
        ValueError: The number or the precision is too large, or the method is unknown.
    """
    unit, rounding = _rounding(precision, method)
    number = Decimal(value)
    check_magnitude(number)
    rounded = number.quantize(unit, rounding, numbers.EXACT)
    return int(rounded) if isinstance(value, int) else rounded


@functools.lru_cache(maxsize=256, typed=True)
def _rounding(precision: int, method: str) -> tuple[Decimal, str]:
    if method not in _ROUNDINGS:
        raise ValueError("the method of round must be 'common', 'ceil' or 'floor'")
    if abs(precision) > _MAX_PRECISION:
        raise ValueError("the precision of round is too large")
    return Decimal(1).scaleb(-precision), _ROUNDINGS[method]


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Like Jinja's ``replace``; null is empty text.

    Raises:
        ValueError: The result would be too long.
    """
    text, old, new = ("" if each is None else str(each) for each in (value, old, new))
    check_replacement(text, old, new)
    return text.replace(old, new, -1 if count is None else count)


def format_values(value: Any, *args: Any, **kwargs: Any) -> str:
    """Like Jinja's ``format``; null is empty text.

    Raises:
        ValueError: The result would be too long.
    """
    return format_text(str(value), kwargs or args)


def join(items: list[Any], separator: Any = "") -> str:
    """Join items as text; null is empty text.

    Raises:
        ValueError: The result would be too long.
    """
    check_insertion(len(items), str(separator))
    return str(separator).join("" if item is None else str(item) for item in items)


def total(items: Iterable[Any], start: Any = 0) -> Any:
    """Return the sum of numbers, or the items of lists in one list, after a start.

    Raises:
        TypeError: The items and the start are not all numbers, or all lists.
    """
    if isinstance(start, (int, Decimal)):
        return sum(items, start)
    result = []
    for each in (start, *items):
        if not isinstance(each, list):
            raise TypeError("sum needs numbers or lists")
        result += each
    return result


def identity(value: Any) -> Any:
    """Return a value that equals that of an equal value; a record cannot choose its hash."""
    if isinstance(value, (int, Decimal)):
        return numbers.identity(value)
    return value


FILTERS: dict[str, Callable[..., Any]] = {
    "epoch_s": epoch_s,
    "epoch_ms": epoch_ms,
    "iso": iso,
    "sha256": sha256,
    "uuid": name_uuid,
    "uuid1": time_uuid,
}
"""Filters in addition to Jinja's, by name. Their only argument is the value."""
INSTEAD: dict[str, Callable[..., Any]] = {
    "float": exact_float,
    "format": format_values,
    "int": exact_int,
    "replace": replace,
    "round": exact_round,
    "tojson": as_json,
}
"""Replacements of Jinja's filters, by name."""
