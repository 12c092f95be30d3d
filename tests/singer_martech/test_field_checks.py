from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.field_checks import FieldCheck, places_check
from singer_martech.values.schema import normalize
from singer_martech.values.validation import RecordValidator

bounds = st.sampled_from([-(2**70), -7, 0, 1.5, 5, 99.99, 1e8])
fields = st.fixed_dictionaries(
    {"type": st.just(["null", "number"])},
    optional={
        "minimum": bounds,
        "maximum": bounds,
        "exclusiveMaximum": st.just(5),
        "multipleOf": st.sampled_from([1, 2, 0.1, 0.01, 0.05, 1e-06]),
        "title": st.just("amount"),
    },
)
values = (
    st.none()
    | st.integers(-10, 10)
    | st.integers()
    | st.decimals(-10, 10, places=2)
    | st.decimals(-10, 110)
    | st.sampled_from([Decimal("99.99"), Decimal("1E+3"), Decimal("0E-9"), Decimal("1.50")])
)


@given(fields, values)
@example({"type": ["number"], "multipleOf": 0.01, "maximum": 99.99}, Decimal("99.99"))
@example({"type": ["number"], "multipleOf": 0.01}, Decimal("1.1500000000000001"))
@example({"type": ["number"], "multipleOf": 0.01}, Decimal("1.500"))
def test_a_number_is_valid_for_the_fast_path_if_it_is_for_the_validator(
    field: dict[str, Any], value: Any
) -> None:
    schema, _ = normalize({"properties": {"amount": field}})
    found = [SimpleNamespace(amount=value)]
    FieldCheck("amount", "amount", schema).of_values(found)
    is_valid = RecordValidator("s", schema).is_valid({"amount": value})
    assert (found[0] is not None) is is_valid


_DOUBLES = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**60), 2**60).map(lambda number: number / 100)
    | st.decimals(-1000, 1000, places=2).map(float)
    | st.sampled_from([0.0, -0.0, 0.07, 1.15, 1.005, 2.0**53 / 100, 22517998136852.485, 1e-38])
)


@given(
    values=st.lists(st.none() | _DOUBLES | st.just("1.005") | st.integers(), min_size=1),
    places=st.sampled_from([0, 1, 2, 6, 22, 23, 38, 400]),
)
@example(values=[-32441092164532.625], places=2)
@example(values=[2.3244826158298098e-09], places=23)
@example(values=[1e-38, 1.5e-38, -1e-30, 0.0], places=38)
def test_a_double_has_some_decimal_places_if_rounding_to_them_does_not_change_it(
    values: list[Any], places: int
) -> None:
    found: list[Any] = [None, *(SimpleNamespace(amount=value, other=None) for value in values)]
    places_check({"amount": places, "other": places})(found)
    is_valid = [type(value) is not float or round(value, places) == value for value in values]
    assert [each is not None for each in found] == [False, *is_valid]
