"""Limits of the methods and functions that expressions call."""

from __future__ import annotations

from types import MethodDescriptorType
from typing import TYPE_CHECKING, Any

from singer_martech.values.limits import (
    MAX_TOTAL,
    check_bytes,
    check_insertion,
    check_length,
    check_magnitude,
    check_replacement,
    check_widths,
    weigh,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PER_DIRECTIVE = 256
"""Maximum number of characters that a directive of ``strftime`` gives."""


def check_call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Check a call of a method of a text, a number or a time, or of ``json.dumps``.

    Raises:
        ValueError: The result would be too large.
    """
    owner = getattr(function, "__self__", None)
    given = [*args, *kwargs.values()]
    if isinstance(function, MethodDescriptorType) and given:  # such as str.ljust(text, width)
        owner, *given = given
    if isinstance(owner, (str, bytes, int)):
        check_widths(given)
    check_magnitude(owner)
    check = _CALLS.get(getattr(function, "__name__", ""))
    if check is not None:
        check(owner, given, kwargs)


def _replace(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if len(given) > 1:
        check_replacement(owner, *given[:2])


def _join(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, (str, bytes)) and given and hasattr(given[0], "__len__"):
        check_length(len(owner) * len(given[0]))


def _expandtabs(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, (str, bytes)):
        check_length(len(owner) * max((n for n in given if isinstance(n, int)), default=8))


def _translate(owner: Any, _: Sequence[Any], __: Mapping[str, Any]) -> None:
    if isinstance(owner, (str, bytes)):
        raise ValueError("the method 'translate' is not available")  # noqa: TRY004 - any text


def _from_bytes(_: Any, given: Sequence[Any], __: Mapping[str, Any]) -> None:
    for each in given:
        if isinstance(each, bytes):
            check_bytes(each)


def _time_format(_: Any, given: Sequence[Any], __: Mapping[str, Any]) -> None:
    check_insertion(_PER_DIRECTIVE, *(each for each in given if isinstance(each, str)))


def _dumps(_: Any, given: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    indent, separators = kwargs.get("indent") or 0, kwargs.get("separators") or ()
    if indent or separators:
        spaces = indent if isinstance(indent, int) else len(indent)
        weigh(given[:1], MAX_TOTAL, spaces + sum(map(len, separators)), spaces)


_CALLS: Mapping[str, Callable[[Any, Sequence[Any], Mapping[str, Any]], None]] = {
    "dumps": _dumps,
    "expandtabs": _expandtabs,
    "from_bytes": _from_bytes,
    "join": _join,
    "replace": _replace,
    "strftime": _time_format,
    "strptime": _time_format,
    "translate": _translate,
}
"""Checks of the methods and functions that may multiply what they get, by name."""
