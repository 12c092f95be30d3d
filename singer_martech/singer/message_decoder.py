"""Decode the lines of a Singer input to messages."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from singer_martech.errors import InvalidInput
from singer_martech.values.json_codec import DECODE_ERRORS, decode, decode_object, json_members
from singer_martech.values.json_scan import member_texts

NOT_JSON = "not_json"
"""Key of a RECORD message that holds the reason to reject its record undecoded."""


class Envelope(msgspec.Struct):
    """The members of a message used for routing. Record and STATE stay as received."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw()
    value: msgspec.Raw = msgspec.Raw()
    version: int | None = None
    time_extracted: str | None = None


_decode = msgspec.json.Decoder(Envelope).decode


def decode_envelope(line: bytes) -> Envelope | None:
    """Return the envelope of a message, or None if it is not strict JSON."""
    try:
        return _decode(line)
    except DECODE_ERRORS:
        return None


def decode_message(line: bytes, envelope: Envelope | None, number: int) -> dict[str, Any]:
    """Decode a message, leniently without an envelope; add its record or STATE in ``raw``.

    Raises:
        InvalidInput: The line is not a Singer message.
    """
    if envelope is None:
        return _checked(_decode_leniently(line, number), number)
    try:
        if envelope.type == "RECORD" and envelope.stream:
            return {
                "type": "RECORD",
                "stream": envelope.stream,
                "record": decode_object(envelope.record),
                "raw": bytes(envelope.record),
                "version": envelope.version,
                "time_extracted": envelope.time_extracted,
            }
        message: dict[str, Any] = decode(line)
        if envelope.type == "STATE":
            message["raw"] = bytes(envelope.value)
    except DECODE_ERRORS:
        message = _decode_leniently(line, number)
    return _checked(message, number)


def _checked(message: dict[str, Any], number: int) -> dict[str, Any]:
    if message["type"] == "RECORD":
        if not isinstance(message.get("stream"), str) or not message["stream"]:
            raise InvalidInput(f"line {number} of the input: a RECORD without a stream")
        if not isinstance(message.get("record"), dict):
            raise InvalidInput(
                f"line {number} of the input: stream '{message['stream']}': a RECORD without a "
                "record object"
            )
    return message


def _decode_leniently(line: bytes, number: int) -> dict[str, Any]:
    """Decode invalid JSON that Python's writers produce.

    A record with NaN, Infinity, a number out of range or too deep nesting is marked for rejection
    with its JSON as received. Lone surrogates, which UTF-8 cannot encode, are kept.
    """
    unrepresentable: set[str] = set()
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"line {number} of the input is not UTF-8") from None
    try:
        members = json_members(text, unrepresentable)
    except RecursionError:
        return _deep_record(text, number)
    except json.JSONDecodeError as error:
        position = f"column {error.colno}: {error.msg}"
        raise InvalidInput(f"line {number} of the input is not JSON ({position})") from None
    return _message(members, unrepresentable, number)


def _message(
    members: dict[str, tuple[Any, str]], unrepresentable: set[str], number: int
) -> dict[str, Any]:
    message = {name: value for name, (value, _) in members.items()}
    if not isinstance(message.get("type"), str):
        raise InvalidInput(f"line {number} of the input is not a Singer message: it has no type")
    if message["type"] == "RECORD" and "record" in message:
        message["raw"] = members["record"][1].encode()
        if unrepresentable:
            message[NOT_JSON] = (
                f"holds {', '.join(sorted(unrepresentable))}, which JSON cannot represent"
            )
    if message["type"] == "STATE" and "value" in message:
        message["raw"] = members["value"][1].encode()
    return message


def _deep_record(text: str, number: int) -> dict[str, Any]:
    """Return the message of a record that is nested too deep to be decoded."""
    try:
        texts = member_texts(text)
        kind, stream = (json.loads(texts.get(name, "null")) for name in ("type", "stream"))
    except (ValueError, RecursionError):
        kind, texts = None, {}
    if kind != "RECORD" or not texts.get("record", "").startswith("{"):
        raise InvalidInput(f"line {number} of the input is nested too deep")
    return {
        "type": kind,
        "stream": stream,
        "record": {},
        "raw": texts["record"].encode(),
        NOT_JSON: "is nested too deep",
    }
