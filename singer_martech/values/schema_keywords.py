"""Check the values of the draft-7 keywords that contain no schema."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_DEPTH = 80
_MAX_DIGITS = 300
_MAX_COUNT = 2**63 - 1
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
CONTENTS = frozenset({"contentEncoding", "contentMediaType"})
FORMATS = CONTENTS | {"format"}
"""Annotations that a validator may enforce."""
NO_REGEX = "it is not a regular expression that JSON Schema allows"


class InvalidKeyword(ValueError):
    """The value of a keyword is invalid or unsupported; the text says why."""


def _type(value: Any) -> Any:
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, list) or not kinds:
        raise InvalidKeyword("it must be a type or a list of types")
    if not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
        raise InvalidKeyword("it names an unknown type")
    return value if isinstance(value, str) else list(dict.fromkeys(kinds))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise InvalidKeyword("it must be a number")
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    digits = number.as_tuple().digits
    if not number.is_finite() or max(abs(number.adjusted()), len(digits)) > _MAX_DIGITS:
        raise InvalidKeyword("it must be a finite number of at most 300 digits")
    return value


def _factor(value: Any) -> Any:
    if not 0 < float(_number(value)) < float("inf"):
        raise InvalidKeyword("it must be greater than 0")
    return value


def _count(value: Any) -> int:
    number = _number(value)
    if number != int(number) or not 0 <= number <= _MAX_COUNT:
        raise InvalidKeyword("it must be an integer of at least 0")
    return int(number)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidKeyword("it must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidKeyword("it must be text")
    return value


def _anything(value: Any) -> Any:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise InvalidKeyword("it is nested too deep")


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidKeyword("it must be a list of names")
    return list(dict.fromkeys(value))


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not compiles(value):
        raise InvalidKeyword(NO_REGEX)
    return value


def _list(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise InvalidKeyword("it must be a list of values")
    return _anything(value)


@lru_cache(maxsize=1024)
def compiles(pattern: str) -> bool:
    """Whether the validator can compile a regular expression."""
    try:
        jsonschema_rs.Draft7Validator({"pattern": pattern})
    except ValueError:
        return False
    return True


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"),
        _number,
    ),
    **dict.fromkeys(
        ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"),
        _count,
    ),
    **dict.fromkeys(("$comment", "description", "title", *FORMATS), _text),
    **dict.fromkeys(("readOnly", "uniqueItems", "writeOnly"), _flag),
    **dict.fromkeys(("const", "default"), _anything),
    **dict.fromkeys(("enum", "examples"), _list),
    "multipleOf": _factor,
    "pattern": _pattern,
    "required": _names,
    "type": _type,
}
