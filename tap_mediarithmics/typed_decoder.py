"""Decode lines that fit their schema exactly with a compiled decoder."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type
from singer_martech.values.json_codec import is_utf8
from tap_mediarithmics import timestamps
from tap_mediarithmics.coercion import DATE_TEXT, is_milliseconds, kind_of
from tap_mediarithmics.exact_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Finish = Callable[[Any], None]
"""Converts the values of a decoded object in place. Raises ValueError if one does not fit."""


class TypedDecoder:
    """Decodes a line to a type generated from its schema and encodes it again.

    The decoder rejects lines that do not fit. Date-times are converted in place. Numbers keep
    all their digits.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        struct, self._finish = _struct(properties)
        self._attributes: dict[str, str] = {}
        self._decode: Callable[[bytes], Any] = _reject
        if struct is not None:
            names = zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True)
            self._attributes = dict(names)
            self._decode = msgspec.json.Decoder(struct).decode
        self._encode = msgspec.json.Encoder().encode

    def rewrite(self, line: bytes, replication_key: str | None) -> tuple[bytes, Any] | None:
        """See :meth:`tap_mediarithmics.record_decoder.RecordDecoder.rewrite`."""
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

    def rewrite_with_extra(
        self, line: bytes, replication_key: str | None
    ) -> tuple[bytes, Any] | None:
        """Like ``rewrite``, for a line with fields that have no column. They go to ``_extra``."""
        if self._decode is _reject:
            return None
        try:
            members = _decode_members(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        unknown = {name: members[name] for name in members if name not in self._attributes}
        if not unknown or not is_utf8(line):
            return None
        for name in unknown:
            del members[name]
        rewritten = self.rewrite(self._encode(members), replication_key)
        if rewritten is None:
            return None
        fields, value = rewritten
        separator = b"," if len(fields) > len(b"{}") else b""
        return b'%b%b"_extra":%b}' % (fields[:-1], separator, self._encode(unknown)), value


def _value(attribute: Any) -> Any:
    if isinstance(attribute, msgspec.Raw):
        return parse_json(bytes(attribute))
    return None if attribute is msgspec.UNSET else attribute


def _struct(properties: Mapping[str, Any]) -> tuple[type[msgspec.Struct] | None, Finish | None]:
    """Return a type whose decoder rejects other values, and the conversion of its values."""
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


def _reject(value: Any) -> Any:
    """Reject every line; used where no decoder can be generated."""
    raise ValueError(value)


def _compiled(schema: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """Return the type that a value is decoded to, and its conversion."""
    kind = kind_of(schema)
    if kind == "object" and schema.get("properties"):
        struct, finish = _struct(schema["properties"])
        if struct is None:
            return msgspec.Raw, _reject
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
    if value.__class__ is int:
        return timestamps.date_time(value)
    if is_milliseconds(value):
        raise ValueError
    return str(value)


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
"""No number of this length has an exponent that is too large for Decimal."""
_NUMBER_STARTS = frozenset(b"%c" % character for character in b"-0123456789n")
"""First bytes of a JSON number, or of null."""

_COMPILED: dict[str, tuple[Any, Callable[[Any], Any] | None]] = {
    "string": (str | None, None),
    DATE_TEXT: (int | str | None, _finish_date_text),
    "integer": (int | None, None),
    "number": (msgspec.Raw, _finish_number),
    "boolean": (bool | None, None),
    "date-time": (int | str | None, _finish_date_time),
    "date": (str | None, _finish_date),
}
