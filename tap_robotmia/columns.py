"""Typed columns for the events of one name.

The types come from a sample of events. A column has one type besides null, because common
loaders support no unions. ``_extra`` receives everything else: properties that were not in the
sample, values of another type, and names of the stream's fixed columns.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import encode
from tap_robotmia.events import properties_of
from tap_robotmia.typed_record import TypedRecordDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import msgspec

    from tap_robotmia.events import Event

EXTRA = "_extra"
FIXED_COLUMNS = ("event_id", "time", "distinct_id", "insert_id")
MIXED_DESCRIPTION = "Values of several types: text as it is, other values as JSON."
"""Marks a text column for mixed types, also in a catalog, which has no place for other keywords."""

_RESERVED = frozenset({*FIXED_COLUMNS, EXTRA})
_TYPES = ("boolean", "integer", "number", "string", "array", "object")
_ANY_TYPE = frozenset({*_TYPES, "null"})
_MAX_WHOLE_DIGITS = 400
"""Decimals with more digits before the point do not fit an integer column."""

_FIXED_SCHEMA: dict[str, Any] = {
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
    """Collects the types of the properties of some events.

    Attributes:
        events: The number of events seen.
    """

    def __init__(self) -> None:
        self.events = 0
        self._types: dict[str, set[str]] = {}

    def add(self, event: Event) -> None:
        """Add the types of one event's properties."""
        self.events += 1
        for name, value in properties_of(event).items():
            if name not in _RESERVED:
                types = self._types.setdefault(name, set())
                if value is not None:
                    types.add(_type_of(value))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a record.

        Integers and other numbers together are a number, any other mix is text. A property
        that was always null is text.
        """
        columns = {name: _column(types) for name, types in sorted(self._types.items())}
        extra = {
            "type": ["object", "null"],
            "additionalProperties": True,
            "description": "What the columns do not hold: the raw time, properties without a "
            "column, values of another type than their column's.",
        }
        return {
            "type": "object",
            "properties": {**_FIXED_SCHEMA, **columns, EXTRA: extra},
            "required": ["event_id", "time"],
        }


class Columns:
    """Creates the records of one typed stream."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        columns = {
            name: definition
            for name, definition in schema.get("properties", {}).items()
            if name not in _RESERVED
        }
        self._accepted = {name: _accepted(definition) for name, definition in columns.items()}
        self._mixed = frozenset(
            name
            for name, definition in columns.items()
            if isinstance(definition, dict) and definition.get("description") == MIXED_DESCRIPTION
        )
        self._empty = dict.fromkeys(self._accepted)
        self._decoded_records = TypedRecordDecoder(self._accepted).records

    def encodable(self, events: list[Event]) -> Sequence[dict[str, Any] | msgspec.Struct]:
        """Return events as records that are only encoded; faster than ``record``."""
        decoded = self._decoded_records(events)
        if decoded is not None:
            return decoded
        if len(events) == 1:
            return [self.record(events[0])]
        return [record for event in events for record in self.encodable([event])]

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
                if name in self._mixed:
                    columns[name] = encode(value).decode()
        return {
            "event_id": event.event_id,
            "time": event.time,
            "distinct_id": event.distinct_id,
            "insert_id": event.insert_id,
            **columns,
            EXTRA: extra,
        }


def sample(events: Iterable[Event], types_by_event: Mapping[str, ColumnTypes]) -> None:
    """Add each event to the types of its name."""
    for event in events:
        types = types_by_event.get(event.event)
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


def _is_whole(value: Any) -> bool:
    return (
        isinstance(value, Decimal)
        and value.adjusted() < _MAX_WHOLE_DIGITS
        and value == value.to_integral_value()
    )


def _column(types: set[str]) -> dict[str, Any]:
    """Return the schema of a column whose values have these types."""
    if len(types) == 1:
        return {"type": [*types, "null"]}
    if types == {"integer", "number"}:
        return {"type": ["number", "null"]}
    column: dict[str, Any] = {"type": ["string", "null"]}
    return {**column, "description": MIXED_DESCRIPTION} if types else column


def _accepted(definition: Any) -> frozenset[str]:
    """Return the JSON types that a column holds, null among them."""
    types = definition.get("type") if isinstance(definition, dict) else None
    if types is None:
        return _ANY_TYPE
    names = {types} if isinstance(types, str) else set(types)
    if "number" in names:
        names.add("integer")
    return frozenset({*names, "null"})
