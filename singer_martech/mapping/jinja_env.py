"""The expressions in templates, evaluated by Jinja.

This module is loaded only when a template needs more than plain fields, since loading
Jinja takes a good part of a plugin's start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from singer_martech._compat import override
from singer_martech.mapping import filters
from singer_martech.mapping.undefined import UNDEFINED, TemplateError, located

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2.compiler import Frame
    from jinja2.environment import TemplateExpression


class Expression(NamedTuple):
    """What stands between ``{{`` and ``}}``."""

    source: str


class Expressions:
    """All expressions of one template.

    Each call of Jinja has its price, so they are compiled into one; only when that fails
    for a record is each evaluated by itself, to find out which and why.
    """

    def __init__(self) -> None:
        """Begin without expressions."""
        self._sources: list[str] = []
        self._paths: list[str] = []
        self._all: TemplateExpression | None = None
        self._each: list[TemplateExpression] = []

    def add(self, source: str, path: str) -> int:
        """Take in an expression and return its place among the values.

        Raises:
            TemplateError: It is not valid.
        """
        self._each.append(_compiled(source, path))
        self._sources.append(source)
        self._paths.append(path)
        self._all = _compiled("".join(["(", *(f"({each})," for each in self._sources), ")"]), path)
        return len(self._sources) - 1

    def values(self, names: Mapping[str, Any]) -> list[Any]:
        """Return the values of all expressions, ``UNDEFINED`` where there is none.

        Raises:
            TemplateError: An expression fails.
        """
        try:
            values: Any = () if self._all is None else self._all(names)
        except Exception:  # noqa: BLE001 - one of them failed, maybe only for a missing value
            values = [
                _value(expression, names, path)
                for expression, path in zip(self._each, self._paths, strict=True)
            ]
        return [_final(value) for value in values]


def parts(source: str, path: str) -> list[str | Expression]:
    """Take a string apart into its text and its expressions.

    White space around a single expression is dropped.

    Raises:
        TemplateError: It is not a valid template.
    """
    result: list[str | Expression] = []
    inside: list[str] | None = None
    try:
        for _, kind, text in _ENVIRONMENT.lex(source):
            if kind == "variable_begin":
                inside = []
            elif kind == "variable_end":
                result.append(Expression("".join(inside or ())))
                inside = None
            elif inside is not None:
                inside.append(text)
            elif kind == "data":
                result.append(text)
            elif kind.startswith(("block", "raw")):
                hint = "only expressions in {{ }} are possible, such as {{ 'a' if x else 'b' }}"
                raise TemplateError(located(path, hint))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(located(path, str(error.message))) from error
    if inside is not None:
        raise TemplateError(located(path, "an opening {{ has no closing }}"))
    expressions = [part for part in result if isinstance(part, Expression)]
    texts = [part for part in result if isinstance(part, str)]
    return [*expressions] if len(expressions) == 1 and not any(map(str.strip, texts)) else result


class _FieldNames(NodeTransformer):
    """Takes the meaning from names that Jinja reserves, since they may be fields."""

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - Jinja's name
        if node.name != "self":
            return node
        record = nodes.Name("record", "load", lineno=node.lineno)
        field = nodes.Const(node.name, lineno=node.lineno)
        lookup = nodes.Getitem(record, field, "load", lineno=node.lineno)
        return lookup.set_environment(_ENVIRONMENT)


class _ExactCode(CodeGenerator):
    """Compiles numbers with a point, and divisions, to decimals."""

    @override
    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        super().visit_Template(_FieldNames().visit(node), frame)

    @override
    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        if isinstance(node.value, float):
            self.write(f"environment.exact({node.value!r})")
        else:
            super().visit_Const(node, frame)

    @override
    def visit_Div(self, node: nodes.BinExpr, frame: Frame) -> None:
        self.write("environment.divide(")
        self.visit(node.left, frame)
        self.write(", ")
        self.visit(node.right, frame)
        self.write(")")


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _ExactCode

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        # `record.items` is the field of that name, not the method of a dictionary
        if isinstance(obj, Mapping):
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    @override
    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    @staticmethod
    def exact(value: float) -> Decimal:
        return Decimal(repr(value))

    @staticmethod
    def divide(left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            left = Decimal(left)
        return left / right


def _passing_missing(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let a filter leave null and undefined values as they are."""

    def apply(value: Any) -> Any:
        if value is None or isinstance(value, jinja2.Undefined):
            return value
        return function(value)

    return apply


def _environment() -> _Environment:
    # without the optimizer, which would compute with binary fractions
    environment = _Environment(
        autoescape=False,
        undefined=jinja2.ChainableUndefined,
        optimized=False,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    ours = {name: _passing_missing(each) for name, each in filters.FILTERS.items()}
    environment.filters.update(ours, float=filters.exact_float, tojson=filters.as_json)
    return environment


_ENVIRONMENT = _environment()


def _compiled(expression: str, path: str) -> TemplateExpression:
    try:
        return _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(located(path, str(error.message))) from error


def _value(expression: TemplateExpression, names: Mapping[str, Any], path: str) -> Any:
    try:
        return expression(names)
    except jinja2.UndefinedError:
        return UNDEFINED
    except ArithmeticError as error:
        words = "a division by zero, or a number out of all bounds"
        raise TemplateError(located(path, words)) from error
    except Exception as error:  # an expression of the user may fail in any way
        raise TemplateError(located(path, f"{type(error).__name__}: {error}")) from error


def _final(value: Any) -> Any:
    """Leave out what is undefined, at any depth, and take in what an iterator yields."""
    if isinstance(value, jinja2.Undefined):
        return UNDEFINED
    if isinstance(value, dict):
        pairs = [(name, _final(item)) for name, item in value.items()]
        return {name: item for name, item in pairs if item is not UNDEFINED}
    if isinstance(value, (list, tuple, set, Iterator)):
        return [item for item in map(_final, value) if item is not UNDEFINED]
    return value
