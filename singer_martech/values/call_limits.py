"""Limits of the methods and functions that expressions call."""

from __future__ import annotations

import codecs
from json import JSONEncoder
from types import MethodDescriptorType
from typing import TYPE_CHECKING, Any

from singer_martech.values.limits import (
    MAX_TOTAL,
    PER_DIRECTIVE,
    check_insertion,
    check_length,
    check_replacement,
    check_search,
    check_translation,
    check_widths,
    weigh,
)
from singer_martech.values.number_limits import check_bytes, check_comparisons, check_magnitude

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SLOW_CODECS = frozenset({"idna", "punycode"})
"""Codecs whose time grows with the square of the length."""


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


def _translate(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, str) and given:
        check_translation(owner, given[0])


def _search(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, (str, bytes)):
        check_search(owner, given)


def _compare(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, (list, tuple)):
        check_comparisons(given, len(owner))


def _sort(owner: Any, _: Sequence[Any], __: Mapping[str, Any]) -> None:
    if isinstance(owner, list):
        check_comparisons(owner, len(owner))


def _code(owner: Any, given: Sequence[Any], _: Mapping[str, Any]) -> None:
    if isinstance(owner, JSONEncoder):
        raise ValueError("use json.dumps")  # noqa: TRY004 - the arguments are limited there
    for each in given:
        if isinstance(each, str) and _codec(each) in _SLOW_CODECS:
            raise ValueError(f"the encoding '{each}' is not available")


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:  # such as the name of an error handler
        return name


def _from_bytes(_: Any, given: Sequence[Any], __: Mapping[str, Any]) -> None:
    for each in given:
        if isinstance(each, bytes):
            check_bytes(each)


def _time_format(_: Any, given: Sequence[Any], __: Mapping[str, Any]) -> None:
    check_insertion(PER_DIRECTIVE, *(each for each in given if isinstance(each, str)))


def _dumps(_: Any, given: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    indent, separators = kwargs.get("indent") or 0, kwargs.get("separators") or ()
    if indent or separators:
        spaces = indent if isinstance(indent, int) else len(indent)
        weigh(given[:1], MAX_TOTAL, spaces + sum(map(len, separators)), spaces)


_CALLS: Mapping[str, Callable[[Any, Sequence[Any], Mapping[str, Any]], None]] = {
    "count": _compare,
    "decode": _code,
    "dumps": _dumps,
    "encode": _code,
    "expandtabs": _expandtabs,
    "from_bytes": _from_bytes,
    "index": _compare,
    "iterencode": _code,
    "join": _join,
    "remove": _compare,
    "replace": _replace,
    "sort": _sort,
    "strftime": _time_format,
    "strptime": _time_format,
    "translate": _translate,
    **dict.fromkeys(("lstrip", "rfind", "rindex", "rpartition", "rsplit"), _search),
    **dict.fromkeys(("rstrip", "strip"), _search),
}
"""Checks of the methods and functions that may make much of what they get, or take long."""
