"""The subset of robotmia's filter expressions that the sandbox supports."""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[[dict[str, Any]], Any]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<property>properties\s*\[\s*(?:"[^"]*"|'[^']*')\s*\])
    | (?P<operator>==|!=|<=|>=|<|>|\(|\))
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'[^']*')
    | (?P<word>and|or|not|defined|true|false|null)\b
    )""",
    re.VERBOSE,
)

_COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

_WORDS = {"true": True, "false": False, "null": None}


def parse_where(expression: str) -> Test:
    """Return a function from an event's properties to whether the filter selects it.

    Supported are `properties["x"]`, text, numbers, true, false and null, the comparisons, `and`,
    `or`, `not`, `defined(…)` and parentheses.

    Raises:
        ValueError: The expression is invalid.
    """
    reader = _Reader(expression)
    test = reader.alternatives()
    if reader.tokens:
        raise ValueError(f"unexpected {reader.tokens[0][1]}")
    return test


class _Reader:
    def __init__(self, expression: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        expression = expression.rstrip()
        while position < len(expression):
            found = _TOKEN.match(expression, position)
            if found is None or found.lastgroup is None:
                raise ValueError(f"unexpected {expression[position:][:20]}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def _next(self) -> tuple[str, str]:
        if not self.tokens:
            raise ValueError("the expression ends too soon")
        return self.tokens.pop(0)

    def _skip(self, text: str) -> bool:
        if self.tokens and self.tokens[0][1] == text:
            self.tokens.pop(0)
            return True
        return False

    def alternatives(self) -> Test:
        tests = [self._conditions()]
        while self._skip("or"):
            tests.append(self._conditions())
        return lambda properties: any(test(properties) for test in tests)

    def _conditions(self) -> Test:
        tests = [self._condition()]
        while self._skip("and"):
            tests.append(self._condition())
        return lambda properties: all(test(properties) for test in tests)

    def _condition(self) -> Test:
        if self._skip("not"):
            negated = self._condition()
            return lambda properties: not negated(properties)
        left = self._value()
        if not self.tokens or self.tokens[0][1] not in _COMPARISONS:
            return left
        compare = _COMPARISONS[self._next()[1]]
        right = self._value()
        return lambda properties: _compared(compare, left(properties), right(properties))

    def _value(self) -> Test:
        kind, text = self._next()
        if kind == "property":
            name = text[text.index("[") + 1 : -1].strip()[1:-1]
            return lambda properties: properties.get(name)
        if kind == "number":
            number = float(text) if "." in text else int(text)
            return lambda _: number
        if kind == "text":
            literal = json.loads(text) if text[0] == '"' else text[1:-1]
            return lambda _: literal
        if text in _WORDS:
            return lambda _: _WORDS[text]
        return self._group(text)

    def _group(self, text: str) -> Test:
        defined = text == "defined"
        if defined:
            text = self._next()[1]
        if text != "(":
            raise ValueError(f"unexpected {text}")
        inner = self.alternatives() if not defined else self._value()
        if not self._skip(")"):
            raise ValueError("a parenthesis is not closed")
        return (lambda properties: inner(properties) is not None) if defined else inner


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    try:
        return compare(left, right)
    except TypeError:
        return False
