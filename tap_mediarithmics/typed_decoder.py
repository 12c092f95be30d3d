"""Reading lines that fit their schema exactly, at the speed of a compiled decoder."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type
from singer_martech.values.json_codec import is_utf8
from tap_mediarithmics import timestamps
from tap_mediarithmics.coercion import DATE_TEXT, kind_of
from tap_mediarithmics.exact_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

Finish = Callable[[Any], None]
"""Puts a decoded object's values into their final form; raises ValueError for a misfit."""


class TypedDecoder:
    """Decodes a line into a type made for its schema and encodes that again.

    The decoder refuses any line that does not fit; what it cannot judge by itself is
    finished in place: date-times, and numbers, which are passed on digit by digit.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        struct, self._finish = _struct(properties)
        self._attributes: dict[str, str] = {}
        self._decode: Callable[[bytes], Any] = _give_way
        if struct is not None:
            names = zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True)
            self._attributes = dict(names)
            self._decode = msgspec.json.Decoder(struct).decode
        self._encode = msgspec.json.Encoder().encode

    def rewrite(self, line: bytes, replication_key: str | None) -> tuple[bytes, Any] | None:
        """Do what :meth:`tap_mediarithmics.record_decoder.RecordDecoder.rewrite` says."""
        try:
            if not is_utf8(line):  # the decoder skips some values without reading them
                return None
            struct = self._decode(line)
            if self._finish is not None:
                self._finish(struct)
            value = None
            if replication_key is not None:
                value = _value(getattr(struct, self._attributes[replication_key]))
            return self._encode(struct), value
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
            return None


def _value(attribute: Any) -> Any:
    if isinstance(attribute, msgspec.Raw):
        return parse_json(bytes(attribute))
    return None if attribute is msgspec.UNSET else attribute


def _struct(properties: Mapping[str, Any]) -> tuple[type[msgspec.Struct] | None, Finish | None]:
    """Make a type whose decoder refuses objects that do not fit, and what finishes them."""
    compiled = {name: _compiled(schema) for name, schema in properties.items()}
    struct = object_type(
        (name, kind | msgspec.UnsetType, msgspec.UNSET) for name, (kind, _) in compiled.items()
    )
    if struct is None:
        return None, None
    finishes = {
        attribute: finish
        for attribute, (_, finish) in zip(struct.__struct_fields__, compiled.values(), strict=True)
        if finish is not None
    }
    return struct, _finish_struct(finishes) if finishes else None


def _give_way(value: Any) -> Any:
    """Stand in for a decoder that cannot be made."""
    raise ValueError(value)


def _compiled(schema: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """Return the type that a value is decoded into, and what gives its final form."""
    kind = kind_of(schema)
    if kind == "object" and schema.get("properties"):
        struct, finish = _struct(schema["properties"])
        if struct is None:
            return msgspec.Raw, _give_way
        return struct | None, finish and _finish_object(finish)
    if kind == "object":
        return dict[str, msgspec.Raw] | None, None
    if kind == "array":
        items, finish = _compiled(schema.get("items") or {})
        return list[items] | None, finish and _finish_array(finish)  # type: ignore[valid-type] # made at run time
    return _COMPILED.get(kind, (msgspec.Raw, None))


def _finish_struct(finishes: Mapping[str, Callable[[Any], Any]]) -> Finish:
    steps = tuple(finishes.items())

    def finish(struct: Any) -> None:
        for attribute, step in steps:
            value = getattr(struct, attribute)
            if value is not None and value is not msgspec.UNSET:
                setattr(struct, attribute, step(value))

    return finish


def _finish_object(finish: Finish) -> Callable[[Any], Any]:
    def step(value: Any) -> Any:
        finish(value)
        return value

    return step


def _finish_array(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def finish(values: list[Any]) -> list[Any]:
        return [None if value is None else step(value) for value in values]

    return finish


def _finish_date_time(value: Any) -> str:
    if value.__class__ is int:
        return timestamps.date_time(value)
    if timestamps.is_date_time(value):
        return str(value)
    raise ValueError


def _finish_date_text(value: Any) -> str:
    return timestamps.date_time(value) if value.__class__ is int else str(value)


def _finish_date(value: str) -> str:
    if timestamps.is_date(value):
        return value
    raise ValueError


def _finish_number(value: Any) -> Any:
    text = bytes(value)
    if text[:1] in _NUMBER_STARTS and (len(text) <= _SAFE_LENGTH or _is_in_range(text)):
        return value
    raise ValueError


def _is_in_range(text: bytes) -> bool:
    try:
        Decimal(text.decode())
    except ArithmeticError:  # the exponent is out of range
        return False
    return True


_SAFE_LENGTH = 20
"""No number of this length has an exponent that Decimal refuses."""
_NUMBER_STARTS = frozenset(b"%c" % character for character in b"-0123456789n")
"""How a JSON number, or null, begins."""

_COMPILED: dict[str, tuple[Any, Callable[[Any], Any] | None]] = {
    "string": (str | None, None),
    DATE_TEXT: (int | str | None, _finish_date_text),
    "integer": (int | None, None),
    "number": (msgspec.Raw, _finish_number),
    "boolean": (bool | None, None),
    "date-time": (int | str | None, _finish_date_time),
    "date": (str | None, _finish_date),
}
