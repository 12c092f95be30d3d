"""Validate SCHEMA messages and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import InvalidInput
from singer_martech.values.json_codec import is_unicode, unicode
from singer_martech.values.schema import normalize
from singer_martech.values.schema_equality import canonical_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.values.schema import SchemaWarning


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


def normalize_schema_message(
    message: Mapping[str, Any],
) -> tuple[dict[str, Any], bytes, list[SchemaWarning]]:
    """Normalize the schema of a SCHEMA message.

    Returns:
        The message, a text that is the same for messages that differ only in order and
        annotations, and the warnings.

    Raises:
        InvalidInput: The schema is nested too deep.
    """
    try:
        schema, warnings = normalize(message["schema"])
        keys = unicode(message.get("key_properties") or [])
        return {**message, "schema": schema}, canonical_schema([schema, keys]), warnings
    except RecursionError:
        reason = f"stream '{message['stream']}': its SCHEMA is nested too deep"
        raise InvalidInput(reason) from None
