"""Checks of decoded fields that no type can express."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import decode
from singer_martech.values.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import msgspec

    from singer_martech.mapping.schema_types import NumberLimits

    Check = Callable[[list[Any]], None]
    """Replaces each decoded record that it does not accept by None."""

_ROUNDS = 1.5 * 2.0**52
"""Adding this number to a smaller one and subtracting it again rounds to an integer."""
_MAX_ROUNDED = 2.0**50
_MIN_SPARSE = 2.0**54
"""Doubles from here on are further apart than integers, so each is the nearest to an integer."""
_MAX_PLACES = 22
"""Up to this number of decimal places, the power of ten is exact as a double."""
_MAX_POWER = 300

_CLASSES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, Decimal),
    "object": (dict,),
    "string": (str,),
}


def places_check(attributes: Mapping[str, int]) -> Check:
    """Return a check of how many decimal places doubles have at most.

    Args:
        attributes: The number of places by attribute.
    """
    columns = []
    for attribute, places in attributes.items():
        scale = 10.0 ** min(places, _MAX_POWER)
        rounded = _MAX_ROUNDED / scale if places <= _MAX_PLACES else 0.0
        columns.append((attrgetter(attribute), places, scale, rounded, _MIN_SPARSE / scale))

    def check(found: list[Any]) -> None:
        present = [*filter(None, found)]
        for get, places, scale, rounded, sparse in columns:
            unclear = [
                value
                for value in map(get, present)
                if value.__class__ is float
                and not (
                    (value * scale + _ROUNDS - _ROUNDS) / scale == value
                    if -rounded < value < rounded
                    else value > sparse or value < -sparse or value == 0
                )
            ]
            if any(round(value, places) != value for value in unclear):
                _keep_where(found, get, partial(_has_places, places=places))

    return check


def _has_places(value: Any, places: int) -> bool:
    return value.__class__ is not float or round(value, places) == value


def kind_check(attribute: str, kinds: Collection[str]) -> Check:
    """Return a check that a field has a value of one of these kinds, with exact numbers."""
    get = attrgetter(attribute)
    classes = {each for kind in kinds for each in _CLASSES[kind]}

    def check(found: list[Any]) -> None:
        for index, each in enumerate(found):
            if each is not None and get(each).__class__ not in classes:
                found[index] = None

    return check


def number_check(attribute: str, limits: NumberLimits) -> Check:
    """Return a check that an exact number is within limits; null is."""
    get = attrgetter(attribute)
    return lambda found: _keep_where(found, get, lambda value: _is_within(value, limits))


def _keep_where(
    found: list[Any], get: Callable[[Any], Any], is_valid: Callable[[Any], bool]
) -> None:
    """Replace each decoded record by None whose value is not valid."""
    for index, each in enumerate(found):
        if each is not None and not is_valid(get(each)):
            found[index] = None


def _is_within(value: int | Decimal | None, limits: NumberLimits) -> bool:
    if value is None:
        return True
    try:
        if not limits.above < float(value) < limits.below:
            return False
    except OverflowError:
        return False
    if limits.places is None or isinstance(value, int):
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -limits.places


class FieldCheck:
    """Checks one field, given the attribute with its value, like the ordinary path."""

    _MAX_REMEMBERED = 1000
    _MAX_LENGTH = 64

    def __init__(self, attribute: str, name: str, schema: Mapping[str, Any]) -> None:
        field = schema["properties"][name]
        alone = {"properties": {name: field}, "definitions": schema.get("definitions", {})}
        self._get = attrgetter(attribute)
        self._name = name
        self._validator = RecordValidator(name, alone)
        self._remembered: dict[bytes, bool] = {}

    def of_values(self, found: list[Any]) -> None:
        """Check decoded values."""
        _keep_where(found, self._get, self._is_valid_value)

    def of_json(self, found: list[Any]) -> None:
        """Check values that are still JSON; None where the field is absent."""
        _keep_where(found, self._get, self._is_valid_json)

    def _is_valid_json(self, value: msgspec.Raw | None) -> bool:
        if value is None:
            return True
        raw = bytes(value)
        known = self._remembered.get(raw)
        if known is None:
            try:
                known = self._is_valid_value(decode(raw))
            except (ArithmeticError, RecursionError, ValueError):
                known = False
            if len(raw) <= self._MAX_LENGTH and len(self._remembered) < self._MAX_REMEMBERED:
                self._remembered[raw] = known
        return known

    def _is_valid_value(self, value: Any) -> bool:
        try:
            return self._validator.is_valid({self._name: value})
        except (ArithmeticError, RecursionError, ValueError):
            return False


def reader(attributes: Sequence[str]) -> Callable[[list[Any]], list[tuple[Any, ...]]]:
    """Return a function that reads these attributes of many objects."""
    if not attributes:
        return lambda found: [()] * len(found)
    get = attrgetter(*attributes)
    if len(attributes) == 1:
        return lambda found: [(value,) for value in map(get, found)]
    return lambda found: [*map(get, found)]
