from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.field_checks import FieldCheck
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
