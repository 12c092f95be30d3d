"""Normalize numbers used as identifiers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_MAX_DIGITS = 40
"""Larger numbers are never expanded."""


def without_zero_fraction(value: Any) -> Any:
    """Return a number such as 208045946.0 as an integer, and any other value unchanged.

    singer-python turns all numbers of a tap into floats, including integer keys.
    """
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < _MAX_DIGITS:
        whole = value.to_integral_value()
        return int(whole) if whole == value else value
    return value
