from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest

from singer_martech.errors import MappingError
from singer_martech.values.json_codec import encode, encode_lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("123456789012345678901234567890.123456789"), None),
        (Decimal("1E+400"), "1E+400"),
        (10**40, str(10**40)),
        (-0.0, "-0.0"),
        (datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.timezone.utc), '"2024-05-01T10:00:00Z"'),
        (datetime.date(2024, 5, 1), '"2024-05-01"'),
        ("NaN", '"NaN"'),
        ("an Infinity", '"an Infinity"'),
        ("\ud800", '"\\ud800"'),
        (["\udfff", Decimal("1.10")], '["\\udfff",1.10]'),
    ],
)
def test_values_are_written_exactly(value: Any, text: str | None) -> None:
    assert encode(value).decode() == (text or str(value))


@pytest.mark.parametrize(
    "value",
    [Decimal("NaN"), Decimal("-Infinity"), {"a": [Decimal("sNaN")]}, object(), {1, object()}],
)
def test_values_that_json_cannot_represent_are_errors(value: Any) -> None:
    with pytest.raises(MappingError, match="cannot be written as JSON"):
        encode(value)


def test_the_text_nan_is_valid() -> None:
    value = {"NaN": "Infinity", "x": Decimal("1.5")}
    assert json.loads(encode(value)) == {"NaN": "Infinity", "x": 1.5}


def test_values_are_written_together_as_each_alone() -> None:
    values = [{"a": "line\nfeed\u2028"}, Decimal("1.10"), "", None, [10**40, True]]
    for more in ([], ["NaN"], ["\ud800"], [float(1)]):
        given = [*values, *more]
        assert encode_lines(given) == [encode(value) for value in given]
    assert encode_lines([]) == []
    for value in (Decimal("NaN"), object()):
        with pytest.raises(MappingError, match="cannot be written as JSON"):
            encode_lines([*values, value])
