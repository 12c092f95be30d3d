"""Compare the meaning of normalized JSON Schemas."""

from __future__ import annotations

from typing import Any

import msgspec

ANNOTATIONS = frozenset(
    {"$comment", "default", "description", "examples", "readOnly", "title", "writeOnly"}
)
"""Keywords that change neither validation nor mapping; ``format`` may change a column's type."""
_NAMES_TO_SCHEMAS = frozenset({"definitions", "dependencies", "patternProperties", "properties"})
_UNORDERED = frozenset({"allOf", "anyOf", "enum", "oneOf", "required", "type"})
_VALUES = frozenset({"const", "enum"})

_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def canonical_schema(schema: Any) -> bytes:
    """Return the same text for schemas that differ only in order and annotations."""
    return _encode(_canonical(schema))


def _canonical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_canonical(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        keyword: _canonical_value(keyword, value)
        for keyword, value in schema.items()
        if keyword not in ANNOTATIONS
    }


def _canonical_value(keyword: str, value: Any) -> Any:
    if keyword in _NAMES_TO_SCHEMAS:
        return {name: _canonical(subschema) for name, subschema in value.items()}
    if keyword == "type" and isinstance(value, str):
        value = [value]
    if keyword not in _VALUES:
        value = _canonical(value)
    return sorted(value, key=_encode) if keyword in _UNORDERED else value
