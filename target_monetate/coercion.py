"""Convert values to the data types of a dataset's fields.

A value is converted only if the conversion loses nothing. The rules, with the vendor's pages,
are in :mod:`target_monetate.rules`.
"""

from __future__ import annotations

import csv
import datetime
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.filters import as_text
from singer_martech.values.json_codec import encode
from singer_martech.values.numbers import without_zero_fraction
from singer_martech.values.timestamps import iso
from target_monetate.dataset import (
    BOOLEAN,
    DATETIME,
    GOOGLE_PRODUCT_CATEGORY,
    MULTI_STRING,
    NUMBER,
    STRING,
)
from target_monetate.datetimes import to_rfc_3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Coercion = Callable[[Any], Any]
    """Returns the converted value, the value itself if it fits, or None if it is empty."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)
"""Longer exponents are beyond what Decimal can hold."""
_TRUTH = {"true": True, "false": False}
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


class TypeMismatch(ValueError):
    """A value does not fit its field's type; the text says why, without the value."""


def to_string(value: Any) -> str | None:
    """Convert to a STRING: text without white space around it.

    Numbers and booleans become their text, nested values their JSON.
    """
    kind = type(value)
    if kind is int or kind is Decimal:
        return str(value)
    if kind is not str:
        value = _text(value)
    return value.strip() or None


def to_key(value: Any) -> str | None:
    """Convert to the STRING of an identifier or unique key: 208045946.0 is ``208045946``."""
    return to_string(without_zero_fraction(value))


def to_number(value: Any) -> int | Decimal | float | None:
    """Convert a number, or text with a number, to a NUMBER with all digits."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if not _NUMBER.fullmatch(value):
            raise TypeMismatch("the text is not a number")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise TypeMismatch(f"{_kind(value)} is not a number")
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise TypeMismatch("the number is not finite")
    return value


def to_boolean(value: Any) -> bool | None:
    """Convert to a BOOLEAN: true or false, as such or as text, or the numbers 1 and 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if not text:
            return None
        if text in _TRUTH:
            return _TRUTH[text]
    elif isinstance(value, (int, Decimal)) and value in {0, 1}:
        return value == 1
    raise TypeMismatch(f"{_kind(value)} is neither true nor false")


def to_datetime(value: Any) -> str | None:
    """Convert to a DATETIME; see :func:`target_monetate.datetimes.to_rfc_3339`.

    Numbers are rejected, because seconds, milliseconds and 20240131 cannot be distinguished.
    """
    if isinstance(value, datetime.date):
        return iso(value)
    if not isinstance(value, str):
        raise TypeMismatch(f"{_kind(value)} is not a date-time")
    try:
        converted = to_rfc_3339(value)
    except ValueError:
        raise TypeMismatch("there is no such date or time") from None
    if converted is None and value.strip():
        raise TypeMismatch("the text is not a date-time")
    return converted


def to_multi_string(value: Any) -> str | None:
    """Convert to a MULTI_STRING: a list, or text with its values separated by commas already."""
    if isinstance(value, str):
        items = _separated(value)
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, (dict, list, tuple)) for item in value):
            raise TypeMismatch("its values are nested")
        items = [_text(item) for item in value if item is not None]
    elif isinstance(value, dict):
        raise TypeMismatch("an object is not a list of values")
    else:
        items = [_text(value)]
    text = ",".join(_escaped(item) for item in map(str.strip, items) if item)
    if not text:
        return None
    return value if text == value else text


COERCIONS: Mapping[str, Coercion] = {
    STRING: to_string,
    GOOGLE_PRODUCT_CATEGORY: to_string,
    NUMBER: to_number,
    BOOLEAN: to_boolean,
    DATETIME: to_datetime,
    MULTI_STRING: to_multi_string,
}
"""By data type."""

FITTING_TYPES: Mapping[str, frozenset[type]] = {
    NUMBER: frozenset({int, Decimal}),
    BOOLEAN: frozenset({bool}),
}
"""By data type, the Python types whose values need no conversion. Text is not among them."""


def as_given(value: Any) -> Any:
    """Return the value itself: the coercion of a data type that is not documented."""
    return value


def _text(value: Any) -> str:
    return encode(value).decode() if isinstance(value, (dict, list, tuple)) else as_text(value)


def _separated(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True, skipinitialspace=True), [])
    except csv.Error:
        raise TypeMismatch("its double quotes do not pair") from None


def _escaped(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float, Decimal)):
        return "a number"
    if isinstance(value, str):
        return "the text"
    return "a list" if isinstance(value, (list, tuple)) else "an object"
