"""Evaluate the expressions of templates with Jinja.

Importing Jinja takes a large part of a plugin's start time, so this module is imported only
when a template has more than plain fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.environment import TemplateExpression
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from singer_martech.mapping.jinja_env import ENVIRONMENT, internal
from singer_martech.mapping.operations import ORDER
from singer_martech.mapping.undefined import UNDEFINED, TemplateError, failed, located

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_SCALARS = frozenset({bool, Decimal, int, str, type(None)})


class Expression(NamedTuple):
    """The source between ``{{`` and ``}}``."""

    source: str


class Expressions:
    """All expressions of one template.

    They are compiled into one, because each call of Jinja is costly. Only if that fails for a
    record is each evaluated separately, to find the one that fails.

    Attributes:
        fields: The fields of a record that they read.
        reads_record: Whether they also read the record as a whole.
    """

    def __init__(self) -> None:
        """Start without expressions."""
        self.fields: set[str] = set()
        self.reads_record = False
        self._sources: list[str] = []
        self._paths: list[str] = []
        self._all: TemplateExpression | None = None
        self._each: list[TemplateExpression] = []

    def add(self, source: str, path: str) -> int:
        """Add an expression and return its index among the values.

        Raises:
            TemplateError: It is not valid.
        """
        names = _Names()
        try:
            self._each.append(_compiled(names.visit(_parsed(source))))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(located(path, str(error.message))) from error
        self.fields |= names.fields
        self.reads_record |= names.reads_record
        self._sources.append(source)
        self._paths.append(path)
        self._all = None
        return len(self._sources) - 1

    def values(self, names: Mapping[str, Any]) -> list[Any]:
        """Return the values of all expressions, ``UNDEFINED`` for missing ones.

        Raises:
            TemplateError: An expression fails.
        """
        if self._all is None:
            trees = [_Names().visit(_parsed(source)) for source in self._sources]
            self._all = _compiled(nodes.Tuple(trees, "load"))
        try:
            values: Any = self._all(names)
            return [_final(value) for value in values]
        except Exception:  # noqa: BLE001 - an expression of the user may fail in any way
            return [
                _value(expression, names, path)
                for expression, path in zip(self._each, self._paths, strict=True)
            ]


def parts(source: str, path: str) -> list[str | Expression]:
    """Split a string into its text and its expressions.

    White space around a single expression is dropped.

    Raises:
        TemplateError: It is not a valid template.
    """
    result: list[str | Expression] = []
    inside: list[str] | None = None
    try:
        for _, kind, text in ENVIRONMENT.lex(source):
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


class _Names(NodeTransformer):
    """Collects the fields that an expression reads, and rewrites nodes for which Jinja has no hook.

    These are numbers with a point and the operators that would fail for null: order
    comparisons, ``in``, ``~`` and slices.
    """

    def __init__(self) -> None:
        self.fields: set[str] = set()
        self.reads_record = False

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - Jinja's name
        if node.name == "record":
            self.reads_record = True
        elif node.name != "stream":
            self.fields.add(node.name)
        if node.name != "self":  # reserved by Jinja, but a valid field name
            return node
        record = nodes.Name("record", "load")
        return nodes.Getitem(record, nodes.Const(node.name), "load")

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 - Jinja's name
        return node if self._is_field(node.node, node.attr) else self.generic_visit(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja's name
        if isinstance(node.arg, nodes.Const) and self._is_field(node.node, node.arg.value):
            return node
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            bounds = (node.arg.start, node.arg.stop, node.arg.step)
            return _applied("slice", [node.node, *(each or nodes.Const(None) for each in bounds)])
        return node

    def _is_field(self, parent: nodes.Node, name: Any) -> bool:
        if not isinstance(parent, nodes.Name) or parent.name != "record":
            return False
        self.fields.add(str(name))
        return True

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802 - Jinja's name
        if not isinstance(node.value, float):
            return node
        return _applied("decimal", [nodes.Const(repr(node.value))])

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _applied("~", node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        result: nodes.Expr | None = None
        left = node.expr
        for operand in node.ops:
            compared: nodes.Expr = nodes.Compare(left, [operand])
            if operand.op in ORDER:
                compared = _applied(operand.op, [left, operand.expr])
            result = compared if result is None else nodes.And(result, compared)
            left = operand.expr
        return result or node


def _applied(name: str, arguments: Sequence[nodes.Expr]) -> nodes.Filter:
    """Return a call of an internal filter, which is faster than a function call."""
    first, *others = arguments
    return nodes.Filter(first, internal(name), others, [], None, None)


def _parsed(source: str) -> nodes.Expr:
    parser = Parser(ENVIRONMENT, source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail("only one expression is allowed between {{ and }}")
    return expression


def _compiled(expression: nodes.Expr) -> TemplateExpression:
    """Compile an expression as ``Environment.compile_expression`` does."""
    tree = nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression)])
    tree.set_lineno(1).set_environment(ENVIRONMENT)
    return TemplateExpression(ENVIRONMENT.from_string(tree), undefined_to_none=False)


def _value(expression: TemplateExpression, names: Mapping[str, Any], path: str) -> Any:
    try:
        return _final(expression(names))
    except jinja2.UndefinedError:
        return UNDEFINED
    except Exception as error:  # a user's expression may raise anything
        raise failed(error, path) from error


def _final(value: Any) -> Any:
    """Remove undefined values at any depth, and convert iterators to lists."""
    if value.__class__ in _SCALARS:
        return value
    if isinstance(value, jinja2.Undefined):
        return UNDEFINED
    if isinstance(value, dict):
        pairs = [(name, _final(item)) for name, item in value.items()]
        return {name: item for name, item in pairs if item is not UNDEFINED}
    if isinstance(value, (list, tuple, set, Iterator)):
        return [item for item in map(_final, value) if item is not UNDEFINED]
    return value
