from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.values.json_codec import decode_object
from target_monetate.empty_fields import EmptyFields, without_empty

MEMBER = st.tuples(
    st.sampled_from(["a", "b", "c", "é", 'q"', "null", ",", ":null", "b,", ":", ""]),
    st.sampled_from(
        [
            *(
                "null",
                "null",
                "1.50",
                '"null"',
                '",\\"a\\":null"',
                '"a"',
                '":null,"',
                "true",
                '"é"',
            ),
            *('","', '": null"', '""', '"\\""'),
        ]
    ),
)


@given(
    members=st.lists(MEMBER, min_size=1, max_size=8),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
    ascii_names=st.booleans(),
)
@example(
    members=[("a", "1.50"), ("b", '"a"'), ("b", "null")], separators=(",", ":"), ascii_names=False
)
@example(
    members=[("a", "1.50"), ("b", "null"), ("b", '"a"')], separators=(",", ":"), ascii_names=False
)
@example(
    members=[("a", "1.50"), ("c", '"null,"'), ("b", "null")],
    separators=(", ", ": "),
    ascii_names=False,
)
@example(
    members=[("a", "1.50"), ("b", '"a"'), ("b", '""')], separators=(",", ":"), ascii_names=False
)
@example(
    members=[("c", r'"\\"'), ("a", r'"\\"'), ("b", "1.50"), ("b", "null")],
    separators=(",", ":"),
    ascii_names=False,
)
@example(
    members=[("a", '","'), (":null", "null"), (",", "null"), (":null", "1.50")],
    separators=(",", ":"),
    ascii_names=False,
)
@example(members=[("b,", '":null"'), (":", "1")], separators=(",", ":"), ascii_names=False)
def test_what_is_left_has_every_value_that_is_not_empty(
    members: list[tuple[str, str]], separators: tuple[str, str], ascii_names: bool
) -> None:
    comma, colon = separators
    texts = [f"{json.dumps(n, ensure_ascii=ascii_names)}{colon}{value}" for n, value in members]
    row = f"{{{comma.join(texts)}}}".encode()
    values: dict[str, Any] = decode_object(row)
    empty = [name for name, value in values.items() if value is None or value == ""]
    left = without_empty(row, empty)
    expected = {name: value for name, value in values.items() if name not in empty}
    assert left is None or decode_object(left) == expected
    count = sum(isinstance(value, str) for value in expected.values())
    of_two = EmptyFields(values).remove([row, row], 2 * count)
    assert of_two is None or of_two == [left, left]


@pytest.mark.parametrize("row", ['{"id":1.50,"a":null,"b":null,"c":2}', '{"id": 1.50, "a": null}'])
def test_the_digits_and_the_order_stay_as_received(row: str) -> None:
    left = without_empty(row.encode(), ["a", "b"] if "b" in row else ["a"])
    assert left is not None
    assert str(decode_object(left)["id"]) == str(Decimal("1.50"))
    assert left.startswith(row.partition(",")[0].encode())


def test_other_texts_may_have_quotes() -> None:
    rest = rb'{"id":"\",\"a\":","b":"\u00e9"}'
    row = rest.replace(b',"b"', b',"a":null,"c":"","b"')
    assert EmptyFields(["id", "a", "b", "c"]).remove([row, row], 4) == [rest, rest]
