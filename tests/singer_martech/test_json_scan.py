from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.values.json_scan import member_texts

MEBIBYTE = 1 << 20
DEEP = 20_000
"""Python's decoder cannot read so many levels."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), values, max_size=4), st.sampled_from([None, 0, 2]))
def test_the_member_texts_recreate_the_object(members: dict[str, Any], indent: int | None) -> None:
    texts = member_texts(json.dumps(members, indent=indent))
    assert {name: json.dumps(json.loads(text)) for name, text in texts.items()} == {
        name: json.dumps(value) for name, value in members.items()
    }


@given(st.dictionaries(st.text(), values, max_size=2), st.data())
def test_a_text_is_invalid_if_the_json_library_rejects_it(
    members: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(members)
    at = data.draw(st.integers(0, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(["", *'"[]{},:1 e'])) + text[at + 1 :]
    try:
        expected = json.loads(broken)
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        assert member_texts(broken).keys() == expected.keys()
    elif expected is not None:
        with pytest.raises(ValueError, match="not JSON"):
            member_texts(broken)


@given(values, st.data())
def test_a_value_is_checked_at_any_depth(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(["", *'"[]{},:1 e'])) + text[at + 1 :]
    try:
        json.loads("[" * 100 + broken + "]" * 100)
    except ValueError:
        with pytest.raises(ValueError, match="not JSON"):
            member_texts('{"a":' + "[" * DEEP + broken + "]" * DEEP + "}")
    else:
        nested = "[" * DEEP + broken + "]" * DEEP
        assert member_texts(f'{{"a": {nested} ,"b":1}}') == {"a": nested, "b": "1"}


@pytest.mark.parametrize(
    "value",
    [
        '"' + "x" * MEBIBYTE + '"',
        '"' + "\\\\" * (MEBIBYTE // 2) + '"',
        "[NaN," + "{}," * (MEBIBYTE // 3) + "1]",
        "[NaN," + "1.5," * (MEBIBYTE // 4) + "1]",
    ],
)
def test_a_large_value_takes_little_memory_and_time(value: str) -> None:
    text = f'{{"id":1,"v":{value}}}'
    began = time.process_time()
    assert member_texts(text) == {"id": "1", "v": value}
    assert time.process_time() - began < 0.15
    tracemalloc.start()
    member_texts(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "{",
        "}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{,}",
        '{"a":[1,]}',
        '{"a":[}]}',
        "{}{}",
        '{"a" 1}',
        '{"a":1 "b":2}',
        "{1:2}",
        '{"a":"\n"}',
    ],
)
def test_other_values_than_objects_are_invalid(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        member_texts(text)
