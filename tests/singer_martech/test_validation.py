from __future__ import annotations

import json
import re
import resource
import time
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest

from singer_martech.values.validation import RecordValidator


def validator(schema: Any) -> RecordValidator:
    return RecordValidator("orders", {"type": "object", "properties": {"x": schema}})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, Decimal("1.5")),
        ({"type": "number"}, Decimal("123456789012345678901234567890.123456789")),
        ({"type": "number"}, Decimal("1E+400")),
        ({"type": "integer"}, Decimal("1.0")),
        ({"type": "integer"}, 10**40),
        ({"multipleOf": Decimal("0.01")}, Decimal("19.99")),
        ({"enum": [Decimal("1.5"), None]}, Decimal("1.5")),
        ({"type": "string", "format": "date-time"}, "yesterday"),
        ({"type": "string"}, "\ud800"),
        ({"pattern": "(?!x)y"}, "y"),
        ({}, {"a": {"b": [[[[]]]]}}),
    ],
)
def test_values_that_fit_are_valid(schema: Any, value: Any) -> None:
    assert validator(schema).is_valid({"x": value})


@pytest.mark.parametrize(
    "schema",
    [{"enum": ["a", {"a": "a"}]}, {"type": "integer"}, {"uniqueItems": True, "maxItems": 1}],
)
@pytest.mark.parametrize("value", ["\ud800", {"a": "\ud800"}, {"\ud800": 1}, ["\ud800", "\ud800"]])
def test_a_lone_surrogate_is_valid_text(schema: Any, value: Any) -> None:
    plain = json.loads(json.dumps(value).replace("\\ud800", "x"))
    check = validator(schema)
    assert check.is_valid({"x": value}) == check.is_valid({"x": plain})
    if not check.is_valid({"x": value}):
        assert check.reason({"x": value}) == check.reason({"x": plain})


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"type": "integer"}, Decimal("1.5"), 'breaks its schema at x: .* type "integer"'),
        ({"type": "string"}, 5, 'at x: .* type "string"'),
        ({"maxLength": 3}, "abcd", "at x: .* longer than 3"),
        ({"type": "object", "required": ["y"]}, {}, 'at x: "y" is a required property'),
        ({"items": {"type": "null"}}, [None, 5], r"at x\.1: "),
        ({"enum": ["a"]}, "b", 'at x: its value is not one of "a"$'),
        ({"enum": ["a", None, {"a": 1.5}]}, "b", 'not one of "a", null or {"a":1.5}$'),
        ({"enum": [1, "1", 2, 3]}, "b", 'not one of 1, "1" or 2 other candidates$'),
    ],
)
def test_a_reason_names_the_path_of_the_value(schema: Any, value: Any, reason: str) -> None:
    check = validator(schema)
    assert not check.is_valid({"x": value})
    assert re.search(reason, check.reason({"x": value}))


def test_a_reason_does_not_repeat_the_value() -> None:
    check = validator({"type": "integer"})
    assert "alice@example.com" not in check.reason({"x": "alice@example.com"})


def test_deep_nesting_is_accepted() -> None:
    value: Any = 1
    for _ in range(600):
        value = [value]
    assert validator({}).is_valid({"x": value})


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.10000000000000008881784197001252323389453"),
        Decimal("19.99"),
        19.99,
        Decimal("1E+400"),
        Decimal("1e999990"),
        10**400,
        "text",
        True,
        None,
    ],
)
def test_multiples_are_validated_as_doubles(value: Any) -> None:
    assert validator({"multipleOf": Decimal("0.01")}).is_valid({"x": value})


@pytest.mark.parametrize(
    "value", [Decimal("19.995"), 0.001, Decimal("1e-5"), Decimal("1.1000000000001")]
)
def test_a_number_that_is_not_a_multiple_is_invalid(value: Any) -> None:
    check = validator({"multipleOf": Decimal("0.01")})
    assert not check.is_valid({"x": value})
    assert (
        check.reason({"x": value}) == "breaks its schema at x: its value is not a multiple of 0.01"
    )


@pytest.mark.parametrize(
    "value",
    [Decimal("9" * 400_000 + ".5"), Decimal("0." + "9" * 400_000), Decimal("9" * 400_000), 3**9000],
)
@pytest.mark.parametrize("factor", [2, Decimal("0.01")])
def test_a_number_of_very_many_digits_is_invalid_at_once(value: Any, factor: Any) -> None:
    check = validator({"multipleOf": factor})
    began = time.process_time()
    assert not check.is_valid({"x": value})
    reason = check.reason({"x": value})
    assert re.fullmatch("breaks its schema.* has more than 4,000 digits", reason)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("schema", [{"type": "string"}, {"maximum": 5}, {"multipleOf": 2}])
def test_a_reason_is_given_for_a_number_that_python_does_not_convert(schema: Any) -> None:
    value = Decimal("9" * 5000)
    assert not validator(schema).is_valid({"x": value})
    assert validator(schema).reason({"x": value}) == (
        "breaks its schema; a number has more than 4,000 digits"
    )


def test_a_factor_of_very_many_digits_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    check = validator({"multipleOf": Decimal("0.5" + "0" * 400_000 + "1")})
    assert check.is_valid({"x": Decimal("0.7")})
    assert "at most 300 digits" in caplog.text


_JSON_VALUES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        1.5,
        Decimal("1.50"),
        Decimal("-0.0"),
        Decimal("1E+2"),
        100,
    ),
    *("", "1", "true", [], {}, [1], [True], ["a"], [["a", 1]], {"a": 1}, {"a": Decimal("1.0")}),
    *({"a": True}, {"b": 1, "a": [1.0]}, {"a": [1], "b": Decimal(1)}, 10**30, Decimal("1E+30")),
]


@pytest.mark.parametrize("member", _JSON_VALUES, ids=str)
def test_an_enum_accepts_what_equals_one_of_its_values(member: Any) -> None:
    check = validator({"enum": ["x", member]})
    other = jsonschema_rs.Draft7Validator({"const": member})
    assert [check.is_valid({"x": each}) for each in _JSON_VALUES] == [
        other.is_valid(each) for each in _JSON_VALUES
    ]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": [{"a": number} for number in range(20_000)]}, {"a": 19_999}),
        ({"enum": [*(str(number) for number in range(50_000)), 1]}, "49999"),
        ({"enum": [number + 0.5 for number in range(10_000)]}, 9999.5),
        ({"enum": [number * (2**61 - 1) for number in range(20_000)]}, 19_999 * (2**61 - 1)),
    ],
    ids=["objects", "texts", "numbers", "equal hashes"],
)
def test_a_large_enum_is_enforced_fast_for_every_item(schema: Any, value: Any) -> None:
    items = [value] * len(schema["enum"])
    started = time.process_time()
    check = validator({"items": schema})
    assert check.is_valid({"x": items})
    assert not check.is_valid({"x": [*items, "b"]})
    assert time.process_time() - started < 5


def test_the_reason_of_a_record_with_many_errors_takes_little_memory() -> None:
    names = [f"w{number}" for number in range(500)]
    check = validator({"items": {"required": names}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert check.reason({"x": [{}] * 500}).endswith('at x.0: "w0" is a required property')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
