from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from singer_martech.errors import MappingError
from singer_martech.values.json_codec import decode, encode
from target_monetate.dataset import Dataset, Field
from target_monetate.row_coercion import RowCoercion
from target_monetate.rules import RULES
from tests.sandbox.monetate_datasets import split_multi_string, value_fault

TYPES = ("STRING", "MULTI_STRING", "NUMBER", "BOOLEAN", "DATETIME", "GOOGLE_PRODUCT_CATEGORY")
DATASET = Dataset(
    "things",
    "attribute",
    {
        "id": Field("STRING", identifier=True, unique_key=True),
        **{data_type: Field(data_type) for data_type in TYPES},
        "needed": Field("NUMBER", required=True),
    },
)
COERCION = RowCoercion(DATASET)


def coerce(data_type: str, value: Any) -> Any:
    row = {"id": "1", "needed": 1, data_type: value}
    return COERCION.coerce(row).get(data_type)


@pytest.mark.parametrize(
    ("value", "fitted"),
    [
        ("Ann", "Ann"),
        ("  Ann\t\n", "Ann"),
        ("", None),
        (" \t ", None),
        (None, None),
        (7, "7"),
        (0, "0"),
        (2**70, str(2**70)),
        (Decimal("1.10"), "1.10"),
        (True, "true"),
        ({"a": [1, None], "b": Decimal("1.10")}, '{"a":[1,null],"b":1.10}'),
        ([" a ", 2], '[" a ",2]'),
        ([], "[]"),
        (Markup(" a "), "a"),
        (
            datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
            "2024-01-02T03:04:05Z",
        ),
    ],
)
def test_a_string_is_trimmed_text(value: Any, fitted: str | None) -> None:
    assert coerce("STRING", value) == fitted
    assert coerce("GOOGLE_PRODUCT_CATEGORY", value) == fitted


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (7, "7"),
        (0, "0"),
        (-(2**80), str(-(2**80))),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+400"), "1E+400"),
        (0.5, "0.5"),
        ("12", "12"),
        (Markup("12"), "12"),
        (" 1.10 ", "1.10"),
        ("-0.5e3", "-5E+2"),
        (".5", "0.5"),
        ("1.", "1"),
        ("9" * 40, "9" * 40),
        ("1e400", "1E+400"),
        ("1e999990", "1E+999990"),
    ],
)
def test_a_number_is_exact_also_when_it_comes_as_text(value: Any, written: str) -> None:
    assert encode(coerce("NUMBER", value)).decode() == written


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_number_is_null(value: Any) -> None:
    assert coerce("NUMBER", value) is None


@pytest.mark.parametrize(
    "value",
    [
        True,
        "12,50",
        "1 000",
        "0x1F",
        "NaN",
        "Infinity",
        "twelve",
        "1e9999999999999999999",
        "1e1000000",
        float("nan"),
        float("inf"),
        [],
        {},
    ],
)
def test_a_value_that_is_not_a_number_rejects_the_row_and_names_the_field(value: Any) -> None:
    with pytest.raises(
        MappingError,
        match=r"field 'NUMBER' \(NUMBER\): .*: an integer or a decimal number is required",
    ):
        coerce("NUMBER", value)


@pytest.mark.parametrize(
    ("value", "fitted"),
    [
        (True, True),
        (False, False),
        ("true", True),
        (" False ", False),
        (1, True),
        (0, False),
        (Decimal(1), True),
        ("", None),
        (None, None),
    ],
)
def test_a_boolean_is_true_or_false(value: Any, fitted: bool | None) -> None:
    assert coerce("BOOLEAN", value) is fitted


@pytest.mark.parametrize("value", ["yes", "t", "1", 2, Decimal("0.5"), [True], {}])
def test_a_value_that_is_neither_true_nor_false_rejects_the_row(value: Any) -> None:
    with pytest.raises(MappingError, match=r"field 'BOOLEAN' .*neither true nor false"):
        coerce("BOOLEAN", value)


@pytest.mark.parametrize(
    ("value", "fitted"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.123456789+02:00", "2024-01-02T03:04:05.123456789+02:00"),
        ("2024-01-02T03:04:05-0530", "2024-01-02T03:04:05-05:30"),
        ("2024-01-02T03:04:05.5+02", "2024-01-02T03:04:05.5+02:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
        ("20240102T030405Z", "2024-01-02T03:04:05Z"),
        ("20240102T030405.25+0200", "2024-01-02T03:04:05.25+02:00"),
        ("20240102", "2024-01-02T00:00:00Z"),
        ("2024-W01-2T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024W012", "2024-01-02T00:00:00Z"),
        ("2024-366T03:04Z", "2024-12-31T03:04:00Z"),
        ("2024-01-02T03Z", "2024-01-02T03:00:00Z"),
        ("2024-01-02T03:04:05", "2024-01-02T03:04:05Z"),
        ("2024-01-02 03:04:05.5", "2024-01-02T03:04:05.5Z"),
        ("2024-01-02 03:04:05 +01", "2024-01-02T03:04:05+01:00"),
        ("2024-01-02t03:04z", "2024-01-02T03:04:00Z"),
        (" 2024-01-02T03:04:05Z\n", "2024-01-02T03:04:05Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        (datetime.date(2024, 1, 2), "2024-01-02T00:00:00Z"),
        (datetime.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05Z"),  # noqa: DTZ001
        ("", None),
        (None, None),
    ],
)
def test_a_date_time_is_iso_8601_and_utc_by_default(value: Any, fitted: str | None) -> None:
    assert coerce("DATETIME", value) == fitted


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-29T00:00:00Z",
        "2023-02-29",
        "2024-13-01T00:00:00Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T00:00:00+25:00",
        "20241301T000000Z",
        "2024-W54-1",
        "2023-366",
        "2024-000",
        "2024-01-01T23:59:61Z",
        "2024001",
        "1704067200",
        "1704067200123",
        "yesterday",
        1704067200,
        Decimal("1704067200.5"),
        True,
        [],
    ],
)
def test_a_value_that_is_not_a_date_time_rejects_the_row(value: Any) -> None:
    with pytest.raises(MappingError, match="field 'DATETIME'"):
        coerce("DATETIME", value)


@pytest.mark.parametrize(
    ("value", "fitted"),
    [
        (["a", "b"], "a,b"),
        ([" a ", "", None, "b"], "a,b"),
        (["a, b", 'say "x"', "c\nd"], '"a, b","say ""x""","c\nd"'),
        ([1, Decimal("1.10"), True], "1,1.10,true"),
        ([], None),
        ([None, " "], None),
        ("a", "a"),
        ("a, b ,,c", "a,b,c"),
        ('"a, b",c', '"a, b",c'),
        (" ", None),
        (5, "5"),
    ],
)
def test_several_values_are_separated_by_commas(value: Any, fitted: str | None) -> None:
    assert coerce("MULTI_STRING", value) == fitted


@pytest.mark.parametrize("value", [[["a"]], [{"a": 1}], {"a": 1}, '"a', 'a,"b"c'])
def test_a_value_that_is_not_a_list_rejects_the_row(value: Any) -> None:
    with pytest.raises(MappingError, match="field 'MULTI_STRING'"):
        coerce("MULTI_STRING", value)


# the csv module, which reads them back, does not accept NUL before Python 3.11
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(TEXTS.map(str.strip).filter(bool), min_size=1))
@settings(max_examples=200, deadline=None)
def test_every_list_of_texts_can_be_read_back(values: list[str]) -> None:
    assert split_multi_string(coerce("MULTI_STRING", values)) == values


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.datetimes().map(lambda time: time.isoformat(" "))
    | st.sampled_from(["true", "1.5", "2024-01-01", 'a,"b"', " x "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(TYPES), JSON_VALUES)
@settings(max_examples=500, deadline=None)
def test_every_value_that_is_sent_is_valid_for_the_vendor(data_type: str, value: Any) -> None:
    try:
        fitted = coerce(data_type, value)
    except MappingError:
        return
    if fitted is not None:
        assert value_fault(data_type, json.loads(encode(fitted))) is None
        assert coerce(data_type, decode(encode(fitted))) == fitted


def test_a_row_that_fits_is_passed_on_as_it_is() -> None:
    row = {"id": "1", "needed": Decimal("1.0"), "STRING": "x", "BOOLEAN": True}
    row |= {"DATETIME": "2024-01-01T00:00:00Z", "MULTI_STRING": "a,b"}
    assert COERCION.coerce(row) is row


def test_nulls_are_left_out_and_the_order_is_kept() -> None:
    row = {"STRING": " b ", "NUMBER": None, "id": 5, "needed": 0, "BOOLEAN": ""}
    assert list(COERCION.coerce(row).items()) == [("STRING", "b"), ("id", "5"), ("needed", 0)]


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_row_without_its_identifier_is_rejected(empty: Any) -> None:
    with pytest.raises(MappingError, match=r"field 'id' \(identifier and unique key\) is empty"):
        COERCION.coerce({"id": empty, "needed": 1})


def test_a_row_without_a_required_field_is_rejected() -> None:
    with pytest.raises(MappingError, match=r"field 'needed' \(required\)"):
        COERCION.coerce({"id": "1"})


def test_unknown_fields_reject_a_row_and_are_all_named() -> None:
    with pytest.raises(
        MappingError,
        match=r"no field 'a', 'b'; set 'unknown_fields' to leave_out or send, .*add_missing_fields",
    ):
        COERCION.coerce({"id": "1", "needed": 1, "a": 1, "b": "x", "c": None})


@pytest.mark.parametrize("key", [208045946, Decimal("208045946.0"), 208045946.0, "208045946"])
def test_a_key_that_became_a_float_is_the_text_of_the_integer(key: Any) -> None:
    assert COERCION.coerce({"id": key, "needed": 1})["id"] == "208045946"


def test_a_value_of_an_undocumented_type_is_passed_on_as_given() -> None:
    dataset = Dataset("d", "attribute", {"id": Field("STRING", unique_key=True), "x": Field("X")})
    for value in (3, " a ", True, [1], {"a": 1}, Decimal("1.10")):
        assert RowCoercion(dataset).coerce({"id": "1", "x": value})["x"] is value
    assert RowCoercion(dataset).coerce({"id": "1", "x": ""}) == {"id": "1"}


@pytest.mark.parametrize(("setting", "row"), [("leave_out", {}), ("send", {"a": 1, "b": [" x "]})])
def test_unknown_fields_are_left_out_or_sent_as_given(setting: str, row: dict[str, Any]) -> None:
    seen: list[list[str]] = []
    coercion = RowCoercion(DATASET, setting, seen.append)
    given = {"id": 1, "a": 1, "b": [" x "], "c": None, "d": "", "needed": 1}
    assert coercion.coerce(given) == {"id": "1", "needed": 1, **row}
    assert seen == [["a", "b"]]


def test_every_rule_names_its_page() -> None:
    assert len(RULES) == 5
    for rule in RULES:
        assert rule.requirement
        assert rule.source


def test_unknown_fields_that_are_null_or_empty_carry_nothing() -> None:
    assert COERCION.coerce({"id": "1", "needed": 1, "c": ""}) == {"id": "1", "needed": 1}
    assert COERCION.coerce({"id": "1", "needed": 1, "c": None}) == {"id": "1", "needed": 1}


def test_the_page_lists_every_rule_with_the_vendors_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "target-monetate.md").read_text(encoding="utf-8")
    table = page.partition("## What is rejected")[2].partition("The vendor does not")[0]
    sources = re.findall(r"^\| .* \| ([^|]+) \|$", table, re.MULTILINE)[1:]
    assert sorted(sources) == sorted(rule.source for rule in RULES)
