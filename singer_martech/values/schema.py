"""Normalize the JSON Schemas of SCHEMA messages to draft 7.

Taps write schemas of every draft and of none. A keyword that cannot be understood does not
constrain: it is left out, with one warning, and the rest is enforced. Draft-4 bounds are
translated. References are replaced by what they refer to and never fetched; only recursive
ones remain. Unknown keywords are dropped, as they are annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from singer_martech.values.schema_keywords import (
    CHECKS,
    CONTENTS,
    FORMATS,
    NO_REGEX,
    NotUnderstood,
    compiles,
)
from singer_martech.values.schema_references import References, Unresolvable

_MAX_DEPTH = 80
_MAX_PROPERTIES_NAMED = 5
_UNSUPPORTED = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "dependentRequired",
        "dependentSchemas",
        "maxContains",
        "minContains",
        "prefixItems",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords of later drafts."""
_SUBTRACTIVE = frozenset({"if", "not"})
"""What makes their subschema more lenient makes the whole schema stricter."""


class SchemaWarning(NamedTuple):
    """A keyword that was left out of a schema.

    Attributes:
        keyword: Its name.
        reason: Why it cannot be understood.
        properties: The dotted paths of the properties where it stands; empty text for the
            schema of the record itself.
    """

    keyword: str
    reason: str
    properties: tuple[str, ...]

    def __str__(self) -> str:
        """Write the warning as part of a log line."""
        named = [repr(name) if name else "the record" for name in self.properties]
        places = ", ".join(named[:_MAX_PROPERTIES_NAMED])
        if len(named) > _MAX_PROPERTIES_NAMED:
            places += f" and {len(named) - _MAX_PROPERTIES_NAMED} more"
        return f"the schema keyword '{self.keyword}' of {places} is ignored: {self.reason}"


def normalize(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[SchemaWarning]]:
    """Return a schema as valid draft 7, and a warning per keyword and reason left out.

    The result always has ``properties``, each of them an object. Without known columns it
    accepts every object. A normalized schema is returned unchanged, without warnings.
    """
    normalizer = _Normalizer(schema)
    result = normalizer.root(schema)
    warnings = [
        SchemaWarning(keyword, reason, tuple(properties))
        for (keyword, reason), properties in normalizer.ignored.items()
    ]
    return result, warnings


class _Place(NamedTuple):
    """A subschema's place: the path of its instance, and how deep both are."""

    path: str = ""
    depth: int = 0
    instance_depth: int = 0

    def inside(self, step: str) -> _Place:
        """Return the place of a property or an item."""
        path = f"{self.path}.{step}" if self.path else step
        return _Place(path, self.depth + 1, self.instance_depth + 1)

    def beside(self) -> _Place:
        """Return the place of a subschema for the same instance."""
        return self._replace(depth=self.depth + 1)


class _Normalizer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.ignored: dict[tuple[str, str], dict[str, None]] = {}
        self._references = References(root)
        self._losses = 0

    def root(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        result = self._schema(schema, _Place())
        if not result.get("properties"):
            return {"type": "object", "properties": {}}
        definitions = self._references.definitions
        return {**result, "definitions": definitions} if definitions else result

    def _ignore(self, keyword: str, reason: str, place: _Place) -> None:
        self._losses += 1
        self.ignored.setdefault((keyword, reason), {})[place.path] = None

    def _schema(self, schema: Any, place: _Place) -> dict[str, Any]:
        """Normalize a subschema."""
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        if not isinstance(schema, Mapping):
            raise NotUnderstood("it must be a schema")
        if place.depth > _MAX_DEPTH:
            raise NotUnderstood("the schema is nested too deep")
        if "$ref" in schema:
            try:
                return self._referenced(schema["$ref"], place)
            except (NotUnderstood, Unresolvable) as error:
                self._ignore("$ref", str(error), place)
        result: dict[str, Any] = {}
        for keyword, value in _translated(schema).items():
            try:
                self._add(result, keyword, value, place)
            except NotUnderstood as error:
                self._ignore(keyword, str(error), place)
        if "if" not in result:
            result.pop("then", None)
            result.pop("else", None)
        if any(_lost_names(schema, result, each) for each in ("properties", "patternProperties")):
            result.pop("additionalProperties", None)  # the lost names would count as additional
        return result

    def _referenced(self, reference: Any, place: _Place) -> dict[str, Any]:
        references = self._references
        if references.is_open(reference):
            return references.recursive(reference, place.instance_depth)
        with references.opened(reference, place.instance_depth) as target:
            result = self._schema(target, place.beside())
        return references.closed(reference, result)

    def _add(self, result: dict[str, Any], keyword: str, value: Any, place: _Place) -> None:
        """Add a keyword to a normalized schema, if it means something."""
        if keyword in CHECKS:
            checked = CHECKS[keyword](value)
            self._losses += keyword in FORMATS
            if keyword not in CONTENTS:  # which the validator would enforce
                result[keyword] = checked
        elif keyword in _MANY:
            result[keyword] = getattr(self, _MANY[keyword])(keyword, value, place)
        elif keyword in _ONE:
            inside = place.inside("[]") if keyword in _OF_ITEMS else place.beside()
            before = self._losses
            subschema = self._schema(value, inside)
            if keyword in _SUBTRACTIVE and self._losses > before:
                raise NotUnderstood("a part of it is ignored")
            result[keyword] = subschema
        elif keyword in {"anyOf", "oneOf"}:
            self._add_alternatives(result, keyword, value, place)
        elif keyword in _UNSUPPORTED:
            raise NotUnderstood("it is not part of draft 7")
        elif keyword == "$schema" and "json-schema.org/" not in str(value):
            raise NotUnderstood("it names no known draft")

    def _add_alternatives(
        self, result: dict[str, Any], keyword: str, value: Any, place: _Place
    ) -> None:
        before = self._losses
        alternatives = self._list(value, place)
        # A lenient alternative matches beside another one, which `oneOf` does not allow.
        if keyword == "oneOf" and self._losses > before:
            if "anyOf" in result:
                return
            keyword = "anyOf"
        result[keyword] = alternatives

    def _list(self, value: Any, place: _Place) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not value:
            raise NotUnderstood("it must be a list of schemas")
        return [self._schema(item, place.beside()) for item in value]

    def _all_of(self, keyword: str, value: Any, place: _Place) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not value:
            raise NotUnderstood("it must be a list of schemas")
        return [self._lenient(keyword, item, place.beside()) for item in value]

    def _lenient(self, keyword: str, schema: Any, place: _Place) -> dict[str, Any]:
        """Normalize a subschema; one that cannot be understood does not constrain."""
        try:
            return self._schema(schema, place)
        except NotUnderstood as error:
            self._ignore(keyword, str(error), place)
            return {}

    def _properties(self, keyword: str, value: Any, place: _Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise NotUnderstood("it must be an object")
        return {
            name: self._lenient(keyword, subschema, place.inside(name))
            for name, subschema in value.items()
        }

    def _pattern_properties(self, keyword: str, value: Any, place: _Place) -> dict[str, Any]:
        properties = self._properties(keyword, value, place)
        for name in [name for name in properties if not compiles(name)]:
            self._ignore(keyword, NO_REGEX, place.inside(name))
            del properties[name]
        return properties

    def _additional(self, keyword: str, value: Any, place: _Place) -> Any:
        if isinstance(value, bool):
            return value
        del keyword
        return self._schema(value, place.inside("*"))

    def _items(self, keyword: str, value: Any, place: _Place) -> Any:
        if not isinstance(value, list):
            return self._schema(value, place.inside("[]"))
        if not value:
            raise NotUnderstood("it must be a schema or a list of schemas")
        return [self._lenient(keyword, item, place.inside("[]")) for item in value]

    def _dependencies(self, keyword: str, value: Any, place: _Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise NotUnderstood("it must be an object")
        return {
            name: CHECKS["required"](item)
            if isinstance(item, list)
            else self._lenient(keyword, item, place.beside())
            for name, item in value.items()
        }


_MANY = {
    "additionalProperties": "_additional",
    "allOf": "_all_of",
    "dependencies": "_dependencies",
    "items": "_items",
    "patternProperties": "_pattern_properties",
    "properties": "_properties",
}
_ONE = frozenset({"additionalItems", "contains", "else", "if", "not", "propertyNames", "then"})
_OF_ITEMS = frozenset({"additionalItems", "contains"})


def _translated(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Translate the bounds of draft 4, where exclusive bounds are flags."""
    for flag, bound in (("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")):
        if isinstance(schema.get(flag), bool):
            is_exclusive = schema[flag] and bound in schema
            left = {bound} if is_exclusive else set()
            rest = {key: value for key, value in schema.items() if key not in {flag, *left}}
            schema = {**rest, flag: schema[bound]} if is_exclusive else rest
    return schema


def _lost_names(schema: Mapping[str, Any], result: Mapping[str, Any], keyword: str) -> bool:
    if keyword not in schema:
        return False
    return keyword not in result or len(result[keyword]) < len(schema[keyword])
