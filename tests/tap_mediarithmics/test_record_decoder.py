"""The two paths from lines to records give the same result and lose nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.singer.writer import encode
from tap_mediarithmics.coercion import DATE
from tap_mediarithmics.record_decoder import NotAnObject, RecordDecoder

COLUMNS: dict[str, Any] = {
    "id": {"type": ["string", "null"]},
    "n": {"type": ["integer", "null"]},
    "x": {"type": ["number", "null"]},
    "b": {"type": ["boolean", "null"]},
    "ts": {"type": ["string", "null"], "format": "date-time"},
    "day": {"type": ["string", "null"], "format": "date"},
    "any": {"type": ["string", "number", "integer", "boolean", "object", "array", "null"]},
    "free": {"type": ["object", "null"]},
    "list": {
        "type": ["array", "null"],
        "items": {
            "type": ["object", "null"],
            "properties": {
                "ts": {"type": ["string", "null"], "format": "date-time"},
                "x": {"type": ["number", "null"]},
            },
        },
    },
    "xs": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
    "$class": {"type": ["string", "null"]},
}
READER = RecordDecoder(COLUMNS)


def rewritten(line: bytes) -> Any:
    """Return the fast path's result for a line, or None if it takes the ordinary path."""
    result = READER.rewrite(line)
    return None if result is None else json.loads(result[0], parse_float=Decimal)


def test_a_matching_line_takes_the_fast_path() -> None:
    line = json.dumps(
        {
            "id": "a",
            "n": 1,
            "x": 1.5,
            "b": True,
            "ts": 1612789702668,
            "day": "2021-02-08",
            "any": [1, {"a": None}],
            "free": {"k": 1},
            "xs": [1, 2.5, None],
            "$class": "é",
            "list": [{"ts": 0, "x": 2}, None, {"ts": None}],
        }
    ).encode()
    expected = {
        "id": "a",
        "n": 1,
        "x": Decimal("1.5"),
        "b": True,
        "ts": "2021-02-08T13:08:22.668Z",
        "day": "2021-02-08",
        "any": [1, {"a": None}],
        "free": {"k": 1},
        "xs": [1, Decimal("2.5"), None],
        "$class": "é",
        "list": [{"ts": "1970-01-01T00:00:00.000Z", "x": 2}, None, {"ts": None}],
    }
    assert rewritten(line) == expected
    assert READER.record(line) == expected


def test_missing_fields_stay_missing_and_nulls_stay_null() -> None:
    assert rewritten(b'{"id":null}') == READER.record(b'{"id":null}') == {"id": None}


def test_numbers_keep_every_digit_on_both_paths() -> None:
    line = b'{"x":0.12345678901234567890123,"n":123456789012345678901234567890,"xs":[1.10]}'
    raw, _ = READER.rewrite(line) or (b"", None)
    assert b"0.12345678901234567890123" in raw
    assert b"123456789012345678901234567890" in raw
    assert b"[1.10]" in raw
    assert READER.record(line)["x"] == Decimal("0.12345678901234567890123")


@pytest.mark.parametrize(
    "milliseconds", [0, 1, -1, 999, 1612789702668, -62135596800000, 253402300799999]
)
def test_timestamps_are_exact_to_the_millisecond(milliseconds: int) -> None:
    line = b'{"ts":%d}' % milliseconds
    text = READER.record(line)["ts"]
    assert rewritten(line) == {"ts": text}
    assert text.endswith(f"{milliseconds % 1000:03}Z")
    assert len(text) == len("2021-02-08T13:08:22.668Z")


def test_a_timestamp_beyond_the_calendar_is_kept_beside_its_column() -> None:
    line = b'{"ts":999999999999999999}'
    assert rewritten(line) is None
    assert READER.record(line) == {"ts": None, "_extra": {"ts": 999999999999999999}}


def test_unknown_fields_go_to_extra() -> None:
    line = b'{"id":"a","new":{"deep":[1]},"_extra":5}'
    expected = {"id": "a", "_extra": {"new": {"deep": [1]}, "_extra": 5}}
    assert rewritten(line) == READER.record(line) == expected
    assert rewritten(b'{"new":1.10}') == {"_extra": {"new": Decimal("1.10")}}


@pytest.mark.parametrize(
    "line", [b'{"n":1.5,"new":1}', b'{"new":NaN}', b'{"new":"\\ud800"}', b'{"new":"\xff"}', b"[]"]
)
def test_a_line_with_unknown_fields_and_a_misfit_takes_the_ordinary_path(line: bytes) -> None:
    assert rewritten(line) is None


def test_either_fast_path_takes_lines_of_the_other_kind() -> None:
    lines = [b'{"id":"a"}', b'{"id":"b","new":1}', b'{"new":2,"id":"c"}', b'{"id":"d"}']
    for line in lines * 2:
        assert rewritten(line) == READER.record(line)


def test_a_value_of_another_type_leaves_its_column_null_and_stays_in_extra() -> None:
    record = READER.record(b'{"b":"yes","n":1.5,"xs":7,"x":"NaN","ts":"soon","day":12}')
    assert record == {
        "b": None,
        "n": None,
        "xs": None,
        "x": None,
        "ts": None,
        "day": None,
        "_extra": {"b": "yes", "n": Decimal("1.5"), "xs": 7, "x": "NaN", "ts": "soon", "day": 12},
    }


def test_a_nested_type_mismatch_keeps_the_rest_and_the_original() -> None:
    received = [{"ts": "soon", "x": 1, "new": "kept"}, {"x": [2]}]
    record = READER.record(json.dumps({"list": received}).encode())
    assert record["list"] == [{"ts": None, "x": 1, "new": "kept"}, {"x": None}]
    assert record["_extra"] == {"list": received}


def test_nested_unknown_fields_are_kept() -> None:
    line = b'{"list":[{"x":1,"new":[true]}]}'
    assert rewritten(line) is None
    assert READER.record(line) == {"list": [{"x": 1, "new": [True]}]}


def test_a_value_that_keeps_its_meaning_is_converted() -> None:
    record = READER.record(
        b'{"id":17,"n":"42","x":"1.50","ts":"2021-02-08T12:55:02+01:00","day":1612742400000}'
    )
    assert record == {
        "id": "17",
        "n": 42,
        "x": Decimal("1.50"),
        "ts": "2021-02-08T12:55:02+01:00",
        "day": "2021-02-08",
    }


@pytest.mark.parametrize(
    "number",
    [b"1" * 4301, b"-" + b"1" * 5000, b"1e999990", b"1e-999990", b"1e99999999999999999999"],
    ids=len,
)
@pytest.mark.parametrize("column", ["id", "n", "x", "ts", "day", "any", "unknown", "born"])
def test_a_number_of_any_size_is_kept(column: str, number: bytes) -> None:
    reader = RecordDecoder({**COLUMNS, "born": DATE})
    line = b'{"%s":%s}' % (column.encode(), number)
    fast = reader.rewrite(line, None if column == "unknown" else column)
    written = encode(reader.record(line)) if fast is None else fast[0]
    assert number.lower() in written.lower().replace(b"e+", b"e")


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"1", b'{"id":', b'{"x":NaN}', b"\xff", b'{"id":"a\xff"}', b"{" * 100_000]
)
def test_what_is_not_an_object_is_an_error_on_both_paths(line: bytes) -> None:
    assert rewritten(line) is None
    with pytest.raises(NotAnObject):
        READER.record(line)


def test_skipped_values_must_be_utf_8() -> None:
    assert READER.rewrite(b'{"any":"\xff"}') is None


def test_a_lone_surrogate_takes_the_ordinary_path() -> None:
    line = b'{"id":"\\ud800"}'
    assert rewritten(line) is None
    assert READER.record(line) == {"id": "\ud800"}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (b'{"ts":5}', "ts", "1970-01-01T00:00:00.005Z"),
        (b'{"x":1.10}', "x", Decimal("1.10")),
        (b'{"n":7}', "n", 7),
        (b"{}", "n", None),
    ],
)
def test_the_replication_value_is_returned(line: bytes, key: str, value: Any) -> None:
    result = READER.rewrite(line, key)
    assert result is not None
    assert result[1] == value


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text('aé1"\\ ', max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**14), 10**14)
    | st.sampled_from(["1", "-0", "2021-02-08", "1e5", "NaN"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ts", "x", "other"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def says_the_same(kept: Any, value: Any) -> bool:
    """Whether a value was kept unchanged, or as the number in its text."""
    if isinstance(kept, list) and isinstance(value, list):
        return len(kept) == len(value) and all(map(says_the_same, kept, value))
    return kept == value or str(kept) == str(value) or Decimal(str(value)) == kept


@example({"xs": ["1"]})
@given(st.dictionaries(st.sampled_from([*COLUMNS, "unknown"]), values))
def test_both_paths_make_the_same_record(fields: dict[str, Any]) -> None:
    line = json.dumps(fields).encode()
    record = READER.record(line)
    fast = rewritten(line)
    assert fast is None or fast == record
    for name, value in json.loads(line, parse_float=Decimal).items():
        kept = record.get("_extra", {}).get(name, record.get(name))
        assert name in {"ts", "day", "list"} or says_the_same(kept, value), (name, value, record)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "\ud800"])
def test_a_column_may_have_any_name(name: str) -> None:
    text = {"type": ["null", "string"]}
    nested = {"type": ["null", "object"], "properties": {name: text}}
    reader = RecordDecoder({name: text, "more": nested, "none": nested})
    values = {name: "x", "more": {name: "y"}, "none": None}
    line = json.dumps(values).encode()
    assert reader.rewrite(line) is None
    assert reader.record(line) == values


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["1" * 10**6, "1." + "1" * 10**6, "1e" + "1" * 10**6])
@pytest.mark.parametrize("column", ["n", "x", "ts", "day", "b"])
def test_text_with_many_digits_is_kept_in_linear_time(column: str, text: str) -> None:
    record = READER.record(json.dumps({column: text}).encode())
    kept = record[column] if record[column] is not None else record["_extra"][column]
    assert len(str(kept)) == len(text)
