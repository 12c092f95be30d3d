"""Normalize numbers used as identifiers."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

_MAX_DIGITS = 40
"""Larger numbers are never expanded."""
EXACT = decimal.Context(prec=10_000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
"""Arithmetic that rounds only results of more than 10,000 digits."""


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


def identity(number: int | Decimal) -> bytes:
    """Return the same bytes for equal numbers; unlike a number, they have no predictable hash."""
    return str(EXACT.normalize(Decimal(number)) or 0).encode()  # also negative zero
