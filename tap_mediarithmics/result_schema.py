"""The JSON Schema of a result's lines, from query and datamart or from a sample."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_mediarithmics.coercion import DATE
from tap_mediarithmics.exact_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_mediarithmics.object_types import FieldType, ObjectTypes
    from tap_mediarithmics.otql import Query, Selection

Schema = dict[str, Any]

_SCALARS: dict[str, Schema] = {
    "ID": {"type": ["string", "null"]},
    "String": {"type": ["string", "null"]},
    "Int": {"type": ["integer", "null"]},
    "Float": {"type": ["number", "null"]},
    "Double": {"type": ["number", "null"]},
    "BigDecimal": {"type": ["number", "null"]},
    "Number": {"type": ["number", "null"]},
    "Bool": {"type": ["boolean", "null"]},
    "Boolean": {"type": ["boolean", "null"]},
    "Timestamp": {"type": ["string", "null"], "format": "date-time"},
    "Date": DATE,
}
_BUILTIN_ENUMERATIONS = frozenset(
    {
        "ActivitySource",
        "BrowserFamily",
        "FormFactor",
        "HashFunction",
        "OperatingSystemFamily",
        "UserActivityType",
        "UserAgentType",
    }
)
"""Enumerations that schemas use without a definition."""

_TEXT: Schema = {"type": ["string", "null"]}
_MOST_FIELDS = 300
"""An object with more fields probably has data as keys."""


class UntypableQuery(ValueError):
    """The schema of the datamart lacks the type that a query selects from."""


def any_json() -> Schema:
    """Return the schema of a value of unknown type."""
    return {"type": ["string", "number", "integer", "boolean", "object", "array", "null"]}


def typed_properties(query: Query, types: ObjectTypes) -> Schema:
    """Return the columns of a query's result by the datamart's schema.

    Every property is nullable. A type that the schema does not define is any JSON.

    Raises:
        UntypableQuery: The schema has no such object type.
    """
    if query.object_type not in types.fields:
        raise UntypableQuery(f"the datamart's live schema has no object type {query.object_type}")
    return _selected(query.selection, query.object_type, types)


def unknown_names(query: Query, types: ObjectTypes) -> set[str]:
    """Return the names of the types that may be enumerations."""
    return set(_unknown_names(query.selection, query.object_type, types))


def _unknown_names(selection: Selection, type_name: str, types: ObjectTypes) -> Iterable[str]:
    members = types.fields.get(type_name, {})
    for name, nested in selection.fields.items():
        field = members.get(name)
        if field is None:
            continue
        if nested is not None:
            yield from _unknown_names(nested, field.name, types)
        elif field.name not in _SCALARS and field.name not in types.fields:
            yield field.name


def _selected(selection: Selection, type_name: str, types: ObjectTypes) -> Schema:
    members = types.fields[type_name]
    return {
        name: _field(members.get(name), nested, types) for name, nested in selection.fields.items()
    }


def _field(field: FieldType | None, nested: Selection | None, types: ObjectTypes) -> Schema:
    if field is None:
        return any_json()
    if nested is not None:
        if field.name not in types.fields:
            return any_json()
        schema = _object(_selected(nested, field.name, types))
    elif field.name in _SCALARS:
        schema = dict(_SCALARS[field.name])
    elif field.name in types.enumerations or field.name in _BUILTIN_ENUMERATIONS:
        schema = dict(_TEXT)
    else:
        return any_json()
    for _ in range(field.lists):
        schema = {"type": ["array", "null"], "items": schema}
    return schema


def _object(properties: Schema) -> Schema:
    return {"type": ["object", "null"], "properties": properties}


def sampled_properties(head: bytes) -> Schema:
    """Infer the columns from the first lines; an incomplete last line is ignored."""
    merged = _Seen()
    for line in head.splitlines(keepends=True):
        try:
            value = parse_json(line)
        except (ValueError, RecursionError):
            continue  # incomplete; a broken line is reported when the result is read
        if isinstance(value, dict):
            merged.add(value)
    schema = merged.schema()
    properties: Schema = schema.get("properties", {})
    return properties


class _Seen:
    """The types of the values at one path."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._members: dict[str, _Seen] = {}
        self._items: _Seen | None = None

    def add(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, dict):
            self._kinds.add("object")
            if len(self._members) <= _MOST_FIELDS:
                for name, member in value.items():
                    self._members.setdefault(name, _Seen()).add(member)
        elif isinstance(value, list):
            self._kinds.add("array")
            self._items = self._items or _Seen()
            for item in value:
                self._items.add(item)
        else:
            self._kinds.add(_KINDS[type(value)])

    def schema(self) -> Schema:
        kinds = self._kinds - {"integer"} if "number" in self._kinds else self._kinds
        if len(kinds) != 1:
            return any_json()
        (kind,) = kinds
        schema: Schema = {"type": [kind, "null"]}
        if kind == "array" and self._items is not None:
            schema["items"] = self._items.schema()
        if kind == "object" and self._members and len(self._members) <= _MOST_FIELDS:
            schema["properties"] = {
                name: member.schema() for name, member in sorted(self._members.items())
            }
        return schema


_KINDS = {str: "string", int: "integer", Decimal: "number", float: "number", bool: "boolean"}
