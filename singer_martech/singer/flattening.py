"""Adapt schemas and records to the SDK's flattening, so that it does not reject valid records.

The SDK understands a property by its ``type`` alone: it fails on one that has an ``enum`` only,
takes the first schema of an ``anyOf`` for all of them, and keeps an expanded object ``required``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from singer_sdk.mapper import StreamMap

_AS_TEXT = frozenset({"array", "object"})
"""Kinds of values that flattening turns into JSON text."""
_SCALARS = ("string", "number", "integer", "boolean", "null")
_OF_RECORD = ("$id", "$schema", "definitions", "type")


def flattenable(
    schema: Mapping[str, Any], max_level: int, level: int = 0, keys: Collection[str] = ()
) -> dict[str, Any]:
    """Return a schema as the SDK flattens it without loss.

    Args:
        schema: The normalized schema of a record or of an object in it.
        max_level: The setting ``flattening_max_depth``.
        level: How deep the object is.
        keys: Properties that are not expanded, since a record is identified by them.
    """
    properties: dict[str, Any] = {}
    expanded = set()
    for name, given in schema.get("properties", {}).items():
        field = {} if isinstance(given, bool) else given
        nested = dict(_properties(field)) if level < max_level and name not in keys else {}
        if nested:
            inner = flattenable({"properties": nested}, max_level, level + 1)
            properties[name] = {**inner, "type": ["object", "null"]}
            expanded.add(name)
        else:
            properties[name] = _leaf(field)
    if not expanded:
        return {**schema, "properties": properties}
    # keywords about names, such as additionalProperties, do not apply to the flattened names
    kept = {key: schema[key] for key in _OF_RECORD if key in schema}
    required = [name for name in schema.get("required", ()) if name not in expanded]
    return {**kept, "properties": properties, **({"required": required} if required else {})}


def flattened(stream_map: StreamMap) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Return the transform of a stream map, without the nulls of objects that it expands."""
    options = stream_map.flattening_options
    if options is None or not stream_map.flattening_enabled:
        return stream_map.transform
    names = stream_map.transformed_schema.get("properties", {})
    expanded = {prefix for name in names for prefix in _prefixes(name, options.separator)}
    expanded.difference_update(names)

    def transform(record: dict[str, Any]) -> dict[str, Any] | None:
        result = stream_map.transform(record)
        if result is None:
            return None
        return {
            name: value
            for name, value in result.items()
            if value is not None or name not in expanded
        }

    return transform


def _prefixes(name: str, separator: str) -> Iterator[str]:
    parts = name.split(separator)
    for count in range(1, len(parts)):
        yield separator.join(parts[:count])


def _leaf(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that is not expanded, always with a type."""
    kinds = set(_kinds(field))
    is_text = bool(kinds & _AS_TEXT)
    if "type" in field and not is_text:
        return dict(field)
    scalars = [kind for kind in _SCALARS if kind in kinds or (is_text and kind == "string")]
    types = {"type": scalars if len(scalars) > 1 else scalars[0]}
    return types if is_text else {**field, **types}


def _kinds(field: Mapping[str, Any]) -> Iterator[str]:
    if "type" in field:
        yield from [field["type"]] if isinstance(field["type"], str) else field["type"]
        return
    alternatives = _alternatives(field)
    for each in alternatives:
        yield from _kinds(each)
    if not alternatives:
        yield from (*_SCALARS, *_AS_TEXT)


def _properties(field: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the properties of an object, from any of its alternatives."""
    yield from field.get("properties", {}).items()
    for each in _alternatives(field):
        yield from _properties(each)


def _alternatives(field: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        each
        for keyword in ("allOf", "anyOf", "oneOf")
        for each in field.get(keyword, ())
        if isinstance(each, dict)
    ]
