"""Mona's validation of a request and of each message.

The vendor's own Python client sends null for every unset option, so null counts as missing
everywhere here. It also sends `sampleConfigName` and `sendTimestamp` (the newer name of
`exportTimestamp`) with a message, and `defaultAction` and `sampleConfigName` beside the messages.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import msgspec

from tests.sandbox.json_text import is_unicode, raise_if_deep, read_json

_REQUEST_FIELDS = {"userId", "messages", "defaultAction", "sampleConfigName"}
_MESSAGE_FIELDS = {
    "arcClass",
    "message",
    "contextId",
    "exportTimestamp",
    "sendTimestamp",
    "action",
    "sampleConfigName",
}
_ACTIONS = {"OVERWRITE", "ADD", "NEW"}
_ARC_CLASS = re.compile(r"[A-Za-z0-9_@-]+(\.[A-Za-z0-9_@-]+)*")
_DIGITS = re.compile(r"[0-9]+")
_TIMESTAMP_DIGITS = {10, 13}

_reader = msgspec.json.Decoder()
_writer = msgspec.json.Encoder()


def read_body(body: bytes) -> Any:
    """Return the request's JSON.

    Raises:
        ValueError: It is not JSON, contains NaN or an infinity, or is nested too deep.
    """
    try:
        value = _reader.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # Lone surrogates are valid in JSON, but not in UTF-8.
        return read_json(body)
    raise_if_deep(value)
    return value


def as_text(value: Any) -> str:
    """Return the JSON text of a part of a request."""
    try:
        return _writer.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, ValueError):
        return json.dumps(value)


def request_fault(payload: Any, user_id: str) -> str | None:
    """Return why the whole request is rejected, or None."""
    if not isinstance(payload, dict):
        return "The payload is not a JSON object"
    unknown = sorted(set(payload) - _REQUEST_FIELDS)
    if unknown:
        return f"Unknown field: {unknown[0]}"
    messages = payload.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages is not an array, or empty"
    if not _is_absent_or_action(payload.get("defaultAction")):
        return "defaultAction is none of OVERWRITE, ADD, NEW"
    return _user_fault(payload.get("userId"), user_id) or _sampling_fault(payload)


def _user_fault(user: Any, user_id: str) -> str | None:
    if isinstance(user, bool) or not isinstance(user, str | int) or user == "":
        return "userId is missing"
    return None if str(user) == user_id else "userId is not the one of the access token"


def message_fault(item: Any) -> str | None:
    """Return why one message is rejected, or None."""
    if not isinstance(item, dict):
        return "not an object"
    unknown = sorted(item.keys() - _MESSAGE_FIELDS)
    if unknown:
        return f"unknown field {unknown[0]}".encode("ascii", "backslashreplace").decode()
    return (
        _arc_class_fault(item.get("arcClass"))
        or _content_fault(item.get("message"))
        or _context_fault(item)
        or _timestamp_fault(item, "exportTimestamp")
        or _timestamp_fault(item, "sendTimestamp")
        or _action_fault(item)
        or _sampling_fault(item)
    )


def _arc_class_fault(arc_class: Any) -> str | None:
    if not isinstance(arc_class, str) or not arc_class:
        return "arcClass is missing"
    if not _ARC_CLASS.fullmatch(arc_class):
        return "arcClass may hold letters, digits, -, _, @ and, between them, dots"
    return None


def _content_fault(message: Any) -> str | None:
    if not isinstance(message, dict) or not message:
        return "message is not an object, or empty"
    if any(name.startswith("MONA_") for name in message):
        return "a field name starts with MONA_, which is reserved"
    return None


def _context_fault(item: dict[str, Any]) -> str | None:
    context_id = item.get("contextId")
    if context_id is None:
        return None
    if not isinstance(context_id, str) or not context_id:
        return "contextId is not a string, or empty"
    if not is_unicode(context_id):
        return "contextId is not valid Unicode text"
    if context_id.count(".") > item["arcClass"].count("."):
        return "contextId holds more dots than arcClass"
    return None


def _timestamp_fault(item: dict[str, Any], name: str) -> str | None:
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        right = 0 < value < 10**13 and len(str(int(value))) in _TIMESTAMP_DIGITS
        return None if right else f"{name} has neither 10 nor 13 digits"
    if not isinstance(value, str):
        return f"{name} is neither a number nor a string"
    if _DIGITS.fullmatch(value):
        # 8 digits are an ISO 8601 date, but the vendor does not read them as one.
        right = len(value) in _TIMESTAMP_DIGITS
        return None if right else f"{name} has neither 10 nor 13 digits"
    try:
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return f"{name} is not an ISO date and time"
    return None


def _action_fault(item: dict[str, Any]) -> str | None:
    if not _is_absent_or_action(item.get("action")):
        return "action is none of OVERWRITE, ADD, NEW"
    return None


def _is_absent_or_action(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in _ACTIONS)


def _sampling_fault(given: dict[str, Any]) -> str | None:
    name = given.get("sampleConfigName")
    if name is not None and (not isinstance(name, str) or not name):
        return "sampleConfigName is not a string, or empty"
    return None


def timestamp_of(item: dict[str, Any]) -> Any:
    """Return when a message was sent, by its newer or older name, or None."""
    newer = item.get("sendTimestamp")
    return item.get("exportTimestamp") if newer is None else newer
