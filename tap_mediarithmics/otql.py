"""A strict parser for the part of OTQL that determines the shape of a result line.

That part is ``SELECT { … } FROM Type``. Other syntax raises ``UnknownOtql``, and the caller
infers the columns from a sample. Vendor page: "OTQL queries".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from collections.abc import Iterator

AGGREGATIONS = frozenset(
    {
        "avg",
        "cardinality",
        "count",
        "date_histogram",
        "datehistogram",
        "histogram",
        "map",
        "max",
        "min",
        "stats",
        "sum",
    }
)
"""Directives that turn a selection into totals, in lower case."""

_TOKEN = re.compile(
    r"(?P<space>[\s,]+|\#[^\n]*)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<punctuation>[{}@])"
    r'|(?P<text>"[^"\\\n]*(?:\\.[^"\\\n]*){0,1000}"?)'  # may have no end, to stay linear
)

_MAX_SHOWN = 40
_DEEPEST = 100
"""Maximum nesting of braces."""


class UnknownOtql(ValueError):
    """The text is not in the supported part of OTQL."""


class AggregationQuery(ValueError):
    """The query computes totals instead of selecting rows."""


@dataclass(frozen=True)
class Selection:
    """The selected fields of one object. A field without its own selection has ``None``."""

    fields: dict[str, Selection | None]


@dataclass(frozen=True)
class Query:
    """The shape of a result line: the ``selection`` of an ``object_type``."""

    object_type: str
    selection: Selection


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str) -> Query:
    """Return the shape of a query's result lines.

    Raises:
        AggregationQuery: The query has ``@count``, ``@map`` or another aggregation.
        UnknownOtql: The query has other syntax.
    """
    reject_aggregations(text)
    return _Parser(text).query()


def reject_aggregations(text: str) -> None:
    """Raise if a query aggregates, even if its other syntax is unknown.

    Raises:
        AggregationQuery: With the directive and its position.
    """
    before = None
    for token in _select_clause(text):
        if before == "@" and token.text.lower() in AGGREGATIONS:
            raise AggregationQuery(
                f"@{token.text} at {position(text, token.position - 1)} computes totals "
                "instead of selecting rows; select fields, and aggregate downstream"
            )
        before = token.text


def position(text: str, offset: int) -> str:
    """Return line and column of ``offset`` in ``text``, counted from 1."""
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return f"line {line}, column {column}"


def _tokens(text: str) -> Iterator[_Token]:
    """Yield all tokens except white space, and one of the kind ``end``."""
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        kind = "unknown" if match is None else match.lastgroup or ""
        token = _Token(kind, text[offset] if match is None else match[0], offset)
        offset += len(token.text)
        if kind != "space":
            yield token
    yield _Token("end", "", len(text))


def _select_clause(text: str) -> Iterator[_Token]:
    """Yield the known tokens before FROM."""
    depth = 0
    for token in _tokens(text):
        depth += (token.text == "{") - (token.text == "}")
        if token.kind == "name" and depth <= 0 and token.text.upper() == "FROM":
            return
        if token.kind != "unknown":
            yield token


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._token = next(self._tokens)

    def query(self) -> Query:
        self._keyword("SELECT")
        selection = self._selection(1)
        self._keyword("FROM")
        object_type = self._name("the name of an object type")
        # What follows does not change the fields of a line.
        if self._token.kind != "end" and self._token.text.upper() != "WHERE":
            self._fail("WHERE or the end of the query")
        return Query(object_type, selection)

    def _selection(self, depth: int) -> Selection:
        if depth > _DEEPEST:
            raise UnknownOtql(f"the query nests more than {_DEEPEST} levels")
        self._punctuation("{")
        fields: dict[str, Selection | None] = {}
        while self._token.text != "}":
            start = self._token
            name = self._name("a field or }")
            if name in fields:
                raise UnknownOtql(f"field {name} is selected twice at {self._position_of(start)}")
            nested = self._token.text == "{"
            fields[name] = self._selection(depth + 1) if nested else None
        if not fields:
            self._fail("a field")
        self._punctuation("}")
        return Selection(fields)

    def _keyword(self, keyword: str) -> None:
        if self._token.kind != "name" or self._token.text.upper() != keyword:
            self._fail(keyword)
        self._token = next(self._tokens)

    def _punctuation(self, text: str) -> None:
        if self._token.kind != "punctuation" or self._token.text != text:
            self._fail(text)
        self._token = next(self._tokens)

    def _name(self, wanted: str) -> str:
        name = self._token.text
        if self._token.kind != "name":
            self._fail(wanted)
        self._token = next(self._tokens)
        return name

    def _position_of(self, token: _Token) -> str:
        return position(self._text, token.position)

    def _fail(self, wanted: str) -> None:
        found = redacted_head(self._token.text, _MAX_SHOWN) or "the end of the query"
        message = f"{found} found where {wanted} was expected, at {self._position_of(self._token)}"
        raise UnknownOtql(message)
