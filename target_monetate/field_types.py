"""The fields of a stream's rows, their sources and their types.

They are read from the stream's JSON Schema and its mapping, before the first record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_monetate.dataset import BOOLEAN, DATETIME, MULTI_STRING, NUMBER, STRING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPE_OF_JSON = {
    "string": STRING,
    "integer": NUMBER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "object": STRING,
    "array": STRING,
}
_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})


@dataclass(frozen=True)
class FieldSource:
    """The source of one field of the rows.

    Attributes:
        data_type: The Monetate type of its values, or None if it is unknown.
        reads: The fields of the record that it is computed from.
    """

    data_type: str | None
    reads: frozenset[str]


def of_record(schema: Mapping[str, Any]) -> dict[str, FieldSource]:
    """Return the fields of rows that are whole records."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return {
        name: FieldSource(data_type(definition), frozenset({name}))
        for name, definition in properties.items()
    }


def data_type(definition: Any) -> str:
    """Return the Monetate type for a property of a JSON Schema.

    A property with several types, or with no known type, becomes a STRING.
    """
    kinds: set[str] = set()
    for each in _alternatives(definition):
        kinds |= {_type_of(each, kind) for kind in _types(each) if kind != "null"}
    return kinds.pop() if len(kinds) == 1 else STRING


def _type_of(definition: Mapping[str, Any], kind: str) -> str:
    if kind == "string" and definition.get("format") in {"date-time", "date"}:
        return DATETIME
    if kind == "array":
        items = definition.get("items")
        kinds = {name for each in _alternatives(items) for name in _types(each)}
        return MULTI_STRING if kinds and kinds <= _SCALARS else STRING
    return _TYPE_OF_JSON.get(kind, STRING)


def _alternatives(definition: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(definition, Mapping):
        return
    yield definition
    for keyword in ("anyOf", "oneOf", "allOf"):
        for each in definition.get(keyword) or ():
            yield from _alternatives(each)


def _types(definition: Mapping[str, Any]) -> list[str]:
    stated = definition.get("type", [])
    return [stated] if isinstance(stated, str) else list(stated)
