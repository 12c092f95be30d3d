"""Estimate the time that validation takes for each part of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SEPARATE = frozenset(
    {"additionalItems", "additionalProperties", "items", "properties", "propertyNames"}
)
"""Keywords whose subschemas apply to different parts of a value."""
_NAMED = frozenset({"dependencies", "patternProperties", "properties"})
"""Keywords whose subschemas have names."""
OVERLAPPING = frozenset(
    {
        "allOf",
        "anyOf",
        "contains",
        "dependencies",
        "else",
        "if",
        "not",
        "oneOf",
        "patternProperties",
        "then",
    }
)
"""Keywords whose subschemas apply to the same part of a value, or may."""


def most_for_one_value(schema: Any) -> int:
    """Return how many subschemas of a schema apply to the same part of a record, at most."""
    if not isinstance(schema, Mapping):
        return 1
    overlapping, separate = 1, 0
    for keyword, value in schema.items():
        if keyword in OVERLAPPING:
            overlapping += sum(map(most_for_one_value, _parts(keyword, value)))
        elif keyword in _SEPARATE:
            separate = max([separate, *map(most_for_one_value, _parts(keyword, value))])
    return overlapping + separate


def _parts(keyword: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [*value.values()] if keyword in _NAMED else [value]
