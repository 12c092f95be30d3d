"""Limits of Jinja's filters, for values and arguments of a record."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from singer_martech.values import limits
from singer_martech.values.number_limits import check_comparisons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _check_widths(_: Any, *args: Any, **kwargs: Any) -> None:
    limits.check_widths([*args, *kwargs.values()])


def _check_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    limits.check_insertion(len(str(text).splitlines()) + 1, width)


def _check_wrapping(
    text: Any, width: Any = 79, _: Any = None, wrapstring: Any = None, *__: Any, **___: Any
) -> None:
    limits.check_wrapping(str(text), width, wrapstring or "\n")


def _check_links(text: Any, *args: Any, **kwargs: Any) -> None:
    words = str(text).split()
    inserted = [each for each in (*args, *kwargs.values()) if isinstance(each, (str, list))]
    limits.check_insertion(len(words), *inserted)
    limits.check_steps(words, inserted)


def _check_trim(text: Any, chars: Any = None) -> None:
    limits.check_search(str(text), [chars])


def _check_nesting(value: Any) -> None:
    limits.weigh(value, limits.MAX_LENGTH, per_level=1)


_CHECKS: Mapping[str, Callable[..., None]] = {
    "batch": _check_widths,
    "center": _check_widths,
    "indent": _check_indent,
    "pprint": _check_nesting,
    "slice": _check_widths,
    "trim": _check_trim,
    "truncate": _check_widths,
    "urlize": _check_links,
    "wordwrap": _check_wrapping,
}
"""Checks of the filters whose arguments determine the length of the result."""
_PER_ITEM = frozenset(
    {"groupby", "join", "map", "max", "min", "reject", "rejectattr", "select", "selectattr"}
    | {"sort", "sum", "unique"}
)
"""Filters that use their arguments for each item."""
_COMPARING = frozenset({"dictsort", "groupby", "max", "min", "sort"})
"""Filters that compare items with each other."""
_MULTIPLYING = frozenset({"batch", "map", "slice"})
"""Filters that may return an argument many times."""


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Limit what a filter returns, if it may return an argument many times."""
    if name not in _MULTIPLYING:
        return function

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        return limits.counted(function(*args, **kwargs))

    return apply


def limit(name: str) -> Callable[..., Any] | None:
    """Return a function that checks and returns the value of a filter, given its arguments."""
    check = _CHECKS.get(name)
    if check is None and name not in _PER_ITEM | _COMPARING:
        return None

    def limited(value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if name in _COMPARING and not isinstance(value, str):
            value = value if hasattr(value, "__len__") else list(value)
            check_comparisons(value, len(value))
        if check is None:
            return limits.check_steps(value, (*args, *kwargs.values()))
        check(value, *args, **kwargs)
        return value

    return limited
