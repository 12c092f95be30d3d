"""The contextId identifies past data: these expected values must never change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_mona.context_id import escaped, of_values

texts = st.text("ab.|%250E72C", max_size=8)
values = st.none() | texts


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["abc"], "abc"),
        ([208045946], "208045946"),
        ([Decimal("208045946.0")], "208045946"),
        ([Decimal("1E+16")], "10000000000000000"),
        (["208045946.0"], "208045946.0"),
        (["a", Decimal("5.0")], "a|5"),
        ([5], "5"),
        ([Decimal("1.50")], "1.50"),
        ([True], "true"),
        (["a|b"], "a|b"),
        (["a%b"], "a%b"),
        ([" a "], " a "),
        (["2024-05-01T10:00:00Z"], "2024-05-01T10:00:00Z"),
        (["a", "b"], "a|b"),
        (["a", 5, None], "a|5|%00"),
        (["a|b", "c"], "a%7Cb|c"),
        (["a", "b|c"], "a|b%7Cc"),
        (["50%", "c"], "50%25|c"),
        (["", "c"], "|c"),
        (["%00", "c"], "%2500|c"),
        ([{"a": [1, "x"]}, True], '{"a":[1,"x"]}|true'),
    ],
)
def test_the_form_is_frozen(fields: list[Any], expected: str) -> None:
    assert of_values(fields) == expected


@pytest.mark.parametrize(
    ("text", "dots", "expected"),
    [
        ("a.b", 1, "a.b"),
        ("a.b", 0, "a%2Eb"),
        ("a.b.c", 1, "a%2Eb%2Ec"),
        ("50%", 0, "50%"),
        ("50%.", 0, "50%25%2E"),
        ("a%2Eb", 0, "a%252Eb"),
        ("a%25b", 5, "a%2525b"),
        ("a%7Cb|c", 0, "a%7Cb|c"),
    ],
)
def test_the_form_of_an_id_with_dots_is_frozen(text: str, dots: int, expected: str) -> None:
    assert escaped(text, dots) == expected


@pytest.mark.parametrize("fields", [[None], [""], [None, None]])
def test_fields_without_values_give_no_id(fields: list[Any]) -> None:
    assert of_values(fields) == ""


def test_a_number_that_cannot_be_expanded_stays_as_it_is() -> None:
    assert of_values([Decimal("1E+999990")]) == "1E+999990"


@given(
    left=st.lists(values, min_size=2, max_size=2), right=st.lists(values, min_size=2, max_size=2)
)
@example(left=["a|", "b"], right=["a", "|b"])
@example(left=["%00", "a"], right=[None, "a"])
@example(left=["%7C", "a"], right=["|", "a"])
@example(left=["", "a"], right=[None, "a"])
def test_different_keys_never_give_one_id(left: list[Any], right: list[Any]) -> None:
    if left != right and any(left) and any(right):
        for dots in (0, 1, 2):
            assert escaped(of_values(left), dots) != escaped(of_values(right), dots)


@given(left=texts, right=texts, dots=st.integers(0, 3))
@example(left="a.b", right="a%2Eb", dots=0)
@example(left="a%2Eb", right="a%252Eb", dots=0)
@example(left=".%", right=".%25", dots=0)
def test_different_ids_stay_different_when_made_escaped(left: str, right: str, dots: int) -> None:
    assert (escaped(left, dots) == escaped(right, dots)) == (left == right)
    assert escaped(left, dots).count(".") <= dots
