"""Reading and writing STATE with any content."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.errors import MartechError
from singer_martech.values.timestamps import epoch_ms
from tap_mediarithmics import timestamps
from tap_mediarithmics.bookmarks import MaxValue, after_execution
from tap_mediarithmics.modes import Cursor


def max_value(kind: str, *values: Any, old: Any = None) -> Any:
    """Return the bookmark after some values."""
    state = {"replication_key": "k", "replication_key_value": old}
    bookmark = MaxValue("s", "k", kind, state)
    for value in values:
        bookmark.add(value)
    written: dict[str, Any] = {}
    bookmark.write(written)
    return written.get("replication_key_value")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("integer", (9, 100, 20), 100),
        ("number", (Decimal("9.5"), 9), Decimal("9.5")),
        ("string", ("9", "100"), "9"),
        ("date", ("2020-01-02", "2019-12-31"), "2020-01-02"),
        (
            "date-time",
            ("2020-01-01T01:00:00+01:00", "2020-01-01T00:30:00.000Z"),
            "2020-01-01T00:30:00.000Z",
        ),
        (
            "date-time",
            ("2020-01-01T01:00:00+05:00", "2020-01-01T00:30:00.000Z"),
            "2020-01-01T00:30:00.000Z",
        ),
        ("date-time", (None, None), None),
        ("", (1, None, 3), 3),
    ],
)
def test_values_compare_by_the_type_of_their_column(
    kind: str, values: tuple[Any, ...], expected: Any
) -> None:
    assert max_value(kind, *values) == expected


def test_the_bookmark_never_decreases() -> None:
    assert max_value("integer", 5, old=10) == 10
    assert max_value("date-time", "2020-01-01T00:00:00Z", old="2021-01-01T00:00:00Z").startswith(
        "2021"
    )


def test_the_bookmark_of_another_key_does_not_count() -> None:
    bookmark = MaxValue("s", "k", "integer", {"replication_key": "j", "replication_key_value": 9})
    assert bookmark.value is None


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_values_without_an_order_are_errors(value: Any) -> None:
    with pytest.raises(MartechError, match="'s', replication key 'k'"):
        max_value("", value)


def test_values_that_cannot_be_compared_are_errors() -> None:
    with pytest.raises(MartechError, match="cannot be compared"):
        max_value("", 1, "a")


@pytest.mark.parametrize(
    ("kind", "old", "expected"),
    [
        ("", None, "1700000000000"),
        ("", 1700000000500, "1700000000500"),
        ("", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.000Z"),
        ("number", 1700000000500, "1700000000500"),
        ("string", None, "2023-11-14T22:13:20.000Z"),
        ("date", None, "2023-11-14"),
        ("date-time", "2023-11-14T22:13:20.500Z", "1700000000500"),
    ],
)
def test_the_start_is_formatted_like_the_column_or_in_milliseconds(
    kind: str, old: Any, expected: str
) -> None:
    state = {"replication_key": "k", "replication_key_value": old}
    bookmark = MaxValue("s", "k", kind, state)
    assert bookmark.start(1700000000000, 0, None) == expected


def test_a_lookback_before_the_year_1_is_an_error() -> None:
    bookmark = MaxValue("s", "ts", "date-time", {"replication_key": "ts"})
    bookmark.add("2024-01-01T00:00:00Z")
    with pytest.raises(MartechError, match="lookback_seconds leads outside the years 1 to 9999"):
        bookmark.start(None, 1e15, "iso")


def test_a_damaged_date_in_the_state_is_an_error() -> None:
    with pytest.raises(MartechError, match="'soon' cannot be a bookmark"):
        max_value("date-time", old="soon")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, Cursor()),
        ({"execution": {"id": "5", "creation_date": 7}}, Cursor(7, "5")),
        ({"execution": {"id": 5}}, Cursor()),
        ({"execution": "5"}, Cursor()),
        (
            {
                "replication_key": "_execution_creation_date",
                "replication_key_value": "1970-01-01T00:00:00.007Z",
            },
            Cursor(7),
        ),
        (
            {"replication_key": "other", "replication_key_value": "1970-01-01T00:00:00.007Z"},
            Cursor(),
        ),
        ({"replication_key": "_execution_creation_date", "replication_key_value": 5}, Cursor()),
        ({"replication_key": "_execution_creation_date", "replication_key_value": "x"}, Cursor()),
    ],
)
def test_the_execution_read_last_is_understood_in_every_state(
    state: dict[str, Any], expected: Cursor
) -> None:
    assert after_execution(state, None) == expected


@given(
    st.dictionaries(
        st.sampled_from(["execution", "replication_key", "replication_key_value", "exports"]),
        st.none()
        | st.integers()
        | st.text("a1-", max_size=9)
        | st.dictionaries(
            st.sampled_from(["id", "creation_date"]),
            st.none() | st.integers() | st.text("a1", max_size=3),
        ),
    )
)
def test_a_state_of_another_tap_raises_no_unexpected_error(state: dict[str, Any]) -> None:
    assert isinstance(after_execution(state, 1), Cursor)
    with contextlib.suppress(MartechError):
        MaxValue("s", "k", "date-time", state)


@given(st.integers(-62135596800000, 253402300799999))
def test_milliseconds_survive_a_round_trip_to_a_date_time(milliseconds: int) -> None:
    text = timestamps.date_time(milliseconds)
    instant = timestamps.parse(text)
    assert instant is not None
    assert epoch_ms(instant) == milliseconds
    assert timestamps.is_date_time(text)


@given(st.integers(-62135596800000, 253402300799999), st.integers(-62135596800000, 253402300799999))
def test_date_times_sort_as_their_milliseconds_do(one: int, other: int) -> None:
    assert (one < other) == (timestamps.date_time(one) < timestamps.date_time(other))


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2020-01-01", 1577836800000),
        ("2020-01-01T00:00:00Z", 1577836800000),
        ("2020-01-01T00:00:00.5z", 1577836800500),
        ("2020-01-01T00:00:00,123456789Z", 1577836800123),
        ("2020-01-01T02:00:00+02:00", 1577836800000),
        ("2020-01-01 00:00", 1577836800000),
    ],
)
def test_common_forms_of_a_date_are_parsed(text: str, milliseconds: int) -> None:
    instant = timestamps.parse(text)
    assert instant is not None
    assert epoch_ms(instant) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "soon", "2020-13-01", "12", "2020-01-01T25:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_other_values_are_not_dates(text: str) -> None:
    assert timestamps.parse(text) is None
    assert not timestamps.is_date_time(text)
