"""Evaluate the expressions of stream maps like the SDK, with limits."""

from __future__ import annotations

import ast
import functools
import operator
from types import BuiltinMethodType, ModuleType
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import _MapperEval

from singer_martech._compat import override
from singer_martech.values.call_limits import check_call
from singer_martech.values.limits import (
    MAX_TOTAL,
    PER_ITEM,
    TOO_MANY_STEPS,
    check_format,
    check_spec,
    multiply,
    weigh,
)
from singer_martech.values.number_limits import check_comparisons, check_magnitude, check_power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAKERS: tuple[type[ast.AST], ...] = (
    *(ast.BinOp, ast.Dict, ast.DictComp, ast.GeneratorExp, ast.JoinedStr, ast.List),
    *(ast.ListComp, ast.Set, ast.Tuple),
)
"""The nodes that make a value, besides calls and slices."""


_SMALL = frozenset({bool, float, type(None)})


def _power(left: Any, right: Any) -> Any:
    check_power(left, right)
    return left**right


def _check_callback(method: Any) -> None:
    """Check a method that is an argument, such as a key of ``sort``; its calls have no limit."""
    if not isinstance(method.__self__, (dict, type, ModuleType)):
        raise ValueError(f"the method '{method.__name__}' of a value cannot be an argument")  # noqa: TRY004 - it is an argument of the user


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, (str, bytes)):
        check_format(left, right)
    return left % right


class ExpressionEvaluator(_MapperEval):
    """Evaluates expressions; what one makes of a record is limited in total.

    An expression that exceeds a limit fails with a ``ValueError``.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(functions=dict(functions))
        self._room = MAX_TOTAL
        self.operators |= {
            ast.Add: operator.add,
            ast.Mult: multiply,
            ast.Pow: _power,
            ast.Mod: _modulo,
            ast.In: self._contains,
            ast.NotIn: lambda item, values: not self._contains(item, values),
        }
        for kind in _MAKERS:
            self.nodes[kind] = functools.partial(self._eval_limited, self.nodes[kind])

    @override
    def eval(self, expr: str, previously_parsed: ast.AST | None = None) -> Any:
        self._room = MAX_TOTAL
        try:
            return super().eval(expr, previously_parsed)
        except OSError as error:  # a time that the system cannot convert: it concerns the record
            raise MapExpressionError(f"{expr}: {error}") from error

    def _eval_limited(self, evaluate: Callable[[Any], Any], node: ast.AST) -> Any:
        return self._limited(evaluate(node))

    def _limited(self, value: Any) -> Any:
        if value.__class__ is str:
            self._read(value)
        elif value.__class__ not in _SMALL:
            check_magnitude(value)
            self._room = weigh(value, self._room, PER_ITEM)
        return value

    def _read(self, value: Any) -> None:
        """Count what an operator or a function reads from start to end."""
        if isinstance(value, (str, bytes, list, tuple)):
            self._room -= len(value)
            if self._room < 0:
                raise ValueError(TOO_MANY_STEPS)

    def _contains(self, item: Any, values: Any) -> bool:
        self._read(values)
        if isinstance(values, (list, tuple)):
            check_comparisons(item, len(values))
        return item in values

    @override
    def _eval_call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute):
            function = self._eval(node.func)
        elif isinstance(node.func, ast.Name) and node.func.id in self.functions:
            function = self.functions[node.func.id]
        else:
            return super()._eval_call(node)
        args = [self._eval(each) for each in node.args]
        kwargs = dict(map(self._eval, node.keywords))
        for each in (*args, *kwargs.values()):
            self._read(each)
            if each.__class__ is BuiltinMethodType:
                _check_callback(each)
        if isinstance(function, type):  # such as `str`
            return self._limited(function(*args, **kwargs))
        check_call(function, args, kwargs)
        self._read(getattr(function, "__self__", None))
        result = function(*args, **kwargs)
        is_item = getattr(function, "__name__", "") == "get"
        return result if is_item else self._limited(result)

    @override
    def _eval_subscript(self, node: ast.Subscript) -> Any:
        value = super()._eval_subscript(node)
        return self._limited(value) if isinstance(node.slice, ast.Slice) else value

    @override
    def _eval_formattedvalue(self, node: ast.FormattedValue) -> Any:
        value = self._eval(node.value)
        if node.format_spec is None:
            return value
        spec = self._eval(node.format_spec)
        check_spec(value, spec)
        return format(value, spec)
