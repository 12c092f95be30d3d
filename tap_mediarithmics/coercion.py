"""Bringing values into the types of their columns, one by one.

What keeps its meaning is converted: epoch milliseconds where the schema says date-time,
digits where it says text or number. Anything else that does not fit becomes null and is
reported, so that the caller can keep it elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_mediarithmics import timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")

Convert = Callable[[Any, list[Any]], Any]
"""Brings a value into its column's type; appends what does not fit to the list."""


def kind_of(schema: Any) -> str:
    """Name the one type that a schema allows besides null, or nothing."""
    types = schema.get("type") if isinstance(schema, dict) else None
    names = [types] if isinstance(types, str) else types or []
    names = [name for name in names if name != "null"]
    if len(names) != 1 or {"anyOf", "oneOf", "allOf", "$ref"} & set(schema):
        return ""
    kind = str(names[0])
    if kind == "string" and schema.get("format") in {"date-time", "date"}:
        return str(schema["format"])
    return kind


def converter(schema: Any) -> Convert:
    """Make what brings a value into the type that a JSON Schema gives it."""
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
    if isinstance(value, str):
        return value
    if _is_integer(value):  # ids come as text and as numbers; the digits are the same
        return str(value)
    return _mismatch(value, misfits)


def _integer(value: Any, misfits: list[Any]) -> Any:
    if _is_integer(value):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return _mismatch(value, misfits)


def _number(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, Decimal) or _is_integer(value):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    return _mismatch(value, misfits)


def _boolean(value: Any, misfits: list[Any]) -> Any:
    return value if isinstance(value, bool) else _mismatch(value, misfits)


def _date_time(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, str):
        return value if timestamps.is_date_time(value) else _mismatch(value, misfits)
    if _is_integer(value):
        try:
            return timestamps.date_time(value)
        except OverflowError:
            pass
    return _mismatch(value, misfits)


def _date(value: Any, misfits: list[Any]) -> Any:
    if isinstance(value, str) and timestamps.is_date(value):
        return value
    if _is_integer(value):
        try:
            text = timestamps.date(value)
        except OverflowError:
            text = None
        if text is not None:
            return text
    return _mismatch(value, misfits)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_SCALARS: dict[str, Convert] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date-time": _date_time,
    "date": _date,
}
