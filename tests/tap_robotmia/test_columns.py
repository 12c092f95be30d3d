from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from singer_sdk.singerlib import Schema

from singer_martech.singer.writer import encode_records
from tap_robotmia.columns import MIXED_DESCRIPTION, Columns, ColumnTypes, stream_name
from tap_robotmia.events import EventReader
from tap_robotmia.project_time import ProjectClock, time_zone
from tests.kit.strategies import json_values

if TYPE_CHECKING:
    from tap_robotmia.events import Event

CLOCK = ProjectClock(time_zone("UTC"))


def event(properties: dict[str, Any] | str) -> Event:
    text = properties if isinstance(properties, str) else json.dumps({"time": 1, **properties})

    def malformed(line: bytes, reason: str) -> None:
        raise AssertionError(line, reason)

    line = '{"event":"e","properties":' + text + "}"
    (found,) = EventReader(CLOCK, malformed).read([line.encode("utf-8", "surrogatepass")])
    return found


def schema_of(*samples: dict[str, Any]) -> dict[str, Any]:
    types = ColumnTypes()
    for properties in samples:
        types.add(event(properties))
    return types.schema()


def types_of(*values: Any) -> list[str]:
    found: list[str] = schema_of(*({"x": value} for value in values))["properties"]["x"]["type"]
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Viewed report", "event_viewed_report"),
        ("$mp_web", "event__mp_web"),
        ("Login -- OK!", "event_login_ok_"),
        ("Größe", "event_gr_e"),
        ("登录", "event__"),
    ],
)
def test_a_stream_is_named_by_the_slug_of_its_event(name: str, expected: str) -> None:
    assert stream_name(name) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1], ["integer", "null"]),
        ([1, 1.5], ["number", "null"]),
        ([1, None], ["integer", "null"]),
        ([None], ["string", "null"]),
        ([True, 1], ["string", "null"]),
        ([1, 1.5, "a"], ["string", "null"]),
        (["2024-01-01T00:00:00Z"], ["string", "null"]),
        ([[1], {"a": 1}], ["string", "null"]),
        ([2**70], ["integer", "null"]),
    ],
)
def test_a_column_has_one_type_besides_null(values: list[Any], expected: list[str]) -> None:
    assert types_of(*values) == expected


def test_columns_keep_their_own_names_in_order() -> None:
    schema = schema_of({"b": 1, "City": "x", "city": "y", "$city": "z", "$insert_id": "i"})
    assert list(schema["properties"]) == [
        "event_id",
        "time",
        "distinct_id",
        "insert_id",
        "$city",
        "$insert_id",
        "City",
        "b",
        "city",
        "_extra",
    ]


def test_what_the_schema_does_not_know_goes_to_extra() -> None:
    columns = Columns(schema_of({"n": 1, "text": "a"}))
    record = columns.record(event({"n": "one", "text": "b", "new": [1], "distinct_id": "u"}))
    assert record["n"] is None
    assert record["text"] == "b"
    assert record["distinct_id"] == "u"
    assert record["_extra"] == {"time": 1, "n": "one", "new": [1]}


@pytest.mark.parametrize("name", ["event_id", "time", "insert_id", "_extra"])
def test_a_property_named_like_a_column_goes_to_extra(name: str) -> None:
    sample = {"time": 5, name: 7}
    record = Columns(schema_of(sample)).record(event(sample))
    assert record["_extra"] == {"time": sample["time"], name: 7}
    assert record["event_id"] != 7


def test_a_distinct_id_that_is_not_text_is_also_in_extra() -> None:
    record = Columns(schema_of({})).record(event({"distinct_id": 17}))
    assert record["distinct_id"] == "17"
    assert record["_extra"] == {"time": 1, "distinct_id": 17}


@pytest.mark.parametrize(
    ("sample", "text", "fits"),
    [
        (1, "2", True),
        (1, "2.0", True),
        (1, "2.5", False),
        (1.5, "2", True),
        (True, "1", False),
        (1, "true", False),
        ("a", "1", False),
        (1, "null", True),
        (1.5, "1e400", True),
        (1, "1e300", True),
        (1, "1e999990", False),
        ([1], '["a",null]', True),
        ({"a": 1}, "{}", True),
        ({"a": 1}, "[]", False),
    ],
)
def test_a_value_that_does_not_fit_leaves_its_column_null(
    sample: Any, text: str, fits: bool
) -> None:
    record = Columns(schema_of({"x": sample})).record(event(f'{{"time":1,"x":{text}}}'))
    assert ("x" in record["_extra"]) is not fits
    assert fits or record["x"] is None


def types_in(definition: dict[str, Any]) -> list[str]:
    types = definition["type"]
    return [types] if isinstance(types, str) else types


@pytest.mark.parametrize(
    ("value", "column"),
    [("a", "a"), (1, "1"), (True, "true"), ([1, "ü"], '[1,"ü"]'), ({"a": 1.5}, '{"a":1.5}')],
)
def test_a_column_of_mixed_types_holds_text_and_json_and_keeps_the_originals(
    value: Any, column: str
) -> None:
    schema = Schema.from_dict(schema_of({"x": 1}, {"x": "a"})).to_dict()  # as in a catalog
    record = Columns(schema).record(event({"x": value}))
    assert record["x"] == column
    assert record["_extra"] == ({"time": 1} if value == column else {"time": 1, "x": value})


@pytest.mark.parametrize(("text", "column"), [("1.10", "1.10"), ("1e999990", "1E+999990")])
def test_a_column_of_mixed_types_keeps_every_digit(text: str, column: str) -> None:
    record = Columns(schema_of({"x": 1}, {"x": "a"})).record(event(f'{{"time":1,"x":{text}}}'))
    assert record["x"] == column


def test_null_stays_null_in_a_column_of_mixed_types() -> None:
    record = Columns(schema_of({"x": 1}, {"x": "a"})).record(event({"x": None}))
    assert record["x"] is None
    assert record["_extra"] == {"time": 1}


names = st.sampled_from(["a", "A", "$a", "time", "event_id", "_extra", "distinct_id", "insert_id"])
property_sets = st.dictionaries(names | st.text(), json_values, max_size=6)


@given(samples=st.lists(property_sets, max_size=4), properties=property_sets)
def test_every_record_fits_its_schema_and_nothing_is_lost(
    samples: list[dict[str, Any]], properties: dict[str, Any]
) -> None:
    properties = {**properties, "time": 1}
    schema = schema_of(*({**sample, "time": 1} for sample in samples))
    record = Columns(schema).record(event(properties))
    plain = json.loads(json.dumps(record, default=float))
    Draft7Validator(schema).validate(plain)
    assert all(len(set(types_in(each)) - {"null"}) == 1 for each in schema["properties"].values())
    for name, value in properties.items():
        kept = plain["_extra"].get(name, plain.get(name))
        assert kept == value or (value is None and kept is None)


def test_the_types_of_the_catalog_decide_which_values_fit() -> None:
    schema = schema_of({"n": 1})
    schema["properties"]["n"] = {"type": "string"}
    schema["properties"]["any"] = {}
    record = Columns(schema).record(event({"n": 1, "any": [1]}))
    assert record["n"] is None
    assert record["any"] == [1]
    assert record["_extra"] == {"time": 1, "n": 1}


_NAMES = st.sampled_from(["a", "b", "$c", "é", "distinct_id", "insert_id", "event_id", "_extra"])
_TEXTS = st.sampled_from(
    [
        "null",
        "true",
        "0",
        "-7",
        "1.10",
        "-0.0",
        "2.0",
        "1e5",
        "1e-7",
        "123456789012345678901234",
        "1e999999999999999999999",
        '"x"',
        '"1"',
        '"\\u00e9"',
        '"\\ud83d"',
        "[]",
        "[1.50,{}]",
        "{}",
        '{"a":[1.0,"x"]}',
        '[[1e3],"\\ud800"]',
    ]
)
_TYPES = st.lists(
    st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"]),
    unique=True,
    max_size=3,
)
_COLUMN_SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    _TYPES.map(lambda types: {"type": types}),
    st.just({"type": ["string", "null"], "description": MIXED_DESCRIPTION}),
)


@given(
    columns=st.dictionaries(_NAMES, _COLUMN_SCHEMAS, max_size=5),
    properties=st.lists(st.lists(st.tuples(_NAMES, _TEXTS), max_size=6), min_size=1, max_size=5),
)
@example(columns={}, properties=[[("distinct_id", "7")], [], [("insert_id", "null")]])
def test_the_decoder_of_whole_records_gives_the_bytes_of_the_ordinary_way(
    columns: dict[str, Any], properties: list[list[tuple[str, str]]]
) -> None:
    events = []
    for each in properties:
        members = ['"time":1', *(f"{json.dumps(name)}:{value}" for name, value in each)]
        events.append(event("{" + ",".join(members) + "}"))
    found = Columns({"properties": columns})
    expected = encode_records([found.record(given_event) for given_event in events])
    assert encode_records(found.encodable(events)) == expected


@given(properties=st.dictionaries(st.text().filter(lambda name: name != "time"), json_values))
def test_the_decoder_of_whole_records_takes_every_event_like_the_sample(
    properties: dict[str, Any],
) -> None:
    found = Columns(schema_of(properties))
    given_event = event(properties)
    assert encode_records(found.encodable([given_event])) == encode_records(
        [found.record(given_event)]
    )


def test_common_events_need_no_dictionary() -> None:
    properties = {"a": 1, "b": 1.5, "c": "x", "d": True, "e": [1.5], "f": {"g": 1}, "h": None}
    properties |= {"distinct_id": "u", "$insert_id": "i"}
    found = Columns(schema_of(properties))
    common = [event(properties), event({})]
    assert not any(isinstance(record, dict) for record in found.encodable(common))
    for name, value in {"a": 1.0, "b": "x", "z": 1, "event_id": 1, "distinct_id": 7}.items():
        uncommon = event({**properties, name: value})
        kinds = [isinstance(record, dict) for record in found.encodable([*common, uncommon])]
        assert kinds == [False, False, True]
