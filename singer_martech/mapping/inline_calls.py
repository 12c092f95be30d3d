"""Filters and methods that compiled expressions apply without the sandbox.

Each has a condition on its operands, under which it gives the value that Jinja gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import nodes

from singer_martech.mapping.filters import FILTERS, INSTEAD
from singer_martech.mapping.jinja_env import internal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.mapping.function_builder import FunctionBuilder

    Guard = Callable[..., str]
    """Returns the condition that operands are scalars other than null."""

_SCALAR_FILTERS = {**FILTERS, **INSTEAD}
_TEXT_FILTERS = {
    "capitalize": "{}.capitalize()",
    "lower": "{}.lower()",
    "string": "{}",
    "trim": "{}.strip()",
    "upper": "{}.upper()",
}
"""The code of filters without arguments, for text."""
_TEXT_METHODS = frozenset(
    {"capitalize", "casefold", "endswith", "lower", "lstrip", "removeprefix", "removesuffix"}
    | {"rstrip", "split", "startswith", "strip", "title", "upper"}
)
"""Methods of text that are safe, and whose results are no longer than the text."""
SIGNS = {"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "eq": "==", "ne": "!="}
_ORDERS = {internal(name): SIGNS[name] for name in ("lt", "lteq", "gt", "gteq")}


def inline_filter(
    code: FunctionBuilder, guard: Guard, name: str, value: str, arguments: Sequence[str]
) -> str | None:
    """Return ``result if condition`` for a filter, or None if only Jinja can apply it."""
    if name in _TEXT_FILTERS and not arguments:
        return f"{_TEXT_FILTERS[name].format(value)} if {is_text(code, value)}"
    if name in {"d", "default"} and len(arguments) == 1:
        return f"{value} if {guard(value)}"
    if name in _SCALAR_FILTERS:
        function = code.constant(_SCALAR_FILTERS[name])
        call = f"{function}({', '.join([value, *arguments])})"
    elif name in _ORDERS:
        call = f"{value} {_ORDERS[name]} {arguments[0]}"
    else:
        return None
    return f"{call} if {guard(value, *arguments)}"


def is_text(code: FunctionBuilder, value: str) -> str:
    """Return the condition that a value is text."""
    return f"{value}.__class__ is {code.constant(str)}"


def is_text_method(method: nodes.Getattr, call: nodes.Call) -> bool:
    """Whether a call is that of a safe method with constant texts."""
    return (
        method.attr in _TEXT_METHODS
        and not (call.kwargs or call.dyn_args or call.dyn_kwargs)
        and all(isinstance(each, nodes.Const) and type(each.value) is str for each in call.args)
    )
