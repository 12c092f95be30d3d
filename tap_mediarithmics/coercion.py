"""Convert values to the types of their columns.

A value is converted if it keeps its meaning: epoch milliseconds where the column is a
date-time, digits where it is text or a number. Anything else becomes null and is reported,
so that the caller can keep the original elsewhere.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import encode
from tap_mediarithmics import timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_MILLISECONDS = re.compile(r"[0-9]{13}")
"""Fewer digits may be a date of ISO 8601 in basic format."""
_MAX_INTEGER_DIGITS = 100
"""Numbers with more digits are never expanded to an integer."""

DATE = {
    "type": ["string", "null"],
    "description": "Date: ISO date or ISO date-time, as received; epoch milliseconds as ISO",
}
"""The schema of a column of the vendor's scalar Date, whose format is not documented.

The column is text without a format, since no format covers all forms. Its description
distinguishes it from other text, also in the catalog of an earlier discovery.
"""
DATE_TEXT = "date-text"
"""The kind of such a column."""

Convert = Callable[[Any, list[Any]], Any]
"""Converts a value to the type of its column; appends what does not fit to the list."""


def kind_of(schema: Any) -> str:
    """Return the one type that a schema allows besides null, or an empty text.

    Text of the format ``date-time`` or ``date``, or of the scalar Date, has its own kind.
    """
    types = schema.get("type") if isinstance(schema, dict) else None
    names = [types] if isinstance(types, str) else types or []
    names = [name for name in names if name != "null"]
    if len(names) != 1 or {"anyOf", "oneOf", "allOf", "$ref"} & set(schema):
        return ""
    kind = str(names[0])
    if kind == "string" and schema.get("description") == DATE["description"]:
        return DATE_TEXT
    if kind == "string" and schema.get("format") in {"date-time", "date"}:
        return str(schema["format"])
    return kind


def converter(schema: Any) -> Convert:
    """Return the converter for a column with this JSON Schema."""
    kind = kind_of(schema)
    if kind == "object":
        properties = schema.get("properties") or {}
        return _object({name: converter(member) for name, member in properties.items()})
    if kind == "array":
        return _array(converter(schema.get("items") or {}))
    return _SCALARS.get(kind, _anything)


def _object(columns: Mapping[str, Convert]) -> Convert:
    def convert(value: Any, misfits: list[Any]) -> Any:
        if isinstance(value, dict):
            return {
                name: columns[name](member, misfits) if name in columns else member
                for name, member in value.items()
            }
        return _mismatch(value, misfits)

    return convert


def _array(items: Convert) -> Convert:
    def convert(value: Any, misfits: list[Any]) -> Any:
        if isinstance(value, list):
            return [items(item, misfits) for item in value]
        return _mismatch(value, misfits)

    return convert


def _anything(value: Any, misfits: list[Any]) -> Any:
    del misfits
    return value


def _mismatch(value: Any, misfits: list[Any]) -> None:
    if value is not None:
        misfits.append(value)


def _text(value: Any, misfits: list[Any]) -> Any:
    """Keep text, write numbers in digits, and anything else as JSON."""
    if isinstance(value, str) or value is None:
        return value
    if _is_integer(value) or isinstance(value, Decimal):
        return str(value)
    misfits.append(value)
    return encode(value).decode()


def _milliseconds_text(value: Any) -> str | None:
    """Return epoch milliseconds as a date-time, or None if they are not such a number."""
    integer = _as_milliseconds(value)
    try:
        return None if integer is None else timestamps.date_time(integer)
    except OverflowError:
        return None


def _date_text(value: Any, misfits: list[Any]) -> Any:
    return _milliseconds_text(value) or _text(value, misfits)


def _integer(value: Any, misfits: list[Any]) -> Any:
    if _is_integer(value):
        return value
    if isinstance(value, str) and len(value) <= _MAX_INTEGER_DIGITS and _INTEGER.fullmatch(value):
        return int(value)
    integer = _as_integer(value)
    return _mismatch(value, misfits) if integer is None else integer


def _number(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, Decimal) or _is_integer(value):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except ArithmeticError:  # the exponent is out of range
            pass
    return _mismatch(value, misfits)


def _boolean(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    return value if isinstance(value, bool) else _mismatch(value, misfits)


def _date_time(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, str):
        if timestamps.is_date(value):
            return f"{value}T00:00:00.000Z"
        if timestamps.is_date_time(value):
            return value
    text = _milliseconds_text(value)
    return _mismatch(value, misfits) if text is None else text


def _date(value: Any, misfits: list[Any]) -> Any:
    text = _date_time(value, misfits)
    if text is None or (isinstance(value, str) and timestamps.is_date(value)):
        return value if text is not None else None
    time = timestamps.parse(text)
    if time is None or time.time() != _MIDNIGHT:
        return _mismatch(value, misfits)
    return time.date().isoformat()


def is_milliseconds(text: str) -> bool:
    """Whether text can only be epoch milliseconds."""
    return _MILLISECONDS.fullmatch(text) is not None


def _as_milliseconds(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if is_milliseconds(value) else None
    return _as_integer(value)


def _as_integer(value: Any) -> int | None:
    """Return a whole number as an integer, if its digits are not too many to expand."""
    if _is_integer(value):
        return int(value)
    if (
        isinstance(value, Decimal)
        and value.adjusted() < _MAX_INTEGER_DIGITS
        and len(value.as_tuple().digits) <= _MAX_INTEGER_DIGITS
        and value == value.to_integral_value()
    ):
        return int(value)
    return None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_MIDNIGHT = dt.time()
_BOOLEANS = {"true": True, "false": False}
_SCALARS: dict[str, Convert] = {
    "string": _text,
    DATE_TEXT: _date_text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date-time": _date_time,
    "date": _date,
}
