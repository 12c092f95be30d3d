"""Types whose compiled decoder accepts only what a normalized JSON Schema accepts.

A type may accept less than its schema, but never more; the validator handles the values it does
not accept. So types leave out checks that need exact numbers, such as a number close to a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec

from singer_martech.values import schema_equality
from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

ALL = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
SCALARS = frozenset({"boolean", "integer", "null", "string"})
"""The kinds of values whose types keep them exact."""
ANNOTATIONS = schema_equality.ANNOTATIONS | {"format"}
_COMBINING = frozenset({"allOf", "anyOf", "const", "enum", "oneOf"})
_OF_NUMBERS = frozenset({"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"})
_EXPRESSIBLE = {
    "array": frozenset({"items", "maxItems", "minItems"}),
    "integer": _OF_NUMBERS | {"multipleOf"},
    "number": _OF_NUMBERS,
    "object": frozenset({"additionalProperties", "properties", "required"}),
    "string": frozenset({"maxLength", "minLength"}),
}
"""By kind of value, the keywords that a type can express."""
_CONCERNING = {
    "array": _EXPRESSIBLE["array"] | {"additionalItems", "contains", "uniqueItems"},
    "integer": _EXPRESSIBLE["integer"],
    "number": _EXPRESSIBLE["integer"],
    "object": _EXPRESSIBLE["object"]
    | {"dependencies", "maxProperties", "minProperties", "patternProperties", "propertyNames"},
    "string": _EXPRESSIBLE["string"] | {"pattern"},
}
"""By kind of value, the keywords that concern no other kind."""
_SIXTY_FOUR_BITS = range(-(2**63), 2**63)


class NotExpressible(ValueError):
    """No type can be proven to accept only what a schema accepts."""


class NumberLimits(NamedTuple):
    """Limits within which a number is surely valid.

    Attributes:
        places: The largest number of decimal places; None for any.
        above: The double of the number is above this one.
        below: It is below this one.
    """

    places: int | None
    above: float
    below: float


class _Skipped(msgspec.Struct, gc=False):
    """Any object, whose content is skipped."""


_Types = dict[str, Any]
"""The types of the kinds of JSON values that a schema accepts."""


class TypeBuilder:
    """Builds the types of one stream's fields.

    Attributes:
        skips: Whether a decoder of these types skips parts of a record. Those are well-formed
            JSON, but may not be valid UTF-8.
    """

    def __init__(self) -> None:
        self.skips = False

    def type_of(self, schema: Mapping[str, Any], allowed: frozenset[str] = ALL) -> Any:
        """Return a type for a schema.

        Raises:
            NotExpressible: There is no such type.
        """
        types = self._types(schema, allowed)
        if types == _PLAIN:
            self.skips = True
            return msgspec.Raw
        if "number" in types:  # whose type accepts integers, too
            types.pop("integer", None)
        if not types:
            raise NotExpressible
        return reduce(or_, (types[kind] for kind in sorted(types, reverse=True)))

    def exact_type_of(self, schema: Mapping[str, Any]) -> Any:
        """Return a type for a normalized schema that keeps values exact; None if there is none."""
        try:
            types = self._types(schema, ALL)
        except NotExpressible:
            return None
        if not types or not SCALARS.issuperset(types):
            return None
        return reduce(or_, (types[kind] for kind in sorted(types, reverse=True)))

    def number_limits(self, schema: Mapping[str, Any]) -> NumberLimits | None:
        """Return the limits of a normalized schema that allows only numbers and null.

        Returns:
            None if it allows other values, or has a constraint that no limits express.
        """
        factor = schema.get("multipleOf")
        places = None if factor is None else decimal_places(factor)
        keywords = schema.keys() - ANNOTATIONS - {"type"}
        if (
            not kinds_of(schema) <= {"integer", "null", "number"}
            or not keywords <= _EXPRESSIBLE["integer"]
            or (factor is not None and places is None)
        ):
            return None
        bounds = _number_bounds(schema)
        return NumberLimits(places, bounds.get("gt", -math.inf), bounds.get("lt", math.inf))

    def plain_kinds(self, schema: Mapping[str, Any]) -> frozenset[str]:
        """Return kinds of which a normalized schema accepts each value; none if it is unclear."""
        try:
            types = self._types(schema, ALL)
        except NotExpressible:
            return frozenset()
        is_plain = all(each in (int, _PLAIN.get(kind)) for kind, each in types.items())
        return frozenset(types) if is_plain else frozenset()

    def _types(self, schema: Mapping[str, Any], allowed: frozenset[str]) -> _Types:
        kinds = kinds_of(schema) & allowed
        keywords = schema.keys() - ANNOTATIONS - {"type"}
        for kind in _CONCERNING.keys() - kinds:
            if kind not in {"integer", "number"} or kinds.isdisjoint({"integer", "number"}):
                keywords -= _CONCERNING[kind]
        if len(keywords) > 1 and not _COMBINING.isdisjoint(keywords):
            raise NotExpressible
        for keyword in ("const", "enum"):
            if keyword in keywords:
                values = schema[keyword] if keyword == "enum" else [schema[keyword]]
                return _literals(values, kinds)
        for keyword in ("allOf", "anyOf", "oneOf"):
            if keyword in keywords:
                return self._alternatives(keyword, schema[keyword], kinds)
        if not keywords.issubset(frozenset().union(*_CONCERNING.values())):
            raise NotExpressible
        if "number" in kinds:
            kinds -= {"integer"}
        return {kind: self._of_kind(kind, schema, keywords) for kind in kinds}

    def _alternatives(
        self, keyword: str, alternatives: list[Mapping[str, Any]], kinds: frozenset[str]
    ) -> _Types:
        accepted = [kinds_of(each) for each in alternatives]
        may_overlap = sum(map(len, accepted)) > len(frozenset().union(*accepted))
        if len(alternatives) > 1 and (keyword == "allOf" or (keyword == "oneOf" and may_overlap)):
            raise NotExpressible
        result: _Types = {}
        for alternative in alternatives:
            try:
                types = self._types(alternative, kinds)
            except NotExpressible:
                continue
            for kind, each in types.items():
                if kind not in result or each == _PLAIN.get(kind):
                    result[kind] = each
        return result

    def _of_kind(self, kind: str, schema: Mapping[str, Any], keywords: AbstractSet[str]) -> Any:
        own = keywords & _CONCERNING.get(kind, frozenset())
        if not own <= _EXPRESSIBLE.get(kind, frozenset()):
            raise NotExpressible
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        return _with_meta(
            int if kind == "integer" else _PLAIN[kind], _META[kind](schema) if own else {}
        )

    def _array(self, schema: Mapping[str, Any]) -> Any:
        items = schema.get("items", {})
        if not isinstance(items, Mapping):
            raise NotExpressible
        self.skips |= not items
        item = self.type_of(items) if items else msgspec.Raw
        return _with_meta(list[item], _lengths(schema, "Items"))  # type: ignore[valid-type] # made at run time

    def _object(self, schema: Mapping[str, Any]) -> Any:
        additional = schema.get("additionalProperties", True)
        required = schema.get("required", ())
        properties = {**{name: {} for name in required}, **schema.get("properties", {})}
        is_open = additional in (True, {})
        self.skips |= is_open
        if not properties and is_open:
            return _Skipped
        if additional is not False and not is_open:
            if properties:
                raise NotExpressible
            item = self.type_of(additional)
            return dict[str, item]  # type: ignore[valid-type] # made at run time
        struct = object_type(
            (
                (name, self.type_of(field), msgspec.NODEFAULT if name in required else None)
                for name, field in properties.items()
            ),
            skip_unknown=is_open,
        )
        if struct is None:
            raise NotExpressible
        return struct


_PLAIN: _Types = {
    "array": list[msgspec.Raw],
    "boolean": bool,
    "null": None,
    "number": float,
    "object": _Skipped,
    "string": str,
}
"""The types of values without constraints."""


def kinds_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of values that the type of a schema allows; number includes integer."""
    given = schema.get("type", ALL)
    kinds = frozenset({given} if isinstance(given, str) else given)
    return kinds | {"integer"} if "number" in kinds else kinds


def decimal_places(factor: Any) -> int | None:
    """Return the decimal places of multiples of a power of ten; None for other factors."""
    _, digits, exponent = Decimal(str(factor)).normalize().as_tuple()
    return -int(exponent) if digits == (1,) and int(exponent) <= 0 else None


def _literals(values: list[Any], kinds: frozenset[str]) -> _Types:
    types: _Types = {}
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if type(value) is int and value in _SIXTY_FOUR_BITS]
    if texts and "string" in kinds:
        types["string"] = Literal[tuple(texts)]
    if numbers and "integer" in kinds:
        types["integer"] = Literal[tuple(numbers)]
    if None in values and "null" in kinds:
        types["null"] = None
    if {True, False} <= {value for value in values if isinstance(value, bool)}:
        types.update({"boolean": bool} if "boolean" in kinds else {})
    return types


def _lengths(schema: Mapping[str, Any], suffix: str) -> dict[str, int]:
    names = {f"min{suffix}": "min_length", f"max{suffix}": "max_length"}
    return {ours: schema[name] for name, ours in names.items() if name in schema}


def _integer_bounds(schema: Mapping[str, Any]) -> dict[str, int]:
    upper = [math.floor(schema["maximum"])] if "maximum" in schema else []
    if "exclusiveMaximum" in schema:
        upper.append(math.ceil(schema["exclusiveMaximum"]) - 1)
    lower = [math.ceil(schema["minimum"])] if "minimum" in schema else []
    if "exclusiveMinimum" in schema:
        lower.append(math.floor(schema["exclusiveMinimum"]) + 1)
    meta = {}
    if upper:
        meta["le"] = min(*upper, _SIXTY_FOUR_BITS[-1])
    if lower:
        meta["ge"] = max(*lower, _SIXTY_FOUR_BITS[0])
    factor = schema.get("multipleOf", 1)
    if decimal_places(factor) is None:
        if factor != int(factor) or int(factor) not in _SIXTY_FOUR_BITS:
            raise NotExpressible
        meta["multiple_of"] = int(factor)
    if any(value not in _SIXTY_FOUR_BITS for value in meta.values()):
        raise NotExpressible
    return meta


def _number_bounds(schema: Mapping[str, Any]) -> dict[str, float]:
    """Return bounds for the double of a number, strict enough to hold for the exact number."""
    upper = [schema[each] for each in ("maximum", "exclusiveMaximum") if each in schema]
    lower = [schema[each] for each in ("minimum", "exclusiveMinimum") if each in schema]
    meta = {}
    if upper:
        meta["lt"] = min(map(float, upper))
    if lower:
        meta["gt"] = max(map(float, lower))
    return meta


def _with_meta(kind: Any, meta: dict[str, Any]) -> Any:
    return Annotated[kind, msgspec.Meta(**meta)] if meta else kind


_META: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "integer": _integer_bounds,
    "number": _number_bounds,
    "string": lambda schema: _lengths(schema, "Length"),
}
