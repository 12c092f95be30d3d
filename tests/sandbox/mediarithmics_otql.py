"""A subset of OTQL: enough to check a query and to run it over the sandbox's objects.

Supported: `SELECT { field other { nested } } FROM Type WHERE condition LIMIT n`, with the
comparisons `= == != < <= > >=`, `IN [..]`, `is_defined(field)`, `AND OR NOT`, parentheses and
conditions on nested objects, `segments { id = "…" }`. Dates are written as epoch milliseconds, as
ISO-8601 text, as a date, or relative (`"now-7d/d"`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from tests.sandbox.mediarithmics_schema import (
    BUILT_IN_ENUMERATIONS,
    ENUMERATIONS,
    NUMBER_SCALARS,
    OBJECT_TYPES,
    TEXT_SCALARS,
    TIME_SCALARS,
    bare_type,
    is_list,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Condition = Callable[[dict[str, Any]], bool]

#: The forms of a date in a query.
DATE_FORMS = frozenset({"epoch_ms", "iso", "date", "relative"})

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<directive>@[A-Za-z_]\w*)
      | (?P<name>[A-Za-z_$][\w$]*)
      | (?P<mark><=|>=|!=|==|[{}()\[\]=<>,:])""",
    re.VERBOSE,
)

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "==": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}

_RELATIVE = re.compile(r"now(?:([+-]\d+)([smhdwMy]))?(?:/([smhdwMy]))?\Z")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}

ErrorType = Literal["PARSING", "FIELD", "TYPINGS", "DIRECTIVE"]


class OtqlError(Exception):
    """A query is invalid; has position and reason."""

    def __init__(self, message: str, error_type: ErrorType, row: int, col: int) -> None:
        super().__init__(message)
        self.error_type: ErrorType = error_type
        self.row = row
        self.col = col

    def as_dict(self) -> dict[str, Any]:
        """Return the error as in the response of the query check."""
        return {
            "type": "PARSING_ERROR" if self.error_type == "PARSING" else "VALIDATION_ERROR",
            "status": "error",
            "error": {
                "message": str(self),
                "position": {"row": self.row, "col": self.col},
                "error_type": self.error_type,
            },
        }


@dataclass
class Token:
    """A token of the query and its position, with rows and columns from 1."""

    kind: str
    text: str
    row: int
    col: int

    def error(self, message: str, error_type: ErrorType = "PARSING") -> OtqlError:
        """Return an error at the position of this token."""
        return OtqlError(message, error_type, self.row, self.col)


@dataclass
class Selection:
    """A selected field; `children` is None for a scalar."""

    name: str
    children: list[Selection] | None
    is_list: bool


@dataclass
class Query:
    """A query that can be run."""

    object_type: str
    selections: list[Selection]
    condition: Condition
    aggregates: bool = False
    limit: int | None = None
    date_forms: set[str] = field(default_factory=set)

    def run(self, objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the selected tree of every object that meets the condition."""
        taken = 0
        for item in objects:
            if self.limit is not None and taken >= self.limit:
                return
            if self.condition(item):
                taken += 1
                yield _project(item, self.selections)


def check(text: str) -> dict[str, Any]:
    """Return the response of the vendor's query check."""
    try:
        Parser(text).query()
    except OtqlError as error:
        return error.as_dict()
    return {"type": "VALID", "status": "ok"}


def run(
    text: str,
    objects: Callable[[str], Iterable[dict[str, Any]]],
    *,
    now: float,
    date_forms: Iterable[str] = DATE_FORMS,
) -> Iterator[dict[str, Any]]:
    """Yield the result of a query; an invalid query yields nothing and no error.

    Args:
        text: The query.
        objects: Returns the objects of a type.
        now: The reference time of relative dates, in epoch seconds.
        date_forms: The supported forms of dates; a query with another form finds nothing.
    """
    try:
        query = Parser(text, now=now).query()
    except OtqlError:
        return
    if query.aggregates or not query.date_forms <= set(date_forms):
        return
    yield from query.run(objects(query.object_type))


class Parser:
    """A recursive-descent parser that resolves every name against the schema as it reads.

    Args:
        text: The query.
        now: The reference time of relative dates, in epoch seconds.
    """

    def __init__(self, text: str, *, now: float = 0.0) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self._now = now
        self._aggregates = False
        self._date_forms: set[str] = set()

    def query(self) -> Query:
        """Parse the whole query.

        Raises:
            OtqlError: The query is invalid.
        """
        self._keyword("SELECT")
        # The selection needs the type, which follows it: read the type first, then go back.
        selection_at = self._place
        self._skip_selection()
        self._keyword("FROM")
        name = self._take("name", "the name of an object type")
        if name.text not in OBJECT_TYPES:
            raise name.error(f"Unknown object type {name.text}", "FIELD")
        after = self._place
        self._place = selection_at
        selections = self._selection(name.text)
        self._place = after
        condition: Condition = lambda _: True  # noqa: E731 - the condition of no condition
        if self._skip_keyword("WHERE"):
            condition = self._either(name.text)
        limit = None
        if self._skip_keyword("LIMIT"):
            limit = int(float(self._take("number", "a number").text))
        if self._peek().kind != "end":
            raise self._peek().error(f"Unexpected {self._peek().text!r}")
        return Query(name.text, selections, condition, self._aggregates, limit, self._date_forms)

    def _skip_selection(self) -> None:
        while self._peek().kind == "directive":
            self._directive()
        start = self._mark("{")
        depth = 1
        while depth:
            token = self._next()
            if token.kind == "end":
                raise start.error("This { is never closed")
            depth += {"{": 1, "}": -1}.get(token.text, 0)

    def _directive(self) -> None:
        self._aggregates = True
        self._next()
        if self._peek().text == "(":
            while self._next().text != ")":
                if self._peek().kind == "end":
                    raise self._peek().error("Expected )")

    def _selection(self, type_name: str) -> list[Selection]:
        while self._peek().kind == "directive":
            self._directive()
        self._mark("{")
        selections: list[Selection] = []
        while self._peek().text != "}":
            selections.append(self._selected_field(type_name))
        self._next()
        return selections

    def _selected_field(self, type_name: str) -> Selection:
        name = self._take("name", "the name of a field")
        notation = self._notation(type_name, name)
        children = None
        while self._peek().kind == "directive":
            self._directive()
        if bare_type(notation) in OBJECT_TYPES:
            if self._peek().text != "{":
                raise name.error(f"{name.text} is an object: select fields of it", "FIELD")
            children = self._selection(bare_type(notation))
        elif self._peek().text == "{":
            raise self._peek().error(f"{name.text} has no fields", "FIELD")
        return Selection(name.text, children, is_list(notation))

    def _notation(self, type_name: str, name: Token) -> str:
        notation = OBJECT_TYPES[type_name].get(name.text)
        if notation is None:
            raise name.error(f"Unknown field {name.text} of {type_name}", "FIELD")
        return notation

    def _either(self, type_name: str) -> Condition:
        left = self._both(type_name)
        while self._skip_keyword("OR"):
            left = _either(left, self._both(type_name))
        return left

    def _both(self, type_name: str) -> Condition:
        left = self._negated(type_name)
        while self._skip_keyword("AND"):
            left = _both(left, self._negated(type_name))
        return left

    def _negated(self, type_name: str) -> Condition:
        if self._skip_keyword("NOT"):
            inner = self._negated(type_name)
            return lambda item: not inner(item)
        if self._peek().text == "(":
            self._next()
            inner = self._either(type_name)
            self._mark(")")
            return inner
        return self._predicate(type_name)

    def _predicate(self, type_name: str) -> Condition:
        name = self._take("name", "a condition")
        if name.text.lower() == "is_defined" and self._peek().text == "(":
            self._next()
            defined = self._take("name", "the name of a field")
            self._notation(type_name, defined)
            self._mark(")")
            return lambda item: item.get(defined.text) not in (None, [])
        notation = self._notation(type_name, name)
        if bare_type(notation) in OBJECT_TYPES:
            self._mark("{")
            inner = self._either(bare_type(notation))
            self._mark("}")
            return lambda item: any(inner(child) for child in _values(item.get(name.text)))
        return self._comparison(name.text, bare_type(notation))

    def _comparison(self, name: str, scalar: str) -> Condition:
        mark = self._next()
        if mark.text.upper() == "IN":
            self._mark("[")
            wanted = [self._literal(scalar)]
            while self._peek().text == ",":
                self._next()
                wanted.append(self._literal(scalar))
            self._mark("]")
            return lambda item: any(
                _comparable(value, scalar) in wanted for value in _values(item.get(name))
            )
        compare = _COMPARISONS.get(mark.text)
        if compare is None:
            raise mark.error(f"Expected a comparison, not {mark.text!r}")
        literal = self._literal(scalar)
        return lambda item: any(
            compare(_comparable(value, scalar), literal) for value in _values(item.get(name))
        )

    def _literal(self, scalar: str) -> Any:
        token = self._next()
        if token.kind == "text":
            value: Any = re.sub(r"\\(.)", r"\1", token.text[1:-1])
        elif token.kind == "number":
            value = float(token.text) if "." in token.text else int(token.text)
        elif token.text.lower() in {"true", "false"}:
            value = token.text.lower() == "true"
        else:
            raise token.error("Expected a value")
        return self._typed(value, scalar, token)

    def _typed(self, value: Any, scalar: str, token: Token) -> Any:
        if scalar in TIME_SCALARS:
            moment, form = _moment(value, self._now)
            if moment is None:
                raise token.error(f"{token.text} is not of type {scalar}", "TYPINGS")
            self._date_forms.add(form)
            return moment
        if scalar in NUMBER_SCALARS:
            right = isinstance(value, (int, float)) and not isinstance(value, bool)
        elif scalar in {"Boolean", "Bool"}:
            right = isinstance(value, bool)
        elif scalar in ENUMERATIONS:
            right = value in ENUMERATIONS[scalar]
        else:
            known = scalar in TEXT_SCALARS or scalar in BUILT_IN_ENUMERATIONS
            right = known and isinstance(value, str)
        if not right:
            raise token.error(f"{token.text} is not of type {scalar}", "TYPINGS")
        return value

    def _peek(self) -> Token:
        return self._tokens[self._place]

    def _next(self) -> Token:
        token = self._tokens[self._place]
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def _take(self, kind: str, wanted: str) -> Token:
        token = self._next()
        if token.kind != kind:
            raise token.error(f"Expected {wanted}, not {token.text or 'the end'!r}")
        return token

    def _mark(self, text: str) -> Token:
        token = self._next()
        if token.text != text:
            raise token.error(f"Expected {text!r}, not {token.text or 'the end'!r}")
        return token

    def _keyword(self, word: str) -> None:
        if not self._skip_keyword(word):
            raise self._peek().error(f"Expected {word}, not {self._peek().text or 'the end'!r}")

    def _skip_keyword(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "name" and token.text.upper() == word:
            self._next()
            return True
        return False


def _tokens(text: str) -> Iterator[Token]:
    place = 0
    row = 1
    line_start = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if not match:
            message = f"Unexpected {text[place]!r}"
            raise OtqlError(message, "PARSING", row, place - line_start + 1)
        if match.lastgroup and match.lastgroup != "space":
            yield Token(match.lastgroup, match[0], row, place - line_start + 1)
        breaks = match[0].count("\n")
        if breaks:
            row += breaks
            line_start = place + match[0].rindex("\n") + 1
        place = match.end()
    yield Token("end", "", row, place - line_start + 1)


def _either(left: Condition, right: Condition) -> Condition:
    return lambda item: left(item) or right(item)


def _both(left: Condition, right: Condition) -> Condition:
    return lambda item: left(item) and right(item)


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _comparable(value: Any, scalar: str) -> Any:
    if scalar in TIME_SCALARS:
        return _moment(value, 0.0)[0]
    return value


def _moment(value: Any, now: float) -> tuple[float | None, str]:
    """Return a time as epoch milliseconds, and the form in which it is written."""
    if isinstance(value, bool):
        return None, ""
    if isinstance(value, (int, float)):
        return value, "epoch_ms"
    relative = _RELATIVE.match(value)
    if relative:
        seconds = now + int(relative[1] or 0) * _UNITS[relative[2] or "s"]
        if relative[3]:
            seconds -= seconds % _UNITS[relative[3]]
        return seconds * 1000, "relative"
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", value))
    except ValueError:
        return None, ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    return milliseconds, "date" if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else "iso"


def _project(item: dict[str, Any], selections: list[Selection]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for selection in selections:
        value = item.get(selection.name)
        if value is None:
            result[selection.name] = [] if selection.is_list else None
        elif selection.children is None:
            result[selection.name] = value
        elif selection.is_list:
            result[selection.name] = [_project(child, selection.children) for child in value]
        else:
            result[selection.name] = _project(value, selection.children)
    return result
