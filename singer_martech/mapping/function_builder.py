"""Build a Python function line by line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.undefined import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_INDENT = "    "
_MAX_BITS = 1000
"""Python limits the digits of integers in source code."""


class NotCompilable(Exception):
    """An expression has something that only Jinja evaluates."""


class FunctionBuilder:
    """Builds a function of a record.

    The code may use variables and constants that this class names, and no other names. Text of
    a template only gets into the code as a literal.

    Args:
        fields: The fields whose values, in this order, are the function's argument. By default
            the argument is the whole record.
        stream: The value of the name ``stream`` in templates; kept in the attribute of that name.
    """

    def __init__(self, stream: str, fields: Sequence[str] | None = None) -> None:
        self.stream = stream
        self._fields = fields
        self._lines: list[str] = []
        self._depth = 1
        self._variables = 0
        self._reads = {name: f"f{index}" for index, name in enumerate(fields or ())}
        self._needs_record = self._needs_names = False
        self._assigned: dict[str, str] = {}
        self._constants: dict[str, Any] = {"UNDEFINED": UNDEFINED}
        self._bound: dict[int, str] = {}

    def line(self, code: str) -> None:
        """Add a line."""
        self._lines.append(_INDENT * self._depth + code)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Add a statement with an indented block of lines."""
        self.line(header)
        assigned = dict(self._assigned)
        self._depth += 1
        yield
        self._depth -= 1
        self._assigned = assigned  # the variables of the block may have no value after it

    def mark(self) -> Any:
        """Return the state for ``undo``."""
        return len(self._lines), self._depth, dict(self._assigned)

    def undo(self, mark: Any) -> None:
        """Remove the lines after a mark."""
        length, self._depth, self._assigned = mark
        del self._lines[length:]

    def variable(self) -> str:
        """Return a new variable."""
        self._variables += 1
        return f"v{self._variables}"

    def assign(self, code: str, *, is_pure: bool = False) -> str:
        """Assign an expression to a variable and return that; a pure one is evaluated once."""
        if is_pure and code in self._assigned:
            return self._assigned[code]
        variable = self.variable()
        self.line(f"{variable} = {code}")
        if is_pure:
            self._assigned[code] = variable
        return variable

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        name = self._bound.get(id(value))
        if name is None:
            name = self._bound[id(value)] = f"c{len(self._bound)}"
            self._constants[name] = value
        return name

    def literal(self, value: Any) -> str:
        """Return the code of a scalar."""
        if type(value) in {str, bool, type(None)}:
            return repr(value)
        if type(value) is int and value >= 0 and value.bit_length() <= _MAX_BITS:
            return repr(value)
        return self.constant(value)

    def field(self, name: str) -> str:
        """Return the variable of a field; ``UNDEFINED`` if the record lacks it."""
        return self._reads.setdefault(name, f"f{len(self._reads)}")

    def may_lack(self, name: str) -> bool:
        """Whether a record may lack a field."""
        return self._fields is None or name not in self._fields

    def record(self) -> str:
        """Return the variable of the record."""
        self._needs_record = True
        return "record"

    def names(self) -> str:
        """Return the variable with the names for Jinja: the fields, ``record`` and ``stream``."""
        self._needs_names = True
        return "names"

    def function(self, result: str) -> Callable[[Any], Any]:
        """Return the function.

        Raises:
            SyntaxError: Python cannot compile it, because it is nested too deep.
        """
        opening = [_INDENT + line for line in self._opening()]
        lines = ["def function(given):", *opening, *self._lines, f"{_INDENT}return {result}"]
        source = "\n".join(lines)
        code = compile(source, "<template>", "exec")
        scope = {"__builtins__": {}, **self._constants}
        exec(code, scope)  # noqa: S102 - only names and literals of this class
        function: Callable[[Any], Any] = scope["function"]
        return function

    def _opening(self) -> Iterator[str]:
        """Yield the lines that read the fields."""
        if self._fields is None:
            yield "record = given"
            yield "get = record.get"
            for name, variable in self._reads.items():
                yield f"{variable} = get({self.literal(name)}, UNDEFINED)"
        else:
            yield from self._given(self._fields)
        if self._needs_names:
            yield f"names = {{**record, 'record': record, 'stream': {self.literal(self.stream)}}}"

    def _given(self, fields: Sequence[str]) -> Iterator[str]:
        given = [self._reads[name] for name in fields]
        yield f"[{', '.join(given)}] = given"
        for name, variable in self._reads.items():
            if name not in fields:
                yield f"{variable} = UNDEFINED"
        if self._needs_record or self._needs_names:
            members = [f"{self.literal(name)}: {self._reads[name]}" for name in fields]
            yield f"record = {{{', '.join(members)}}}"


def formatted(text: str) -> str:
    """Return a text as part of an f-string in single quotes."""
    quoted = repr(f"'{text}\"")  # with both quotes, Python escapes the single ones
    return quoted[3:-2].replace("{", "{{").replace("}", "}}")
