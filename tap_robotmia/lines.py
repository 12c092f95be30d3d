"""Parse one line of an export.

The fast decoder reads the few fields that are needed and keeps ``properties`` as bytes. A
line that it rejects (half of a surrogate pair, NaN, a time given as text) is parsed again
with the standard library before it counts as malformed.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from singer_sdk.singerlib.json import serialize_json

from singer_martech.runtime.redaction import redacted_head
from singer_martech.values.json_codec import (
    decode_object,
    exact_decoder,
    exact_integer,
    exact_number,
    is_utf8,
)

_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)

MAX_NESTING = 400
"""Levels of a line. Python's writers fail at some 900, so deeper lines are malformed."""

SHORT_LINE_BYTES = 2 * MAX_NESTING
"""Shorter lines cannot be nested deeper."""

_TEXT = re.compile(rb'"[^"]*"?')
_NOT_OPENING = bytes(set(range(256)) - set(b"[{"))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_ERROR_KEYS = ("error", "errors", "topLevelError")
_MAX_ERROR_CHARACTERS = 300


class MalformedLine(ValueError):
    """A line is not a JSON event; the text says why."""


class Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The usual line of an export (vendor page: Return Format)."""

    event: str
    properties: msgspec.Raw


class Key(msgspec.Struct, gc=False):
    """The properties that identify an event."""

    time: int | float
    distinct_id: str | int | None = None
    insert_id: str | None = msgspec.field(name="$insert_id", default=None)


class ParsedLine(NamedTuple):
    """A line that is an event.

    Attributes:
        event: The event's name.
        properties: Its properties: one JSON object on one line in valid UTF-8.
        key: The properties that identify it.
        extra: The other keys of the line as a JSON object, or None.
    """

    event: str
    properties: msgspec.Raw
    key: Key
    extra: msgspec.Raw | None


decode_line = msgspec.json.Decoder(Line).decode
decode_key = msgspec.json.Decoder(Key).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_exactly = exact_decoder(parse_constant=str).decode


def parse_line(line: bytes) -> ParsedLine:
    """Parse one line.

    Raises:
        MalformedLine: The line is not a JSON event.
    """
    line = line.removeprefix(BOM_UTF8).strip()
    if has_many_brackets(line) and _nesting(line) > MAX_NESTING:
        raise MalformedLine("it is nested too deeply")
    if is_plain_text(line):
        try:
            return _parse_plain(line)
        except (msgspec.MsgspecError, KeyError, RecursionError):
            pass
    return _parse_tolerantly(line)


def _parse_plain(line: bytes) -> ParsedLine:
    members = _decode_members(line)
    name, properties = _decode_text(members.pop("event")), members.pop("properties")
    extra = msgspec.Raw(msgspec.json.encode(members)) if members else None
    return ParsedLine(name, properties, decode_key(properties), extra)


def has_many_brackets(line: bytes) -> bool:
    """Return whether a line may be nested too deeply."""
    return len(line) > SHORT_LINE_BYTES and len(line.translate(None, _NOT_OPENING)) > MAX_NESTING


def _nesting(line: bytes) -> int:
    depth = deepest = 0
    line = line.replace(rb"\\", b"").replace(rb"\"", b"")
    for bracket in _TEXT.sub(b"", line).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def is_plain_text(text: bytes) -> bool:
    """Return whether text may be written as it is: valid UTF-8 without carriage returns.

    JSON allows a carriage return between tokens, but many line readers treat it as a line
    end.
    """
    return b"\r" not in text and is_utf8(text)


def loads(text: bytes) -> Any:
    """Parse JSON with exact numbers, accepting halves of surrogate pairs and NaN as text."""
    return _decode_exactly(text.decode("utf-8", "surrogatepass"))


def read_object(text: msgspec.Raw) -> dict[str, Any]:
    """Parse a JSON object that is valid UTF-8, with exact numbers."""
    try:
        return decode_object(text)
    except (msgspec.MsgspecError, ArithmeticError, RecursionError):
        return loads(bytes(text))  # type: ignore[no-any-return]


def error_text(line: bytes) -> str | None:
    """Return the error that a line reports in place of an event, or None."""
    try:
        value = loads(line.removeprefix(BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    return _error_text(value) if isinstance(value, dict) else None


def _error_text(value: dict[str, Any]) -> str | None:
    for key in _ERROR_KEYS:
        if value.get(key):
            return redacted_head(str(_as_text(value[key])), _MAX_ERROR_CHARACTERS)
    if value.get("success") is False or value.get("status") == "error":
        text = str(_as_text(value.get("message") or value))
        return redacted_head(text, _MAX_ERROR_CHARACTERS)
    return None


def _parse_tolerantly(line: bytes) -> ParsedLine:
    value = _tolerant_object(line)
    name, properties = value.pop("event", None), value.pop("properties", None)
    if not isinstance(name, str):
        error = _error_text(value)
        raise MalformedLine("it has no event name" if error is None else f"it reports: {error}")
    if not isinstance(properties, dict):
        raise MalformedLine("it has no properties")
    time = properties.get("time")
    if isinstance(time, str) and _NUMBER.fullmatch(time.strip()):
        time = exact_number(time) if "." in time else exact_integer(time.strip())
    if isinstance(time, bool) or not isinstance(time, (int, Decimal)):
        raise MalformedLine("it has no time")
    key = Key(
        time=float(time) if isinstance(time, Decimal) else time,
        distinct_id=_as_text(properties.get("distinct_id")),
        insert_id=_as_text(properties.get("$insert_id")),
    )
    return ParsedLine(name, _as_json(properties), key, _as_json(value) if value else None)


def _tolerant_object(line: bytes) -> dict[str, Any]:
    try:
        value = loads(line)
    except UnicodeDecodeError:
        raise MalformedLine("it is not UTF-8") from None
    except RecursionError:
        raise MalformedLine("it is nested too deeply") from None
    except ValueError:
        raise MalformedLine("it is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedLine("it is not a JSON object")
    return value


def _as_text(value: Any) -> str | None:
    """Return text and null unchanged, other values as JSON."""
    if value is None or isinstance(value, str):
        return value
    return serialize_json(value)


def _as_json(value: Any) -> msgspec.Raw:
    return msgspec.Raw(serialize_json(value).encode())
