"""Parsing the selection of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_mediarithmics.otql import AggregationQuery, UnknownOtql, parse

if TYPE_CHECKING:
    from tap_mediarithmics.otql import Selection


def tree(selection: Selection) -> dict[str, object]:
    """Show a selection as nested dictionaries."""
    return {name: nested and tree(nested) for name, nested in selection.fields.items()}


def test_the_tree_and_its_type_are_read() -> None:
    query = parse('SELECT { id emails { email } } FROM UserPoint WHERE creation_ts >= "now-7d/d"')
    assert query.object_type == "UserPoint"
    assert tree(query.selection) == {"id": None, "emails": {"email": None}}


def test_layout_commas_comments_and_keyword_case_are_ignored() -> None:
    query = parse("# visits\nselect {\n  id, # the id\n  ts\n}\nfrom UserActivity\n")
    assert tree(query.selection) == {"id": None, "ts": None}


def test_fields_may_be_called_like_keywords() -> None:
    query = parse("SELECT { from select where } FROM Trip")
    assert list(query.selection.fields) == ["from", "select", "where"]


def test_what_follows_where_is_ignored() -> None:
    assert parse("SELECT { id } FROM T WHERE ?? nobody knows { this ¿").object_type == "T"


@pytest.mark.parametrize(
    ("query", "directive"),
    [
        ("SELECT @count{} FROM UserPoint", "@count at line 1, column 8"),
        ("SELECT { universe { category @map } } FROM UserEvent", "@map at line 1, column 30"),
        ("SELECT {\n  price @Stats } FROM Product", "@Stats at line 2, column 9"),
        ("SELECT { a: b(c) @cardinality } FROM T", "@cardinality"),
        ("SELECT { ts @date_histogram(interval:1) } FROM T", "@date_histogram"),
    ],
)
def test_an_aggregation_is_an_error_with_its_position(query: str, directive: str) -> None:
    with pytest.raises(AggregationQuery) as error:
        parse(query)
    assert directive in str(error.value)
    assert "select fields" in str(error.value)


def test_an_aggregation_in_a_text_or_a_condition_is_ignored() -> None:
    query = parse('SELECT { id } FROM T WHERE name = "@count" AND x @count')
    assert query.object_type == "T"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELECT",
        "SELECT { } FROM T",
        "SELECT { id FROM T",
        "SELECT { id } T",
        "SELECT { id } FROM",
        "SELECT { id } FROM T ORDER BY id",
        "SELECT { alias: id } FROM T",
        "SELECT { id(first: 3) } FROM T",
        "SELECT { id @unheard_of } FROM T",
        "SELECT { ... on Visit { id } } FROM T",
        "SELECT { id id } FROM T",
        "SELECT { a { x } a { y } } FROM T",
        "SELECT { id } } FROM T",
        "SELECT { $id } FROM T",
        'SELECT { "id" } FROM T',
        "SELECT id FROM T",
        "UPDATE { id } FROM T",
        "SELECT " + "{ a " * 200 + "}" * 200 + " FROM T",
    ],
)
def test_unknown_syntax_is_never_guessed(query: str) -> None:
    with pytest.raises(UnknownOtql):
        parse(query)


def test_the_position_of_unknown_syntax_is_named() -> None:
    with pytest.raises(UnknownOtql, match=r"\( found where .* line 2, column 5"):
        parse("SELECT {\n  id(first: 3) } FROM T")


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
trees = st.recursive(
    st.dictionaries(names, st.none(), min_size=1, max_size=4),
    lambda inner: st.dictionaries(names, st.none() | inner, min_size=1, max_size=4),
    max_leaves=12,
)


def written(selection: dict[str, object]) -> str:
    """Write nested dictionaries as a selection."""
    parts = [
        f"{name} {written(nested)}" if isinstance(nested, dict) else name
        for name, nested in selection.items()
    ]
    return "{ " + " ".join(parts) + " }"


@given(trees, names)
def test_every_written_tree_is_parsed_back(selection: dict[str, object], name: str) -> None:
    query = parse(" ".join(["SELECT", written(selection), "FROM", name]))
    assert tree(query.selection) == selection
    assert query.object_type == name


@given(st.text(alphabet='SELECT FROM{}@count"#,\\\n x(:', max_size=60))
def test_no_text_raises_an_unexpected_error(text: str) -> None:
    try:
        query = parse(text)
    except (UnknownOtql, AggregationQuery):
        return
    assert query.selection.fields


@pytest.mark.timeout(10)
@pytest.mark.parametrize("worst", ['"\\', "{", "@a ", "#", '"', "@", " ,", "é"])
def test_a_text_of_a_million_characters_is_read_in_linear_time(worst: str) -> None:
    text = "SELECT " + worst * (1_000_000 // len(worst))
    with pytest.raises(UnknownOtql) as error:
        parse(text)
    assert len(str(error.value)) < 200
