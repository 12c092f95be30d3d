"""Arithmetic and calls in template expressions; limits are checked before anything is expanded.

Templates and records may come from others, so no expression may use all memory or time:
``'a' * 10**9``, ``2 ** 10**9``, ``'%999999999d' % x``.
"""

from __future__ import annotations

import operator
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_LENGTH = 1_000_000
"""Maximum number of characters or items that one operation may add to a value."""
_MAX_TOTAL = 100 * MAX_LENGTH
"""Maximum number of characters in the items of a list that a filter returns."""
_MAX_WRAP_STEPS = 4 * 10**10
_MAX_BITS = 100_000
_MAX_EXPONENT = 4000
_TOO_LONG = f"it would lengthen a value by more than {MAX_LENGTH:,} characters or items"
_TOO_LARGE = "the number is too large"
_SEQUENCES = (str, bytes, list, tuple)
_WIDE_FORMAT = re.compile(r"(?<![0-9])[0-9]{7,}[.a-zA-Z]|%[-+ #0-9.]*\*")
_WIDE_SPEC = re.compile(r"(?<![0-9])[0-9]{7,}")


def divide(left: Any, right: Any) -> Any:
    """Divide exactly; integers give a decimal."""
    if isinstance(left, int) and isinstance(right, int):
        left = Decimal(left)
    return left / right


def multiply(left: Any, right: Any) -> Any:
    """Multiply numbers, or repeat a text or a list.

    Raises:
        ValueError: The result would be too long or too large.
    """
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_BITS:
            raise ValueError(_TOO_LARGE)
    elif isinstance(left, int) and isinstance(right, _SEQUENCES):
        _check_length(_weight(right) * left)
    elif isinstance(right, int) and isinstance(left, _SEQUENCES):
        _check_length(_weight(left) * right)
    return left * right


def power(left: Any, right: Any) -> Any:
    """Raise a number to a power.

    Raises:
        ValueError: The result would be too large.
    """
    if isinstance(left, int) and isinstance(right, int):
        if abs(left.bit_length() * right) > _MAX_BITS:
            raise ValueError(_TOO_LARGE)
        if right < 0:
            left = Decimal(left)
    return left**right


def modulo(left: Any, right: Any) -> Any:
    """Return a remainder, or format a text.

    Raises:
        ValueError: The text would be too long.
    """
    if isinstance(left, str):
        return format_text(left, right)
    return left % right


def format_text(text: str, values: Any) -> str:
    """Format a text like ``%``; null is empty text.

    Raises:
        ValueError: The result would be too long.
    """
    if _WIDE_FORMAT.search(text):
        raise ValueError(_TOO_LONG)
    if isinstance(values, dict):
        longest = max((len(each) for each in values.values() if isinstance(each, str)), default=0)
        _check_length((text.count("%(") - 1) * longest)
    if isinstance(values, tuple):
        values = tuple("" if value is None else value for value in values)
    for value in values if isinstance(values, tuple) else [values]:
        check_magnitude(value)
    formatted: str = text % values
    return formatted


def check_spec(value: Any, spec: str) -> None:
    """Check a format specification of ``str.format``.

    Raises:
        ValueError: The result would be too long.
    """
    check_magnitude(value)
    if _WIDE_SPEC.search(spec):
        raise ValueError(_TOO_LONG)


def check_magnitude(value: Any) -> None:
    """Check that a decimal is small enough for all its digits to be written.

    Raises:
        ValueError: Its exponent is out of range.
    """
    if isinstance(value, Decimal) and abs(value.adjusted()) > _MAX_EXPONENT:
        raise ValueError(_TOO_LARGE)


def check_call(
    function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
) -> None:
    """Check a call of a text or number method.

    Raises:
        ValueError: The result would be too large.
    """
    owner = getattr(function, "__self__", None)
    if not isinstance(owner, (str, bytes, int, Decimal)):
        return
    check_magnitude(owner)
    given = [*args, *kwargs.values()]
    check_widths(given)
    name = getattr(function, "__name__", "")
    if not isinstance(owner, (str, bytes)):
        return
    if name == "replace" and len(given) > 1:
        check_replacement(owner, *given[:2])
    elif name == "join" and given and isinstance(given[0], (str, list, tuple, dict)):
        _check_length(len(owner) * len(given[0]))
    elif name == "expandtabs":
        _check_length(len(owner) * max((n for n in given if isinstance(n, int)), default=8))
    elif name == "translate":
        raise ValueError("the method 'translate' is not available")


def check_widths(values: Iterable[Any]) -> None:
    """Check numbers of characters or items.

    Raises:
        ValueError: One is too large.
    """
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_LENGTH:
            raise ValueError(_TOO_LONG)


def check_replacement(text: Any, old: Any, new: Any) -> None:
    """Check a replacement in a text.

    Raises:
        ValueError: The result would be too long.
    """
    if type(old) is type(text) and isinstance(new, (str, bytes)):
        _check_length(text.count(old) * (len(new) - len(old)))


def check_indent(text: Any, width: Any) -> None:
    """Check the indentation of a text.

    Raises:
        ValueError: The result would be too long.
    """
    size = width if isinstance(width, int) else len(width)
    _check_length((str(text).count("\n") + 1) * size)


def check_wrapping(text: Any, width: Any) -> None:
    """Check the wrapping of a text, whose time grows with the square of the length.

    Raises:
        ValueError: It would take too long.
    """
    if isinstance(width, int) and len(str(text)) ** 2 > _MAX_WRAP_STEPS * max(width, 1):
        raise ValueError("the text is too long to be wrapped")


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items that a filter returns.

    Raises:
        ValueError: Their texts are too long in total.
    """
    total = 0
    for item in items:
        if isinstance(item, (str, bytes)):
            total += len(item)
            if total > _MAX_TOTAL:
                raise ValueError(_TOO_LONG)
        yield item


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise ValueError(_TOO_LONG)


def _weight(value: Any) -> int:
    """Return the number of characters and items in a value."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return 1 + sum(map(_weight, value.values()))
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(_weight, value))
    return 1


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
    "in": lambda item, container: item in container,
    "notin": lambda item, container: item not in container,
}
"""The comparisons that fail for null, by Jinja's names."""
