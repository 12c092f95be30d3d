"""Limits of expressions, checked before anything is expanded.

Expressions and records may come from others, so no expression may use all memory or time:
``'a' * 10**9``, ``2 ** 10**9``, ``'%999999999d' % x``.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from singer_martech.values.number_limits import MAX_BITS, TOO_LARGE, check_magnitude

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_LENGTH = 1_000_000
"""Maximum number of characters or items that one operation may add to a value."""
MAX_TOTAL = 100 * MAX_LENGTH
"""Maximum number of characters in all that a filter or a stream map makes of one record."""
PER_ITEM = 20
"""The number of characters that take as much memory and time as an item of a list."""
PER_DIRECTIVE = 256
"""Maximum number of characters that a directive of ``strftime`` gives."""
_MAX_STEPS = 50_000_000
_MAX_SEARCH_STEPS = 10**9
_MAX_WRAP_STEPS = 4 * 10**9
_TOO_LONG = f"it would lengthen a value by more than {MAX_LENGTH:,} characters or items"
TOO_MANY_STEPS = "it would take too long for lists and texts of this length"
_SEQUENCES = (str, bytes, list, tuple)
_CONVERSION = re.compile(r"[-+ #0]*([1-9][0-9]*|\*)?(?:\.([0-9]*|\*))?[hlL]?(.)", re.DOTALL)
"""What follows ``%`` and a key."""
_PARENTHESIS = re.compile(r"[()]")
_WIDE_SPEC = re.compile(r"(?<![0-9])[0-9]{7,}")
_MOST_DIGITS = 7
_SHORT = 1000
_FEW = 32


def multiply(left: Any, right: Any) -> Any:
    """Multiply numbers, or repeat a text or a list.

    Raises:
        ValueError: The result would be too long or too large.
    """
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise ValueError(TOO_LARGE)
    elif isinstance(left, int) and isinstance(right, _SEQUENCES):
        weigh(right, MAX_LENGTH // max(left, 1))
    elif isinstance(right, int) and isinstance(left, _SEQUENCES):
        weigh(left, MAX_LENGTH // max(right, 1))
    return left * right


def check_format(text: Any, values: Any) -> None:
    """Check a text that is formatted like ``%``.

    Raises:
        ValueError: The result would be too long.
    """
    if not isinstance(text, str):
        raise TypeError("only text can be formatted")
    named = _short_conversions(text) if len(text) <= _SHORT else _conversions(text)
    if not isinstance(values, dict):
        for value in values if isinstance(values, tuple) else (values,):
            check_magnitude(value)
        return
    repeated = 0
    for (key, kind), count in named:
        if key in values and kind != "%":
            check_magnitude(values[key])
            if count > 1:
                repeated += (count - 1) * len(f"%{kind}" % (values[key],))
                check_length(repeated)


def _conversions(text: str) -> Sequence[tuple[tuple[str, str], int]]:
    """Return key, type and number of the conversions with a key; check the widths of all."""
    widths = end = 0
    named: Counter[tuple[str, str]] = Counter()
    while (start := text.find("%", end) + 1) > 0:
        key = _key(text, start)
        found = _CONVERSION.match(text, start if key is None else start + len(key) + 2)
        if found is None:
            break
        *digits, kind = found.groups()
        for each in filter(None, digits):
            if each == "*" or len(each) > _MOST_DIGITS:
                raise ValueError(_TOO_LONG)
            widths += int(each)
        if key is not None:
            named[key, kind] += 1
        end = found.end()
    check_length(widths)
    return tuple(named.items())


def _key(text: str, start: int) -> str | None:
    """Return the key in parentheses, which it may contain in pairs."""
    if text[start : start + 1] != "(":
        return None
    depth = 0
    for found in _PARENTHESIS.finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return text[start + 1 : found.start()]
    raise ValueError("incomplete format key")


_short_conversions = functools.lru_cache(maxsize=256)(_conversions)


def check_spec(value: Any, spec: str) -> None:
    """Check a format specification of ``str.format``.

    Raises:
        ValueError: The result would be too long.
    """
    check_magnitude(value)
    check_insertion(PER_DIRECTIVE, spec)
    if _WIDE_SPEC.search(spec):
        raise ValueError(_TOO_LONG)


def check_formatted(length: int, values: Sequence[Any]) -> int:
    """Check the length of a formatted text, given the values in it; return the maximum.

    Raises:
        ValueError: It is too long.
    """
    weight = MAX_TOTAL - weigh(values, MAX_TOTAL)
    check_length(length - weight)
    return MAX_LENGTH + weight


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
    is_text = isinstance(text, str) and isinstance(old, str) and isinstance(new, str)
    if is_text or (isinstance(text, bytes) and isinstance(old, bytes) and isinstance(new, bytes)):
        check_length(text.count(old) * (len(new) - len(old)))


def check_translation(text: str, table: Any) -> None:
    """Check a translation of a text.

    Raises:
        ValueError: The result would be too long.
    """
    if not isinstance(table, (dict, list, tuple)):
        return  # a text has one character for each
    items = table.items() if isinstance(table, dict) else enumerate(table)
    longer = {code: len(new) - 1 for code, new in items if isinstance(new, str) and len(new) > 1}
    if len(text) * max(longer.values(), default=0) > MAX_LENGTH:
        counts = Counter(map(ord, text))
        check_length(sum(counts[code] * more for code, more in longer.items()))


def check_search(text: Any, sought: Iterable[Any]) -> None:
    """Check a search whose time grows with the product of the lengths.

    Raises:
        ValueError: It would take too long.
    """
    for each in sought:
        if isinstance(each, (str, bytes)) and len(text) * len(each) > _MAX_SEARCH_STEPS:
            raise ValueError(TOO_MANY_STEPS)


def check_insertion(places: int, *inserted: Any) -> None:
    """Check that texts, or numbers of spaces, can be inserted at each of some places.

    Raises:
        ValueError: The result would be too long.
    """
    for each in inserted:
        if isinstance(each, (int, str)):
            check_length(places * (each if isinstance(each, int) else len(each)))


def check_wrapping(text: str, width: Any, line_end: str) -> None:
    """Check the wrapping of a text, whose time grows with the square of the length.

    Raises:
        ValueError: It would take too long, or the result would be too long.
    """
    if isinstance(width, int):
        width = max(width, 1)
        if len(text) ** 2 > _MAX_WRAP_STEPS * width:
            raise ValueError("the text is too long to be wrapped")
        check_insertion(2 * len(text) // width + len(text.splitlines()), line_end)


def check_steps(items: Any, args: Iterable[Any]) -> Any:
    """Check a filter that uses its arguments for each item; return the items.

    Raises:
        ValueError: It would take too long; an iterator of items may raise this later.
    """
    steps = 0
    for each in args:
        if isinstance(each, (str, bytes, list, tuple)) and len(each) > _FEW:
            steps += _steps(each)
    if not steps:
        return items
    if not hasattr(items, "__len__"):
        return _stepped(items, steps)
    if len(items) * steps > _MAX_STEPS:
        raise ValueError(TOO_MANY_STEPS)
    return items


def _steps(value: Sequence[Any]) -> int:
    if isinstance(value, str):  # it may be a path, such as `a.b` or `a,b`
        return len(value) + 100 * (value.count(".") + value.count(","))
    return len(value)


def _stepped(items: Iterable[Any], steps: int) -> Iterator[Any]:
    total = 0
    for item in items:
        total += steps
        if total > _MAX_STEPS:
            raise ValueError(TOO_MANY_STEPS)
        yield item


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items that a filter returns.

    Raises:
        ValueError: They are too long in total.
    """
    return _counted(items, [MAX_TOTAL])


def _counted(items: Iterable[Any], room: list[int]) -> Iterator[Any]:
    for item in items:
        if item.__class__ is GeneratorType:
            yield _counted(item, room)
        else:
            room[0] = weigh(item, room[0] - PER_ITEM, PER_ITEM)
            yield item


def weigh(value: Any, room: int, per_item: int = 1, per_level: int = 0) -> int:
    """Return how much of a number of characters remains when a value is taken from it.

    Args:
        value: The value.
        room: The number of characters.
        per_item: What each item of a list or an object takes, in addition to its text.
        per_level: What an item takes in addition for each level of nesting.

    Raises:
        ValueError: Nothing remains.
    """
    if isinstance(value, (str, bytes)):
        room -= len(value)
    elif isinstance(value, (dict, list, tuple, set, frozenset)):
        room -= per_item * len(value)
        if isinstance(value, dict):
            for key in value:
                room -= len(key) if isinstance(key, str) else 0
            value = value.values()
        for item in value if room >= 0 else ():
            room = weigh(item, room, per_item + per_level, per_level)
    if room < 0:
        raise ValueError(_TOO_LONG)
    return room


def check_length(length: int) -> None:
    """Check the number of characters or items that an operation adds to a value.

    Raises:
        ValueError: It is too large.
    """
    if length > MAX_LENGTH:
        raise ValueError(_TOO_LONG)
