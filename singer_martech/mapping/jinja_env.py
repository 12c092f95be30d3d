"""The Jinja environment for the expressions of templates.

Filters, methods and operators return null for null, and undefined for undefined values. Numbers
are exact, and the size of results is limited.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter

from singer_martech._compat import override
from singer_martech.mapping import filters, operations
from singer_martech.mapping.undefined import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable
    from string import Formatter

    from jinja2.runtime import Context


SCALARS = frozenset({bool, Decimal, int, str})
"""The types of values that no filter or operator handles like null."""
_NO_VALUE = (type(None), jinja2.Undefined)


class _OfNull(jinja2.ChainableUndefined):
    """An attribute of null; calling it returns null."""


def _missing(*values: Any) -> Any:
    """Return the result of an operation on null or undefined values."""
    return next((value for value in values if isinstance(value, jinja2.Undefined)), None)


class _Formatter(SandboxedFormatter):
    """Formats like ``str.format``; null is empty text."""

    def __init__(self, env: jinja2.Environment) -> None:
        super().__init__(env)
        self._seen: set[int] = set()
        self._repeated = 0

    @override
    def format_field(self, value: Any, format_spec: str) -> Any:
        operations.check_spec(value, format_spec)
        text = "" if value is None else super().format_field(value, format_spec)
        if id(value) in self._seen:
            self._repeated += len(text)
            operations.check_widths([self._repeated])
        self._seen.add(id(value))
        return text


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(operations.BINARY)
    intercepted_unops = frozenset(operations.UNARY)

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        # `record.items` is the field of that name, not the method of a dictionary
        if obj is None or isinstance(obj, (Mapping, jinja2.Undefined)):
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    @override
    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        if obj is None:
            return _OfNull(name=str(argument))
        if isinstance(obj, jinja2.Undefined):
            return self.undefined(name=str(argument))
        return super().getitem(obj, argument)

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, _NO_VALUE) or isinstance(right, _NO_VALUE):
            return _missing(left, right)
        return operations.BINARY[operator](left, right)

    @override
    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        return arg if isinstance(arg, _NO_VALUE) else operations.UNARY[operator](arg)

    @override
    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(obj, jinja2.Undefined):
            return None if isinstance(obj, _OfNull) else obj
        operations.check_call(obj, args, kwargs)
        return super().call(context, obj, *args, **kwargs)

    @override
    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None

        def format_text(*args: Any, **kwargs: Any) -> str:
            formatter: Formatter = _Formatter(self)
            if value.__name__ == "format_map":
                return formatter.vformat(str(value.__self__), (), *args)
            return formatter.vformat(str(value.__self__), args, kwargs)

        return format_text


def final(value: Any) -> Any:
    """Remove undefined values at any depth, and convert iterators to lists."""
    if value is None or value.__class__ in SCALARS:
        return value
    if isinstance(value, jinja2.Undefined):
        return UNDEFINED
    if isinstance(value, dict):
        pairs = [(name, final(item)) for name, item in value.items()]
        return {name: item for name, item in pairs if item is not UNDEFINED}
    if isinstance(value, (list, tuple, set, Iterator)):
        return [item for item in map(final, value) if item is not UNDEFINED]
    return value


def internal(name: str) -> str:
    """Return the name of a filter that templates cannot use."""
    return f" {name}"


def _concatenate(*values: Any) -> Any:
    for value in values:
        if isinstance(value, _NO_VALUE):
            return _missing(*values)
    return "".join(map(str, values))


def _slice(value: Any, start: Any, stop: Any, step: Any) -> Any:
    return value if isinstance(value, _NO_VALUE) else value[start:stop:step]


def _null_safe_order(name: str) -> Callable[[Any, Any], Any]:
    """Return a comparison that returns null for null."""
    compare = operations.ORDER[name]
    may_seek_null = name in {"in", "notin"}

    def apply(left: Any, right: Any) -> Any:
        if isinstance(right, _NO_VALUE) or (isinstance(left, _NO_VALUE) and not may_seek_null):
            return _missing(left, right)
        return compare(left, right)

    return apply


_SIZED = frozenset({"batch", "center", "indent", "slice", "truncate", "wordwrap"})
"""Filters whose arguments determine the length of the result."""
_FALSE_FOR_NULL = frozenset(
    {"divisibleby", "even", "ge", "greaterthan", "gt", "le", "lessthan", "lt", "odd", "<", ">"}
    | {"<=", ">=", "in", "lower", "upper"}
)


def _null_safe(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter return null and undefined values unchanged."""
    if name in _SIZED:
        function = _bounded(name, function)

    @functools.wraps(function)  # keep the attributes that Jinja's decorators set
    def apply(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, _NO_VALUE):
            return value
        for each in args:
            if isinstance(each, jinja2.Undefined):
                return each
        return _bounded_items(function(value, *args, **kwargs))

    @functools.wraps(function)
    def apply_with(passed: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, _NO_VALUE):
            return value
        for each in args:
            if isinstance(each, jinja2.Undefined):
                return each
        return _bounded_items(function(passed, value, *args, **kwargs))

    return apply_with if hasattr(function, "jinja_pass_arg") else apply


def _bounded_items(result: Any) -> Any:
    return operations.counted(result) if result.__class__ is GeneratorType else result


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the result size that the arguments of a filter request."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        given = [*args[first + 1 :], *kwargs.values()]
        operations.check_widths(given)
        if name == "indent" and given:
            operations.check_indent(args[first], given[0])
        if name == "wordwrap":
            operations.check_wrapping(args[first], given[0] if given else 79)
        return function(*args, **kwargs)

    return apply


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002 - Jinja's signature
    """Like Jinja's ``default``, but also for null."""
    if value is None or isinstance(value, jinja2.Undefined) or (boolean and not value):
        return default_value
    return value


@jinja2.pass_context
def _join(context: Context, value: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        kwargs = {"attribute": attribute}
        value = context.environment.call_filter("map", value, kwargs=kwargs, context=context)
    return filters.join(list(value), d)


def _environment() -> _Environment:
    # the optimizer would compute with binary floats
    environment = _Environment(
        autoescape=False,
        undefined=jinja2.ChainableUndefined,
        optimized=False,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    functions = {**environment.filters, **filters.FILTERS, **filters.INSTEAD, "join": _join}
    environment.filters = {name: _null_safe(name, each) for name, each in functions.items()}
    environment.filters.update(default=_default, d=_default)
    own = {"~": _concatenate, "decimal": Decimal, "slice": _slice}
    own.update({name: _null_safe_order(name) for name in operations.ORDER})
    environment.filters.update({internal(name): each for name, each in own.items()})
    tests: dict[str, Any] = environment.tests
    tests.update({name: _false_for_null(tests[name]) for name in _FALSE_FOR_NULL})
    return environment


def _false_for_null(test: Callable[..., Any]) -> Callable[..., bool]:
    @functools.wraps(test)
    def apply(*args: Any, **kwargs: Any) -> bool:
        return not isinstance(args[0], _NO_VALUE) and bool(test(*args, **kwargs))

    return apply


ENVIRONMENT = _environment()
