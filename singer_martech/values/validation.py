"""Validate records against the schema of their stream."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from singer_martech.values.json_codec import encode, unicode
from singer_martech.values.numbers import identity
from singer_martech.values.schema import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

_MAX_DIGITS = 4000
"""To divide a number takes time in proportion to the square of its digits."""
_FIRST_TOO_LONG = 10**_MAX_DIGITS
_MAX_DEPTH = 100
"""The values of an ``enum`` are nested less deep."""
_MAX_VALUES_NAMED = 3


class RecordValidator:
    """Validates the records of one stream.

    Args:
        stream: The stream's name, for warnings.
        schema: Its JSON Schema. Invalid keywords are logged once and ignored; see
            :func:`singer_martech.values.schema.normalize`.
    """

    def __init__(self, stream: str, schema: Mapping[str, Any]) -> None:
        normalized, warnings = normalize(schema)
        for warning in warnings:
            logger.warning("stream '%s': %s", stream, warning)
        self._validator = jsonschema_rs.Draft7Validator(
            normalized,
            validate_formats=False,
            mask="its value",
            keywords={"enum": _Enum, "multipleOf": _MultipleOf},
        )

    def is_valid(self, record: Mapping[str, Any]) -> bool:
        """Whether a record conforms."""
        try:
            if self._validator.is_valid(record):
                return True
        except UnicodeEncodeError:
            pass  # of a lone surrogate, which also hides the name that contains it
        return self._validator.is_valid(unicode(record))

    def reason(self, record: Mapping[str, Any]) -> str:
        """Return why a record is invalid.

        The text does not contain the values; the reject report has the record.
        """
        try:
            # the validator cannot read lone surrogates
            self._validator.validate(unicode(record))
        except jsonschema_rs.ValidationError as error:
            path = ".".join(map(str, error.instance_path)) or "the record"
            return f"breaks its schema at {path}: {error.message}"
        except ValueError:  # Python does not convert so many digits
            pass
        return f"breaks its schema; a number has more than {_MAX_DIGITS:,} digits"


class _Enum:
    """Validates ``enum`` in the same time for any number of values.

    The validator itself compares a value with one after the other.
    """

    def __init__(self, parent: Any, values: list[Any], path: Any) -> None:
        del parent, path
        self._values = set(map(_comparable, values))
        count = len(values)
        named = values if count <= _MAX_VALUES_NAMED else values[: _MAX_VALUES_NAMED - 1]
        texts = [encode(value).decode() for value in named]
        if count > len(named):
            texts.append(f"{count - len(named)} other candidates")
        *first, last = texts
        self._options = f"{', '.join(first)} or {last}" if first else last

    def validate(self, instance: Any) -> None:
        if _comparable(instance) not in self._values:
            raise ValueError(f"its value is not one of {self._options}")


def _comparable(value: Any, depth: int = 0) -> Any:
    """Return a hashable value that is the same for equal JSON values."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    if depth > _MAX_DEPTH or _has_too_many_digits(value):
        return object()
    if isinstance(value, dict):
        return frozenset((key, _comparable(each, depth + 1)) for key, each in value.items())
    if isinstance(value, list):
        return tuple([_comparable(each, depth + 1) for each in value])
    return identity(Decimal(repr(value)) if isinstance(value, float) else value)


class _MultipleOf:
    """Validates ``multipleOf`` for doubles, since most JSON writers only have doubles.

    A number is a multiple if its exact value is, or the shortest decimal of its double.
    """

    def __init__(self, parent: Any, value: float, path: Any) -> None:
        del parent, path
        self._factor = Decimal(str(value))

    def validate(self, instance: Any) -> None:
        if isinstance(instance, bool) or not isinstance(instance, (int, float, Decimal)):
            return
        if _has_too_many_digits(instance):
            raise ValueError(f"its value has more than {_MAX_DIGITS:,} digits")
        if _is_multiple(Decimal(instance), self._factor):
            return
        if isinstance(instance, int) or not _is_multiple(
            Decimal(repr(float(instance))), self._factor
        ):
            raise ValueError(f"its value is not a multiple of {self._factor}")


def _has_too_many_digits(number: float | Decimal) -> bool:
    if isinstance(number, Decimal):
        return len(number.as_tuple().digits) > _MAX_DIGITS
    return isinstance(number, int) and abs(number) >= _FIRST_TOO_LONG


def _is_multiple(number: Decimal, factor: Decimal) -> bool:
    """Whether a number is a multiple, without expanding its exponent."""
    if not number.is_finite():
        return False
    digits, exponent = _parts(number)
    factor_digits, factor_exponent = _parts(factor)
    shift = exponent - factor_exponent
    if shift >= 0:
        return digits * pow(10, shift, factor_digits) % factor_digits == 0
    if digits and -shift > len(number.as_tuple().digits):
        return False
    return digits % (factor_digits * 10**-shift) == 0 if digits else True


def _parts(number: Decimal) -> tuple[int, int]:
    _, digits, exponent = number.as_tuple()
    return int(Decimal((0, digits, 0))), int(exponent)
