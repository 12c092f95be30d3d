"""Normalize the JSON Schemas of SCHEMA messages to draft 7.

Taps write schemas of every draft, or invalid ones. A keyword that is invalid or unsupported is
left out, with one warning; the rest is enforced. Draft-4 bounds are translated. References are
replaced by their targets and never fetched; only recursive ones remain. Unknown keywords are
dropped, as they are annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from singer_martech.values.json_codec import unicode
from singer_martech.values.schema_cost import OVERLAPPING, most_for_one_value
from singer_martech.values.schema_keywords import (
    CHECKS,
    CONTENTS,
    FORMATS,
    NO_REGEX,
    InvalidKeyword,
    compiles,
)
from singer_martech.values.schema_references import References, Unresolvable

_MAX_DEPTH = 80
_MAX_FOR_ONE_VALUE = 1000
"""A record can have so many values that more subschemas for each would take minutes."""
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
"""Relaxing their subschema makes the whole schema stricter."""


class SchemaWarning(NamedTuple):
    """A keyword that was left out of a schema.

    Attributes:
        keyword: The keyword.
        reason: Why it was left out.
        properties: The dotted paths of the properties that have it; empty text for the
            schema of the record itself.
    """

    keyword: str
    reason: str
    properties: tuple[str, ...]

    def __str__(self) -> str:
        """Format the warning as part of a log line."""
        named = [repr(name) if name else "the record" for name in self.properties]
        names = ", ".join(named[:_MAX_PROPERTIES_NAMED])
        if len(named) > _MAX_PROPERTIES_NAMED:
            names += f" and {len(named) - _MAX_PROPERTIES_NAMED} more"
        return f"the schema keyword '{self.keyword}' of {names} is ignored: {self.reason}"


def normalize(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[SchemaWarning]]:
    """Return a schema as valid draft 7, and a warning per keyword and reason left out.

    The result always has ``properties``, each of them an object. Without known columns it
    accepts every object. A normalized schema is returned unchanged, without warnings.
    """
    normalizer = _Normalizer(schema)
    result = unicode(normalizer.root(schema))  # the validator cannot read lone surrogates
    warnings = [
        SchemaWarning(keyword, reason, tuple(properties))
        for (keyword, reason), properties in normalizer.ignored.items()
    ]
    return result, warnings


class _Position(NamedTuple):
    """The path of a subschema's instance, and the depths of both."""

    path: str = ""
    depth: int = 0
    instance_depth: int = 0

    def inside(self, step: str) -> _Position:
        """Return the position of a property or an item."""
        path = f"{self.path}.{step}" if self.path else step
        return _Position(path, self.depth + 1, self.instance_depth + 1)

    def beside(self) -> _Position:
        """Return the position of a subschema for the same instance."""
        return self._replace(depth=self.depth + 1)


class _Normalizer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.ignored: dict[tuple[str, str], dict[str, None]] = {}
        self._references = References(root)
        self._losses = 0

    def root(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        result = self._schema(schema, _Position())
        if not result.get("properties"):
            return {"type": "object", "properties": {}}
        definitions = self._references.definitions
        return {**result, "definitions": definitions} if definitions else result

    def _ignore(self, keyword: str, reason: str | Exception, position: _Position) -> None:
        self._losses += 1
        self.ignored.setdefault((keyword, str(reason)), {})[position.path] = None

    def _schema(self, schema: Any, position: _Position) -> dict[str, Any]:
        """Normalize a subschema."""
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        _check_form(schema, position)
        if "$ref" in schema:
            try:
                return self._referenced(schema["$ref"], position)
            except (InvalidKeyword, Unresolvable) as error:
                self._ignore("$ref", error, position)
        result: dict[str, Any] = {}
        for keyword, value in _translated(schema).items():
            try:
                self._add(result, keyword, value, position)
            except InvalidKeyword as error:
                self._ignore(keyword, error, position)
        self._drop_expensive(result, position)
        _drop_dependent(result, schema)
        return result

    def _referenced(self, reference: Any, position: _Position) -> dict[str, Any]:
        references = self._references
        if references.is_open(reference):
            return references.recursive(reference, position.instance_depth)
        with references.opened(reference, position.instance_depth) as target:
            result = self._schema(target, position.beside())
        return references.closed(reference, result)

    def _add(self, result: dict[str, Any], keyword: str, value: Any, position: _Position) -> None:
        """Add a keyword to a normalized schema, if it has an effect."""
        if keyword in CHECKS:
            checked = CHECKS[keyword](value)
            self._losses += keyword in FORMATS
            if keyword not in CONTENTS:  # which the validator would enforce
                result[keyword] = checked
        elif keyword in _MANY:
            result[keyword] = getattr(self, _MANY[keyword])(keyword, value, position)
        elif keyword in _ONE:
            inside = position.inside("[]") if keyword in _OF_ITEMS else position.beside()
            before = self._losses
            subschema = self._schema(value, inside)
            if keyword in _SUBTRACTIVE and self._losses > before:
                raise InvalidKeyword("a part of it is ignored")
            result[keyword] = subschema
        elif keyword in {"anyOf", "oneOf"}:
            self._add_alternatives(result, keyword, value, position)
        elif keyword in _UNSUPPORTED:
            raise InvalidKeyword("it is not part of draft 7")
        elif keyword == "$schema" and "json-schema.org/" not in str(value):
            raise InvalidKeyword("it names no known draft")

    def _drop_expensive(self, result: dict[str, Any], position: _Position) -> None:
        for keyword in OVERLAPPING & result.keys():
            if most_for_one_value({keyword: result[keyword]}) > _MAX_FOR_ONE_VALUE:
                del result[keyword]
                reason = f"more than {_MAX_FOR_ONE_VALUE:,} subschemas apply to the same value"
                self._ignore(keyword, reason, position)

    def _add_alternatives(
        self, result: dict[str, Any], keyword: str, value: Any, position: _Position
    ) -> None:
        before = self._losses
        alternatives = [self._schema(item, position.beside()) for item in _schemas(value)]
        # A lenient alternative matches beside another one, which `oneOf` does not allow.
        if keyword == "oneOf" and self._losses > before:
            if "anyOf" in result:
                return
            keyword = "anyOf"
        result[keyword] = alternatives

    def _all_of(self, keyword: str, value: Any, position: _Position) -> list[dict[str, Any]]:
        return [self._lenient(keyword, item, position.beside()) for item in _schemas(value)]

    def _lenient(self, keyword: str, schema: Any, position: _Position) -> dict[str, Any]:
        """Normalize a subschema; replace an invalid one with one that accepts everything."""
        try:
            return self._schema(schema, position)
        except InvalidKeyword as error:
            self._ignore(keyword, error, position)
            return {}

    def _properties(self, keyword: str, value: Any, position: _Position) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidKeyword("it must be an object")
        return {
            name: self._lenient(keyword, subschema, position.inside(name))
            for name, subschema in value.items()
        }

    def _pattern_properties(self, keyword: str, value: Any, position: _Position) -> dict[str, Any]:
        properties = self._properties(keyword, value, position)
        for name in [name for name in properties if not compiles(name)]:
            self._ignore(keyword, NO_REGEX, position.inside(name))
            del properties[name]
        return properties

    def _additional(self, keyword: str, value: Any, position: _Position) -> Any:
        if isinstance(value, bool):
            return value
        del keyword
        return self._schema(value, position.inside("*"))

    def _items(self, keyword: str, value: Any, position: _Position) -> Any:
        if not isinstance(value, list):
            return self._schema(value, position.inside("[]"))
        if not value:
            raise InvalidKeyword("it must be a schema or a list of schemas")
        return [self._lenient(keyword, item, position.inside("[]")) for item in value]

    def _dependencies(self, keyword: str, value: Any, position: _Position) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidKeyword("it must be an object")
        return {
            name: CHECKS["required"](item)
            if isinstance(item, list)
            else self._lenient(keyword, item, position.beside())
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


def _schemas(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InvalidKeyword("it must be a list of schemas")
    return value


def _translated(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Translate the bounds of draft 4, where exclusive bounds are flags."""
    for flag, bound in (("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")):
        if isinstance(schema.get(flag), bool):
            is_exclusive = schema[flag] and bound in schema
            left = {bound} if is_exclusive else set()
            rest = {key: value for key, value in schema.items() if key not in {flag, *left}}
            schema = {**rest, flag: schema[bound]} if is_exclusive else rest
    return schema


def _check_form(schema: Any, position: _Position) -> None:
    if not isinstance(schema, Mapping):
        raise InvalidKeyword("it must be a schema")
    if position.depth > _MAX_DEPTH:
        raise InvalidKeyword("the schema is nested too deep")


def _drop_dependent(result: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Remove keywords whose effect depends on others that were left out of the schema."""
    if "if" not in result:
        result.pop("then", None)
        result.pop("else", None)
    if any(_lost_names(schema, result, each) for each in ("properties", "patternProperties")):
        result.pop("additionalProperties", None)  # the lost names would count as additional


def _lost_names(schema: Mapping[str, Any], result: Mapping[str, Any], keyword: str) -> bool:
    if keyword not in schema:
        return False
    return keyword not in result or len(result[keyword]) < len(schema[keyword])
