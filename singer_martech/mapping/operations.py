"""Operators of template expressions, with limits."""

from __future__ import annotations

import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.values.limits import check_format, multiply
from singer_martech.values.number_limits import check_comparisons, check_power

if TYPE_CHECKING:
    from collections.abc import Callable


def divide(left: Any, right: Any) -> Any:
    """Divide exactly; integers give a decimal."""
    if isinstance(left, int) and isinstance(right, int):
        left = Decimal(left)
    return left / right


def power(left: Any, right: Any) -> Any:
    """Raise a number to a power.

    Raises:
        ValueError: The result would be too large.
    """
    check_power(left, right)
    if isinstance(left, int) and isinstance(right, int) and right < 0:
        left = Decimal(left)
    return left**right


def modulo(left: Any, right: Any) -> Any:
    """Return a remainder, or format a text.

    Raises:
        ValueError: The text would be too long.
    """
    if isinstance(left, (str, bytes)):
        return format_text(left, right)
    return left % right


def format_text(text: Any, values: Any) -> str:
    """Format a text like ``%``; null is empty text.

    Raises:
        ValueError: The result would be too long.
    """
    if isinstance(values, tuple):
        values = tuple("" if value is None else value for value in values)
    check_format(text, values)
    formatted: str = text % values
    return formatted


def contains(container: Any, item: Any) -> bool:
    """Whether a container has an item.

    Raises:
        ValueError: It would take too long.
    """
    if isinstance(container, (list, tuple)):
        check_comparisons(item, len(container))
    return item in container


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": multiply,
    "/": divide,
    "//": operator.floordiv,
    "**": power,
    "%": modulo,
}
UNARY: dict[str, Callable[[Any], Any]] = {"+": operator.pos, "-": operator.neg}
ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda item, container: contains(container, item),
    "notin": lambda item, container: not contains(container, item),
}
"""The comparisons that fail for null, by Jinja's names."""
