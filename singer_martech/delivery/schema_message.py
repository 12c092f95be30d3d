"""Validate SCHEMA messages and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import InvalidInput
from singer_martech.values.json_codec import is_unicode, unicode
from singer_martech.values.schema_equality import canonical_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    """Return the same text for SCHEMA messages that differ only in order and annotations."""
    return canonical_schema([message["schema"], unicode(message.get("key_properties") or [])])
