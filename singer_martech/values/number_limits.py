"""Limits of numbers in expressions."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BITS = 100_000
TOO_LARGE = "the number is too large"
_MAX_EXPONENT = 4000
_MAX_BYTES = 15_000
"""Maximum memory of a decimal, for some 35,000 digits."""
_MAX_POWER_BYTES = 500
"""Maximum memory of a number in a power of decimals, for some 900 digits."""
_MAX_BIT_PAIRS = 10**12


def check_power(base: Any, exponent: Any) -> None:
    """Check a power.

    Raises:
        ValueError: The result would be too large, or would take too long.
    """
    if isinstance(base, int) and isinstance(exponent, int):
        is_large = abs(base.bit_length() * exponent) > MAX_BITS
    else:
        numbers = [each for each in (base, exponent) if isinstance(each, (Decimal, int))]
        is_large = any(sys.getsizeof(each) > _MAX_POWER_BYTES for each in numbers)
    if is_large:
        raise ValueError(TOO_LARGE)


def check_magnitude(value: Any) -> None:
    """Check that a number is small enough for all its digits to be written.

    Raises:
        ValueError: It is out of range.
    """
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > _MAX_EXPONENT or sys.getsizeof(value) > _MAX_BYTES:
            raise ValueError(TOO_LARGE)
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(TOO_LARGE)


def check_bytes(value: bytes) -> None:
    """Check that the number in some bytes is small enough for all its digits to be written.

    Raises:
        ValueError: There are too many.
    """
    if 8 * len(value) > MAX_BITS:
        raise ValueError(TOO_LARGE)


def check_comparisons(value: Any, others: int) -> None:
    """Check a value that may be compared with many decimals.

    Each comparison converts an integer, in a time that grows with the square of its length.

    Raises:
        ValueError: It would take too long.
    """
    _check_bits((value,), math.isqrt(_MAX_BIT_PAIRS // max(others, 1)))


def _check_bits(values: Iterable[Any], most: int) -> None:
    for value in values:
        kind = value.__class__
        if kind is int:
            if value.bit_length() > most:
                raise ValueError(TOO_LARGE)
        elif kind is dict:
            _check_bits(value.values(), most)
        elif kind is list or kind is tuple:
            _check_bits(value, most)
