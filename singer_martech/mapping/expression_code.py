"""Compile the expressions of templates to Python code, which takes a fraction of Jinja's time.

The code gives the same values as Jinja. Values of usual types are handled in place; any other
value, and anything that may be unsafe, goes to the functions of the sandboxed environment. If
the code raises an exception, :class:`singer_martech.mapping.template.Template` evaluates the
record with Jinja, which gives the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Undefined, nodes

from singer_martech.mapping.function_builder import FunctionBuilder, NotCompilable, formatted
from singer_martech.mapping.inline_calls import SIGNS, inline_filter, is_text, is_text_method
from singer_martech.mapping.jinja_env import ENVIRONMENT, SCALARS, final, internal
from singer_martech.mapping.operations import BINARY
from singer_martech.mapping.template_code import Emitted
from singer_martech.mapping.undefined import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CONTEXT = ENVIRONMENT.from_string("").new_context()
_MISSING = ENVIRONMENT.undefined()
_NO_ELSE = Undefined()  # not equal to a missing field, like that of Jinja
_CALL, _GETATTR, _GETITEM = ENVIRONMENT.call, ENVIRONMENT.getattr, ENVIRONMENT.getitem
_BINARY, _UNARY = ENVIRONMENT.call_binop, ENVIRONMENT.call_unop
_TEXTS = frozenset({int, str})
"""The types whose text is the same with an f-string as with ``str``."""
_PASSED = {
    "context": _CONTEXT,
    "eval_context": _CONTEXT.eval_ctx,
    "environment": ENVIRONMENT,
}
_IMPURE = frozenset({"random", "sameas"})
"""The filters and tests whose results do not depend only on the values."""
_INLINE_OPERATORS = frozenset("+-")
"""The operators whose results need no limit."""


def emit_expression(code: FunctionBuilder, tree: nodes.Expr) -> Emitted:
    """Add the lines that evaluate an expression.

    Raises:
        NotCompilable: Only Jinja can evaluate it.
    """
    return _Emitter(code).emit_final(tree)


class _Emitter:
    def __init__(self, code: FunctionBuilder, *, folds: bool = True) -> None:
        self._code = code
        self._folds = folds
        self._literals: dict[str, Any] = {}

    def emit_final(self, node: nodes.Node) -> Emitted:
        """Add the lines that evaluate an expression as :func:`final` returns it."""
        value = self.emit(node)
        if value in self._literals:
            return Emitted(value)
        result = f"{value} if {value}.__class__ in {self._bound(SCALARS)} else "
        result += f"{self._bound(final)}({value})"
        return Emitted(self._code.assign(result, is_pure=True), may_be_undefined=True)

    def emit(self, node: nodes.Node) -> str:
        """Add the lines that evaluate a node, and return its variable or literal."""
        emit = _METHODS.get(type(node))
        if emit is None:
            raise NotCompilable
        if self._folds and not isinstance(node, (nodes.Const, nodes.Name)) and _is_constant(node):
            value = _evaluated(node, self._code.stream)
            if type(value) in SCALARS:
                return self._literal(value)
        return emit(self, node)

    def _variable(self, node: nodes.Node) -> str:
        """Likewise, but return a variable."""
        operand = self.emit(node)
        return self._code.assign(operand, is_pure=True) if operand in self._literals else operand

    def _literal(self, value: Any) -> str:
        literal = self._code.literal(value)
        self._literals[literal] = value
        return literal

    def _guard(self, *operands: str) -> str:
        """Return a condition: the operands are scalars that are not null."""
        scalars = self._bound(SCALARS)
        checked = [each for each in operands if type(self._literals.get(each)) not in SCALARS]
        return " and ".join(f"{each}.__class__ in {scalars}" for each in checked) or "True"

    def const(self, node: nodes.Const) -> str:
        return self._literal(node.value)

    def name(self, node: nodes.Name) -> str:
        if node.name == "record":
            return self._code.record()
        return self._literal(self._code.stream) if node.name == "stream" else self._field(node.name)

    def _field(self, name: str) -> str:
        variable = self._code.field(name)
        if not self._code.may_lack(name):
            return variable
        missing = self._code.constant(_MISSING)
        return self._code.assign(
            f"{missing} if {variable} is UNDEFINED else {variable}", is_pure=True
        )

    def getattr_(self, node: nodes.Getattr) -> str:
        if _is_record(node.node):
            return self._field(node.attr)
        return self._item(node.node, self._code.literal(node.attr), _GETATTR)

    def getitem(self, node: nodes.Getitem) -> str:
        if not isinstance(node.arg, nodes.Const):
            value, key = self.emit(node.node), self.emit(node.arg)
            return self._code.assign(f"{self._bound(_GETITEM)}({value}, {key})")
        if _is_record(node.node) and isinstance(node.arg.value, str):
            return self._field(node.arg.value)
        return self._item(node.node, self._literal(node.arg.value), _GETITEM)

    def _item(self, node: nodes.Node, key: str, get: Callable[..., Any]) -> str:
        value = self._variable(node)
        return self._code.assign(
            f"{value}[{key}] if {value}.__class__ is {self._bound(dict)} and {key} in {value} "
            f"else {self._bound(get)}({value}, {key})",
            is_pure=True,
        )

    def filter(self, node: nodes.Filter) -> str:
        if node.node is None:
            raise NotCompilable
        if node.name == internal("~"):
            return self._concatenation([self.emit(each) for each in (node.node, *node.args)])
        value = self._variable(node.node)
        arguments = [self.emit(each) for each in node.args]
        call = self._call_of(ENVIRONMENT.filters, node, value, arguments)
        inline = (
            None
            if node.kwargs
            else inline_filter(self._code, self._guard, node.name, value, arguments)
        )
        if inline is None:
            return self._code.assign(call)
        return self._code.assign(f"{inline} else {call}", is_pure=True)

    def test(self, node: nodes.Test) -> str:
        value = self.emit(node.node)
        arguments = [self.emit(each) for each in node.args]
        return self._code.assign(self._call_of(ENVIRONMENT.tests, node, value, arguments))

    def _call_of(
        self,
        functions: Any,
        node: nodes.Filter | nodes.Test,
        value: str,
        arguments: Sequence[str],
    ) -> str:
        """Return the code of a call of a filter or test, as Jinja makes it."""
        function = functions.get(node.name)
        if function is None or node.name in _IMPURE:
            raise NotCompilable
        passed = getattr(function, "jinja_pass_arg", None)
        first = [] if passed is None else [self._bound(_PASSED[passed.name])]
        return self._call_text(f"{self._bound(function)}(", [*first, value, *arguments], node)

    def _call_text(
        self, start: str, arguments: Sequence[str], node: nodes.Call | nodes.Filter | nodes.Test
    ) -> str:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotCompilable
        members = [
            f"{self._code.literal(each.key)}: {self.emit(each.value)}" for each in node.kwargs
        ]
        keywords = [f"**{{{', '.join(members)}}}"] if members else []
        return f"{start}{', '.join([*arguments, *keywords])})"

    def call(self, node: nodes.Call) -> str:
        call = f"{self._bound(_CALL)}({self._bound(_CONTEXT)}, "
        method = node.node
        if (
            isinstance(method, nodes.Getattr)
            and not _is_record(method.node)
            and is_text_method(method, node)
        ):
            value = self._variable(method.node)
            get = f"{self._bound(_GETATTR)}({value}, {self._code.literal(method.attr)})"
            arguments = [self.emit(each) for each in node.args]
            return self._code.assign(
                f"{value}.{method.attr}({', '.join(arguments)}) "
                f"if {is_text(self._code, value)} "
                f"else {call}{', '.join([get, *arguments])})"
            )
        function = self.emit(method)
        arguments = [self.emit(each) for each in node.args]
        return self._code.assign(self._call_text(call, [function, *arguments], node))

    def _concatenation(self, operands: Sequence[str]) -> str:
        call = f"{self._bound(ENVIRONMENT.filters[internal('~')])}({', '.join(operands)})"
        texts = self._bound(_TEXTS)
        variables = [each for each in operands if type(self._literals.get(each)) not in _TEXTS]
        guard = " and ".join(f"{each}.__class__ in {texts}" for each in dict.fromkeys(variables))
        parts = [
            f"{{{each}}}" if each in variables else formatted(str(self._literals[each]))
            for each in operands
        ]
        return self._code.assign(
            f"f'{''.join(parts)}' if {guard or True} else {call}", is_pure=True
        )

    def compare(self, node: nodes.Compare) -> str:
        [operand] = node.ops
        left, right = self.emit(node.expr), self.emit(operand.expr)
        return self._code.assign(f"{left} {SIGNS[operand.op]} {right}", is_pure=True)

    def binary(self, node: nodes.BinExpr) -> str:
        left, right = self.emit(node.left), self.emit(node.right)
        sign = node.operator
        direct = f"{self._bound(BINARY[sign])}({left}, {right})"
        if sign in _INLINE_OPERATORS:
            direct = f"{left} {sign} {right}"
        general = f"{self._bound(_BINARY)}({self._bound(_CONTEXT)}, {sign!r}, "
        return self._code.assign(
            f"{direct} if {self._guard(left, right)} else {general}{left}, {right})", is_pure=True
        )

    def unary(self, node: nodes.UnaryExpr) -> str:
        call = f"{self._bound(_UNARY)}({self._bound(_CONTEXT)}, {node.operator!r}, "
        return self._code.assign(f"{call}{self.emit(node.node)})", is_pure=True)

    def not_(self, node: nodes.Not) -> str:
        return self._code.assign(f"not {self.emit(node.node)}", is_pure=True)

    def and_(self, node: nodes.And) -> str:
        return self._short_circuit(node, "")

    def or_(self, node: nodes.Or) -> str:
        return self._short_circuit(node, "not ")

    def _short_circuit(self, node: nodes.BinExpr, negation: str) -> str:
        result = self._code.assign(self.emit(node.left))
        with self._code.block(f"if {negation}{result}:"):
            self._code.line(f"{result} = {self.emit(node.right)}")
        return result

    def condition(self, node: nodes.CondExpr) -> str:
        test, result = self.emit(node.test), self._code.variable()
        for header, each in ((f"if {test}:", node.expr1), ("else:", node.expr2)):
            with self._code.block(header):
                value = self._bound(_NO_ELSE) if each is None else self.emit(each)
                self._code.line(f"{result} = {value}")
        return result

    def tuple_(self, node: nodes.Tuple) -> str:
        return self._code.assign(f"({''.join(f'{self.emit(each)}, ' for each in node.items)})")

    def list_(self, node: nodes.List) -> str:
        return self._code.assign(f"[{', '.join(map(self.emit, node.items))}]")

    def dict_(self, node: nodes.Dict) -> str:
        members = [f"{self.emit(each.key)}: {self.emit(each.value)}" for each in node.items]
        return self._code.assign(f"{{{', '.join(members)}}}")

    def _bound(self, value: Any) -> str:
        return self._code.constant(value)


def _is_record(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "record"


def _is_constant(node: nodes.Node) -> bool:
    return all(name.name == "stream" for name in node.find_all(nodes.Name))


def _evaluated(node: nodes.Node, stream: str) -> Any:
    """Return the value of a constant expression, or ``UNDEFINED`` if it fails."""
    code = FunctionBuilder(stream)
    try:
        return code.function(_Emitter(code, folds=False).emit(node))({})
    except Exception:  # noqa: BLE001 - an expression of the user may fail in any way
        return UNDEFINED


_METHODS: dict[type[nodes.Node], Callable[[_Emitter, Any], str]] = {
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
        _Emitter.binary,
    ),
    nodes.And: _Emitter.and_,
    nodes.Call: _Emitter.call,
    nodes.Compare: _Emitter.compare,
    nodes.CondExpr: _Emitter.condition,
    nodes.Const: _Emitter.const,
    nodes.Dict: _Emitter.dict_,
    nodes.Filter: _Emitter.filter,
    nodes.Getattr: _Emitter.getattr_,
    nodes.Getitem: _Emitter.getitem,
    nodes.List: _Emitter.list_,
    nodes.Name: _Emitter.name,
    nodes.Not: _Emitter.not_,
    nodes.Or: _Emitter.or_,
    nodes.Test: _Emitter.test,
    nodes.Tuple: _Emitter.tuple_,
    **dict.fromkeys((nodes.Neg, nodes.Pos), _Emitter.unary),
}
