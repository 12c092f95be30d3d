"""Replace characters on which some loaders fail: halves of surrogate pairs and NUL."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from singer_martech.values.json_codec import encode
from tap_robotmia.lines import read_object

REPLACEMENT = "\ufffd"

_UNSAFE = re.compile("[\0\ud800-\udfff]")
_MAY_BE_UNSAFE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def may_need_sanitizing(text: bytes) -> bool:
    """Return whether JSON in valid UTF-8 may hold one of these characters."""
    return _MAY_BE_UNSAFE.search(text) is not None


def sanitized(value: Any) -> Any:
    """Return a JSON value with U+FFFD in place of these characters, in names too.

    Names that become equal get further replacement characters.
    """
    if isinstance(value, str):
        return _UNSAFE.sub(REPLACEMENT, value)
    if isinstance(value, list):
        return [sanitized(item) for item in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for name, item in value.items():
        new_name = _UNSAFE.sub(REPLACEMENT, name)
        while new_name in result or (new_name != name and new_name in value):
            new_name += REPLACEMENT
        result[new_name] = sanitized(item)
    return result


def sanitized_object(text: msgspec.Raw) -> msgspec.Raw:
    """Return the text of a JSON object with these characters replaced."""
    if not may_need_sanitizing(bytes(text)):
        return text
    return msgspec.Raw(encode(sanitized(read_object(text))))
