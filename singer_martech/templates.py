"""Templates: how a record becomes what a vendor wants.

A template is any JSON value whose strings may hold Jinja expressions. A string that is
one ``{{ … }}`` keeps the type of its value; text around it makes a string. What is
undefined is left out.

Numbers with a point are decimals here, so that money stays exact: ``{{ price * 1.2 }}``
is not 11.999999999999998.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

from singer_martech._compat import override
from singer_martech.template_filters import FILTERS, as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import nodes
    from jinja2.compiler import Frame
    from jinja2.environment import TemplateExpression

UNDEFINED: Any = jinja2.ChainableUndefined(name="value")
"""Stands for a value that is not there; its key is left out."""

_PATH = re.compile(
    r"""\{\{\s*([^\W\d]\w*)((?:\.[^\W\d]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\])*)\s*\}\}""", re.VERBOSE
)
_STEP = re.compile(r"""\.([^\W\d]\w*)|\[(?:"([^"]*)"|'([^']*)')\]""")
_RESERVED = frozenset({"true", "false", "none", "True", "False", "None", "not"})


class TemplateError(ValueError):
    """A template cannot be compiled, or fails for a record; the text says where."""


class _ExactCode(CodeGenerator):
    """Compiles numbers with a point, and divisions, to decimals."""

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


def _environment() -> _Environment:
    # without the optimizer, which would compute with binary fractions
    environment = _Environment(
        autoescape=False,
        undefined=jinja2.ChainableUndefined,
        optimized=False,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    environment.filters.update(FILTERS)
    return environment


_ENVIRONMENT = _environment()


class Template:
    """A compiled template.

    Args:
        source: A JSON value.
        stream: What ``stream`` stands for in it.

    Raises:
        TemplateError: A string in it is not a valid template.
    """

    def __init__(self, source: Any, stream: str) -> None:
        """Compile it."""
        self._stream = stream
        self._expressions: list[str] = []
        self._places: list[str] = []
        self._build = self._compiled(source, "")
        self._all = _together(self._expressions)
        self._each: list[TemplateExpression] = []

    def __call__(self, record: Mapping[str, Any]) -> Any:
        """Return the value for a record, or ``UNDEFINED``.

        Raises:
            TemplateError: An expression fails for this record.
        """
        value = self._build(record, () if self._all is None else self._evaluate(record))
        return list(value) if isinstance(value, Iterator) else value

    def _evaluate(self, record: Mapping[str, Any]) -> Any:
        names = {**record, "record": record, "stream": self._stream}
        try:
            return None if self._all is None else self._all(names)
        except Exception:  # noqa: BLE001 - one of them failed, maybe only for a missing value
            return self._evaluate_each(names)

    def _evaluate_each(self, names: Mapping[str, Any]) -> list[Any]:
        if not self._each:
            self._each = [_compiled(expression, "") for expression in self._expressions]
        return [
            _value(expression, names, place)
            for expression, place in zip(self._each, self._places, strict=True)
        ]

    def _compiled(self, source: Any, place: str) -> Callable[[Any, Any], Any]:
        if isinstance(source, str):
            return self._compiled_text(source, place)
        if isinstance(source, Mapping):
            fields = [
                (str(key), self._compiled(value, f"{place}.{key}".removeprefix(".")))
                for key, value in source.items()
            ]
            return lambda record, values: _without_undefined(fields, record, values)
        if isinstance(source, list):
            items = [self._compiled(value, f"{place}[{i}]") for i, value in enumerate(source)]
            return lambda record, values: [
                value for item in items if not is_undefined(value := item(record, values))
            ]
        return lambda _record, _values: source

    def _compiled_text(self, source: str, place: str) -> Callable[[Any, Any], Any]:
        path = _PATH.fullmatch(source.strip())
        if path is not None and path.group(1) not in _RESERVED:
            return self._compiled_path(path)
        parts = _parts(source, place)
        if all(isinstance(part, str) for part in parts):
            text = "".join(map(str, parts))
            return lambda _record, _values: text
        slots = [part if isinstance(part, str) else self._slot(part, place) for part in parts]
        if len(slots) == 1:
            slot = slots[0]
            return lambda _record, values: values[slot]
        return lambda _record, values: _joined(slots, values)

    def _slot(self, expression: _Expression, place: str) -> int:
        _compiled(expression.source, place)
        self._expressions.append(expression.source)
        self._places.append(place)
        return len(self._expressions) - 1

    def _compiled_path(self, path: re.Match[str]) -> Callable[[Any, Any], Any]:
        """Look up a plain path without Jinja, which is many times faster."""
        first = path.group(1)
        steps = ["".join(step) for step in _STEP.findall(path.group(2))]
        if first == "stream":
            return lambda _record, _values: UNDEFINED if steps else self._stream
        if first != "record":
            steps = [first, *steps]
        if len(steps) == 1:
            name = steps[0]
            return lambda record, _values: record.get(name, UNDEFINED)
        return lambda record, _values: _walk(record, steps)


def is_undefined(value: Any) -> bool:
    """Whether a value is not there."""
    return isinstance(value, jinja2.Undefined)


def _walk(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return UNDEFINED
        value = value[step]
    return value


def _without_undefined(
    fields: list[tuple[str, Callable[[Any, Any], Any]]], record: Any, values: Any
) -> dict[str, Any]:
    result = {}
    for key, field in fields:
        value = field(record, values)
        if not isinstance(value, jinja2.Undefined):
            result[key] = list(value) if isinstance(value, Iterator) else value
    return result


class _Expression(NamedTuple):
    """What stands between ``{{`` and ``}}``."""

    source: str


def _parts(source: str, place: str) -> list[str | _Expression]:
    """Take a string apart into its text and its expressions."""
    parts: list[str | _Expression] = []
    inside: list[str] | None = None
    try:
        for _, kind, text in _ENVIRONMENT.lex(source):
            if kind == "variable_begin":
                inside = []
            elif kind == "variable_end":
                parts.append(_Expression("".join(inside or ())))
                inside = None
            elif inside is not None:
                inside.append(text)
            elif kind == "data":
                parts.append(text)
            elif kind.startswith("block"):
                message = "only expressions in {{ }} are possible, such as {{ 'a' if x else 'b' }}"
                raise TemplateError(_at(place, message))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(_at(place, str(error.message))) from error
    if inside is not None:
        raise TemplateError(_at(place, "an opening {{ has no closing }}"))
    if sum(isinstance(part, _Expression) for part in parts) == 1:
        return [part for part in parts if isinstance(part, _Expression) or part.strip()]
    return parts


def _compiled(expression: str, place: str) -> TemplateExpression:
    try:
        return _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(_at(place, str(error.message))) from error


def _together(expressions: list[str]) -> TemplateExpression | None:
    """Compile all expressions into one, since each call of Jinja has its price."""
    if not expressions:
        return None
    return _compiled("".join(["(", *(f"({each})," for each in expressions), ")"]), "")


def _value(expression: TemplateExpression, names: Mapping[str, Any], place: str) -> Any:
    try:
        return expression(names)
    except jinja2.UndefinedError:
        return UNDEFINED
    except Exception as error:  # an expression of the user may fail in any way
        raise TemplateError(_at(place, f"{type(error).__name__}: {error}")) from error


def _joined(slots: list[str | int], values: Any) -> Any:
    texts = []
    for slot in slots:
        value = slot if isinstance(slot, str) else values[slot]
        if isinstance(value, jinja2.Undefined):
            return UNDEFINED
        texts.append(as_text(value))
    return "".join(texts)


def _at(place: str, message: str) -> str:
    return f"{place}: {message}" if place else message
