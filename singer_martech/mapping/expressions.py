"""Parse the expressions of templates, and evaluate them with Jinja.

Importing Jinja takes a large part of a plugin's start time, so this module is imported only
when a template has more than plain fields.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import nodes
from jinja2.environment import TemplateExpression
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from singer_martech.mapping.expression_code import emit_expression
from singer_martech.mapping.jinja_env import ENVIRONMENT, final, internal
from singer_martech.mapping.operations import ORDER
from singer_martech.mapping.undefined import UNDEFINED, TemplateError, failed, located

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.mapping.function_builder import FunctionBuilder
    from singer_martech.mapping.template_code import Emitted


class Expression:
    """One expression.

    Attributes:
        fields: The fields of a record that it reads.
        reads_record: Whether it also reads the record as a whole.
        nested_fields: The keys from the record to each nested field that it reads.

    Raises:
        TemplateError: It is not valid.
    """

    def __init__(self, source: str, path: str) -> None:
        self.path = path
        names = _Names()
        try:
            tree = _parsed(source)
            self.nested_fields = _nested_fields(tree)
            self._tree: nodes.Expr = names.visit(tree)
            self._jinja = _compiled(self._tree)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(located(path, str(error.message))) from error
        self.fields = names.fields
        self.reads_record = names.reads_record

    def value(self, names: Mapping[str, Any]) -> Any:
        """Return the value, evaluated by Jinja, or ``UNDEFINED``.

        Raises:
            TemplateError: The expression fails.
        """
        try:
            return final(self._jinja(names))
        except jinja2.UndefinedError:
            return UNDEFINED
        except Exception as error:  # a user's expression may raise anything
            raise failed(error, self.path) from error

    def emit(self, code: FunctionBuilder) -> Emitted:
        """Add the lines that evaluate it; see :class:`template_code.Part`."""
        return emit_expression(code, self._tree)


@lru_cache(maxsize=1024)  # a mapping is parsed several times before the first record
def parts(source: str, path: str) -> Sequence[str | Expression]:
    """Split a string into its text and its expressions.

    White space around a single expression is dropped.

    Raises:
        TemplateError: It is not a valid template.
    """
    try:
        result = _split(source, path)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(located(path, str(error.message))) from error
    expressions = [part for part in result if isinstance(part, Expression)]
    texts = [part for part in result if isinstance(part, str)]
    return [*expressions] if len(expressions) == 1 and not any(map(str.strip, texts)) else result


def _split(source: str, path: str) -> list[str | Expression]:
    result: list[str | Expression] = []
    inside: list[str] | None = None
    for _, kind, text in ENVIRONMENT.lex(source):
        if kind == "variable_begin":
            inside = []
        elif kind == "variable_end":
            result.append(Expression("".join(inside or ()), path))
            inside = None
        elif inside is not None:
            inside.append(text)
        elif kind == "data":
            result.append(text)
        elif kind.startswith(("block", "raw")):
            hint = "only expressions in {{ }} are possible, such as {{ 'a' if x else 'b' }}"
            raise TemplateError(located(path, hint))
    if inside is not None:
        raise TemplateError(located(path, "an opening {{ has no closing }}"))
    return result


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


def _nested_fields(tree: nodes.Expr) -> set[tuple[str, ...]]:
    """Return the keys to each nested field; the name of a called method is not one."""
    within = nodes.Tuple([tree], "load")
    methods = [call.node for call in within.find_all(nodes.Call)]
    lookups = within.find_all((nodes.Getattr, nodes.Getitem))
    paths = [keys_of(node) for node in lookups if not any(node is method for method in methods)]
    return {path for path in paths if len(path) > 1}


def keys_of(node: nodes.Node) -> tuple[str, ...]:
    """Return the keys from the record to a value, or none if it is not a field."""
    if isinstance(node, nodes.Name):
        return (node.name,) if node.name not in {"record", "stream"} else ()
    if isinstance(node, nodes.Getattr):
        key: Any = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    else:
        return ()
    if isinstance(node.node, nodes.Name) and node.node.name == "record":
        return (key,)
    parent = keys_of(node.node)
    return (*parent, key) if parent and isinstance(key, str) else ()


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
