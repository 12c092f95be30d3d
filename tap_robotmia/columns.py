"""Typed columns for the events of one name: found by looking at some, kept lossless.

What a column cannot take goes to ``_extra``: properties that were not seen at discovery,
values of another type, and names that belong to a column of the stream itself.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_robotmia.events import properties_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_robotmia.events import Event

EXTRA = "_extra"
OWN_COLUMNS = ("event_id", "time", "distinct_id", "insert_id")

_RESERVED = frozenset({*OWN_COLUMNS, EXTRA})
_ORDER = ("boolean", "integer", "number", "string", "array", "object")
_ANYTHING = frozenset({*_ORDER, "null"})

_OWN_SCHEMA: dict[str, Any] = {
    "event_id": {
        "type": "string",
        "description": "Identifies the event; the same in every export.",
    },
    "time": {
        "type": "string",
        "format": "date-time",
        "description": "When the event happened, in UTC.",
    },
    "distinct_id": {"type": ["string", "null"], "description": "The user."},
    "insert_id": {"type": ["string", "null"], "description": "The property $insert_id."},
}


def stream_name(event: str) -> str:
    """Return the name of the typed stream of an event: ``event_<slug>``."""
    return "event_" + re.sub(r"[^a-z0-9]+", "_", event.lower())


class ColumnTypes:
    """Collects the types of the properties that some events have.

    Attributes:
        events: How many it has looked at.
    """

    def __init__(self) -> None:
        """Know no property yet."""
        self.events = 0
        self._types: dict[str, set[str]] = {}

    def add(self, event: Event) -> None:
        """Look at one event."""
        self.events += 1
        for name, value in properties_of(event).items():
            if name not in _RESERVED:
                self._types.setdefault(name, set()).update(_types_of(value))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a record.

        Integer and other numbers make a number; other types that meet make a union.
        A property that was always null is text.
        """
        columns = {name: {"type": _merged(types)} for name, types in sorted(self._types.items())}
        extra = {
            "type": ["object", "null"],
            "additionalProperties": True,
            "description": "What no column takes: the raw time, properties without a column, "
            "values of another type than their column's.",
        }
        return {
            "type": "object",
            "properties": {**_OWN_SCHEMA, **columns, EXTRA: extra},
            "required": ["event_id", "time"],
        }


class Columns:
    """Makes records of one typed stream.

    Args:
        schema: The stream's schema: from discovery, or from the catalog.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Read the columns' types."""
        properties = schema.get("properties", {})
        self._accepted = {
            name: _accepted(definition)
            for name, definition in properties.items()
            if name not in _RESERVED
        }
        self._empty = dict.fromkeys(self._accepted)

    def record(self, event: Event) -> dict[str, Any]:
        """Return an event as a record, each property in its column or in ``_extra``."""
        extra: dict[str, Any] = {}
        columns: dict[str, Any] = self._empty.copy()
        accepted = self._accepted
        for name, value in properties_of(event).items():
            types = accepted.get(name)
            if types is not None and (
                _type_of(value) in types or ("integer" in types and _is_whole(value))
            ):
                columns[name] = value
            elif name != "distinct_id" or value != event.distinct_id:
                extra[name] = value
        return {
            "event_id": event.event_id,
            "time": event.time,
            "distinct_id": event.distinct_id,
            "insert_id": event.insert_id,
            **columns,
            EXTRA: extra,
        }


def sample(events: Iterable[Event], wanted: Mapping[str, ColumnTypes]) -> None:
    """Let each event's types be known to the collection of its name."""
    for event in events:
        types = wanted.get(event.event)
        if types is not None:
            types.add(event)


def _type_of(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, Decimal):
        return "number"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "null"


def _types_of(value: Any) -> set[str]:
    return set() if value is None else {_type_of(value)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, Decimal) and value == value.to_integral_value()


def _merged(types: set[str]) -> list[str]:
    if "number" in types:
        types = types - {"integer"}
    return [*(name for name in _ORDER if name in types or (not types and name == "string")), "null"]


def _accepted(definition: Any) -> frozenset[str]:
    """Return the JSON types that a column takes, nulls among them."""
    types = definition.get("type") if isinstance(definition, dict) else None
    if types is None:
        return _ANYTHING
    names = {types} if isinstance(types, str) else set(types)
    if "number" in names:
        names.add("integer")
    return frozenset({*names, "null"})
