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
from jinja2.filters import ignore_case, make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter

from singer_martech._compat import override
from singer_martech.mapping import filter_limits, filters, operations
from singer_martech.mapping.undefined import UNDEFINED
from singer_martech.values import limits
from singer_martech.values.call_limits import check_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
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

    def __init__(self, env: jinja2.Environment, values: Sequence[Any]) -> None:
        super().__init__(env)
        self._values = values
        self._length, self._most = 0, limits.MAX_LENGTH

    @override
    def format_field(self, value: Any, format_spec: str) -> Any:
        limits.check_spec(value, format_spec)
        text = "" if value is None else super().format_field(value, format_spec)
        self._length += len(text)
        if self._length > self._most:
            self._most = limits.check_formatted(self._length, self._values)
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
        # text.join takes iterators, which have no length
        args = tuple(list(each) if each.__class__ is GeneratorType else each for each in args)
        check_call(obj, args, kwargs)
        return super().call(context, obj, *args, **kwargs)

    @override
    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None

        def format_text(*args: Any, **kwargs: Any) -> str:
            formatter: Formatter = _Formatter(self, [*args, *kwargs.values()])
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


_FALSE_FOR_NULL = frozenset(
    {"divisibleby", "even", "ge", "greaterthan", "gt", "le", "lessthan", "lt", "odd", "<", ">"}
    | {"<=", ">=", "in", "lower", "upper"}
)


def _null_safe(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter return null and undefined values unchanged, and limit it."""
    function = filter_limits.counted(name, function)
    wrap = _with_passed if hasattr(function, "jinja_pass_arg") else _without_passed
    # keep the attributes that Jinja's decorators set
    return functools.wraps(function)(wrap(function, filter_limits.limit(name)))


def _without_passed(
    function: Callable[..., Any], limit: Callable[..., Any] | None
) -> Callable[..., Any]:
    def apply(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, _NO_VALUE):
            return value
        for each in args:
            if isinstance(each, jinja2.Undefined):
                return each
        if limit is not None:
            value = limit(value, args, kwargs)
        return function(value, *args, **kwargs)

    return apply


def _with_passed(
    function: Callable[..., Any], limit: Callable[..., Any] | None
) -> Callable[..., Any]:
    def apply(passed: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, _NO_VALUE):
            return value
        for each in args:
            if isinstance(each, jinja2.Undefined):
                return each
        if limit is not None:
            value = limit(value, args, kwargs)
        return function(passed, value, *args, **kwargs)

    return apply


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002 - Jinja's signature
    """Like Jinja's ``default``, but also for null."""
    if value is None or isinstance(value, jinja2.Undefined) or (boolean and not value):
        return default_value
    return value


def _attributes(context: Context, value: Any, attribute: Any) -> Iterable[Any]:
    if attribute is not None:
        kwargs = {"attribute": attribute}
        value = context.environment.call_filter("map", value, kwargs=kwargs, context=context)
    items: Iterable[Any] = value
    return items


@jinja2.pass_context
def _join(context: Context, value: Any, d: Any = "", attribute: Any = None) -> str:
    return filters.join(list(_attributes(context, value, attribute)), d)


@jinja2.pass_context
def _sum(context: Context, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    return filters.total(_attributes(context, value, attribute), start)


@jinja2.pass_environment
def _unique(
    environment: jinja2.Environment,
    value: Any,
    case_sensitive: bool = False,  # noqa: FBT001, FBT002 - Jinja's signature
    attribute: Any = None,
) -> Iterator[Any]:
    """Like Jinja's ``unique``, but in linear time for numbers with equal hashes."""
    key = make_attrgetter(environment, attribute, None if case_sensitive else ignore_case)
    seen = set()
    for item in value:
        identity = filters.identity(key(item))
        if identity not in seen:
            seen.add(identity)
            yield item


def _environment() -> _Environment:
    # the optimizer would compute with binary floats
    environment = _Environment(
        autoescape=False,
        undefined=jinja2.ChainableUndefined,
        optimized=False,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    functions = {
        **environment.filters,
        **filters.FILTERS,
        **filters.INSTEAD,
        "join": _join,
        "sum": _sum,
        "unique": _unique,
    }
    environment.filters = {name: _null_safe(name, each) for name, each in functions.items()}
    environment.filters.update(default=_default, d=_default)
    own = {"~": _concatenate, "decimal": Decimal, "slice": _slice}
    own.update({name: _null_safe_order(name) for name in operations.ORDER})
    environment.filters.update({internal(name): each for name, each in own.items()})
    tests: dict[str, Any] = environment.tests
    tests["in"] = operations.ORDER["in"]
    tests.update({name: _false_for_null(tests[name]) for name in _FALSE_FOR_NULL})
    return environment


def _false_for_null(test: Callable[..., Any]) -> Callable[..., bool]:
    @functools.wraps(test)
    def apply(*args: Any, **kwargs: Any) -> bool:
        return not isinstance(args[0], _NO_VALUE) and bool(test(*args, **kwargs))

    return apply


ENVIRONMENT = _environment()
