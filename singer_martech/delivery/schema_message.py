"""Validate SCHEMA messages and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.errors import InvalidInput
from singer_martech.values.json_codec import is_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_UNORDERED = frozenset({"type", "required", "enum"})
"""Keywords whose lists are sets."""


def check_schema_message(message: Mapping[str, Any]) -> None:
    """Check the parts of a SCHEMA message.

    Raises:
        InvalidInput: Its stream, schema or key_properties are invalid.
    """
    stream, keys = message["stream"], message.get("key_properties")
    if not isinstance(stream, str) or not stream or not is_unicode(stream):
        raise InvalidInput("a SCHEMA has no valid stream name; it must be non-empty text")
    if not isinstance(message["schema"], dict):
        raise InvalidInput(f"stream '{stream}': the schema of its SCHEMA must be an object")
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    ):
        raise InvalidInput(
            f"stream '{stream}': key_properties of its SCHEMA must be a list of names"
        )


def canonical(message: Mapping[str, Any]) -> bytes:
    """Return the canonical text of a SCHEMA message, independent of the order of members."""
    return _encode_sorted([_sorted(message["schema"]), message.get("key_properties")])


def _sorted(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: sorted(value, key=str)
            if name in _UNORDERED and isinstance(value, list)
            else _sorted(value)
            for name, value in schema.items()
        }
    return [_sorted(item) for item in schema] if isinstance(schema, list) else schema
