from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.delivery.dispatcher import Dispatcher
from singer_martech.delivery.sink import MartechSink
from singer_martech.delivery.target import MartechTarget
from singer_martech.mapping.fast_path import SCALARS, compile_fast_path
from singer_martech.values.json_codec import decode_object
from singer_martech.values.validation import RecordValidator
from target_mediarithmics.target import TargetMediarithmics
from target_mona.target import TargetMona
from target_monetate.target import TargetMonetate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.mapping.fast_path import FastPath
    from tests.sandbox.server import Sandbox

KINDS = ("string", "integer", "number", "boolean", "null", "object", "array")
VALUES = (
    *('""', '"a"', '" a "', '"ab"', '"abc"', '"\\u00e9"', '"é😀"', '"\\ud800"', '"%2E."', '"1.5"'),
    *('"2024-01-31T10:00:00Z"', '"2024-01-31"', '"a,b"', '"true"', '"\\"\\\\"'),
    *("0", "-0", "1", "-7", "1.0", "1.50", "-0.0", "1e2", "1E400", "1e-400", "0.1", "NaN"),
    *(str(2**63), str(2**64), "9" * 40, "9" * 5000, "12345678901234567.123456789"),
    *("-1E+5", "true", "false", "null", "{}", "[]"),
    *('{"a":1.10}', '{"a":"\\ud800"}', "[1,[2.50]]"),
)
"""JSON as it may stand in a record, and what only looks like JSON."""

_BOUNDS = st.sampled_from(
    [
        {},
        {"format": "date-time", "description": "a"},
        {"minLength": 1},
        {"maxLength": 2},
        {"minimum": 0, "maximum": 5},
        {"maximum": 1.5},
        {"maximum": 2**70},
        {"enum": ["a", 1]},
        {"pattern": "^a"},
        {"multipleOf": 2},
        {"additionalProperties": True},
        {"additionalProperties": False},
        {"properties": {"a": {"type": "string"}}},
        {"items": {"type": "integer"}},
        {"anyOf": [{"type": "string"}]},
    ]
)
_TYPES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.sampled_from(KINDS).map(lambda kind: {"type": kind}),
    st.sets(st.sampled_from(KINDS), min_size=1).map(lambda kinds: {"type": sorted(kinds)}),
)
_FIELD = st.builds(lambda kinds, bounds: {**bounds, **kinds}, _TYPES, _BOUNDS)
_NAMES = ("a", "b", "é", 'q"', "x y")


@given(
    properties=st.dictionaries(st.sampled_from(_NAMES), _FIELD, min_size=1),
    around=st.sampled_from(
        [{}, {"required": ["a"]}, {"additionalProperties": False}, {"minProperties": 2}]
    ),
    record=st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(VALUES))),
    reads=st.sets(st.sampled_from(_NAMES)),
    required=st.sets(st.sampled_from(_NAMES)),
)
def test_what_comes_the_short_way_is_valid_and_exact(
    properties: dict[str, Any],
    around: dict[str, Any],
    record: list[tuple[str, str]],
    reads: set[str],
    required: set[str],
) -> None:
    schema = {"type": "object", "properties": properties, **around}
    fast_path = compile_fast_path(schema, sorted(reads), dict.fromkeys(reads, SCALARS), required)
    if fast_path is None:
        return
    members = (f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in record)
    raw = f"{{{', '.join(members)}}}".encode()
    found = fast_path.values(raw)
    if found is None:
        return
    exact = decode_object(raw)
    assert RecordValidator("orders", schema).is_valid(exact)
    assert exact.keys() <= properties.keys()
    assert exact.keys() >= reads | required
    for name, value in zip(sorted(reads), found, strict=False):
        assert (type(value), value) == (type(exact[name]), exact[name])


def way_of(**properties: Any) -> FastPath | None:
    return compile_fast_path({"type": "object", "properties": properties}, [], {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"type": ["null", "string"]}, "a"),
        ({"type": ["null", "string"]}, None),
        ({"type": "number"}, 1.5),
        ({"type": "number", "description": "a", "format": "double"}, 1),
        ({"type": "integer", "minimum": -5, "maximum": 5}, 5),
        ({"type": ["string", "null"], "maxLength": 3}, "😀😀😀"),
        ({"type": "object", "additionalProperties": True}, {"a": {"b": [1, 2.5]}}),
        ({"type": ["array", "null"]}, None),
        ({"type": ["object", "array", "string", "number", "boolean"]}, False),
        ({}, {"a": 1}),
    ],
)
def test_usual_schemas_have_a_short_way(field: Any, value: Any) -> None:
    fast_path = way_of(x=field)
    assert fast_path is not None
    assert fast_path.values(json.dumps({"x": value}).encode()) is not None
    assert fast_path.values(b"{}") is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/a"}}},
        {"type": "object", "properties": {"a": {}}, "patternProperties": {"a": {"type": "null"}}},
        {"type": "array", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"enum": [1]}}},
        {"type": "object", "properties": {"a": {"type": "number", "maximum": 5}}},
        {"type": "object", "properties": {"a": {"type": "integer", "maximum": 2**63}}},
    ],
)
def test_what_the_decoder_cannot_check_has_none(schema: Any) -> None:
    assert compile_fast_path(schema, [], {}) is None


@pytest.mark.parametrize("value", ["1.50", "1.0", "1e2", "1E400"])
def test_a_number_with_a_point_is_not_looked_at(value: str) -> None:
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    fast_path = compile_fast_path(schema, ["price"], {"price": SCALARS})
    assert fast_path is not None
    assert fast_path.values(b'{"price":7}') == (7,)
    assert fast_path.values(b'{"price":%s}' % value.encode()) is None


@pytest.mark.parametrize("number", ["1e1000000000000000000", "-" + "9" * 5000])
def test_a_number_beyond_all_bounds_goes_out_where_nobody_looks_at_it(
    number: str, sandbox: Sandbox
) -> None:
    fields = {"id": {"type": "string"}, "more": {"type": "object"}}
    schema = {"type": "SCHEMA", "stream": "people", "schema": {"properties": fields}}
    record = f'{{"id": "a", "more": {{"n": {number}}}}}'
    line = f'{{"type": "RECORD", "stream": "people", "record": {record}}}'
    text = "\n".join([json.dumps({**schema, "key_properties": ["id"]}), line, line])
    rejected, taken = _batch_result(mona(sandbox), text)
    assert "out of all bounds" in rejected[2]  # the first record always goes the long way
    assert record.encode() in taken[3]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": [{"type": "string"}]}}},
        {"properties": {"a": {"type": None}}},
        {"properties": {"a": {"type": "string", "minLength": -1}}},
        {"properties": {"a": {}}, "required": True},
        {"properties": {"a": {}}, "required": [["a"]]},
        {"properties": {"a": {}}, "type": None},
        {"properties": 5},
    ],
)
def test_what_is_no_schema_has_none(schema: Any) -> None:
    assert compile_fast_path(schema, [], {}) is None


def test_a_record_of_many_fields_is_read_in_their_order() -> None:
    names = [f"n{number}" for number in range(200)]
    fields = {name: {"type": "integer"} for name in names}
    reads = ["n150", "n3"]
    fast_path = compile_fast_path({"properties": fields}, reads, {})
    assert fast_path is not None
    assert fast_path.values(json.dumps(dict(zip(names, range(200), strict=True))).encode()) == (
        150,
        3,
    )


def test_text_that_is_passed_over_has_to_be_utf_8() -> None:
    fast_path = way_of(x={"type": "object"})
    assert fast_path is not None
    assert fast_path.values('{"x":{"a":"é"}}'.encode()) is not None
    assert fast_path.values(b'{"x":{"a":"\xff"}}') is None


def test_when_most_records_are_refused_no_more_are_tried() -> None:
    fast_path = compile_fast_path({"properties": {"x": {"type": "string"}}}, ["x"], {})
    assert fast_path is not None
    for _ in range(500):
        assert fast_path.values(b'{"x":"a"}') == ("a",)
    for _ in range(999):
        assert fast_path.values(b'{"x":1}') is None
    assert fast_path.values(b'{"x":"a"}') == ("a",)
    assert fast_path.values(b'{"x":1}') is None
    assert fast_path.values(b'{"x":"a"}') is None


FIELDS = {
    "id": {"type": "string"},
    "name": {"type": ["null", "string"], "maxLength": 20},
    "tags": {"type": ["null", "string"]},
    "at": {"type": ["null", "string"], "format": "date-time"},
    "price": {"type": ["null", "number"]},
    "number": {"type": ["null", "integer"], "minimum": -7},
    "active": {"type": ["null", "boolean"]},
    "more": {"type": ["null", "object"], "additionalProperties": True},
}
_GOOD = {
    "id": '"k1"',
    "name": '"Ann"',
    "tags": '"a,b"',
    "at": '"2024-01-31T10:00:00Z"',
    "price": "1.50",
    "number": "3",
    "active": "true",
}


def mona(sandbox: Sandbox) -> MartechTarget:
    return TargetMona(config={**sandbox.mona.credentials(), **PATIENT})


def mona_mapped(sandbox: Sandbox) -> MartechTarget:
    mapping = {
        "context_id": ["id", "number"],
        "export_timestamp": "at",
        "message": {
            "n": "{{ name }}",
            "t": "{{ record['tags'] }}",
            "s": "{{ stream }}",
            "a": "{{ active }}",
        },
    }
    streams = {"people": mapping}
    return TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})


def monetate(sandbox: Sandbox) -> MartechTarget:
    types = {"name": "STRING", "tags": "MULTI_STRING", "at": "DATETIME", "price": "NUMBER"}
    key = {"data_type": "STRING", "identifier": True, "unique_key": True}
    fields = {"id": key, **types, "number": "NUMBER", "active": "BOOLEAN"}
    sandbox.monetate.add_dataset("people", fields)
    return TargetMonetate(config={**sandbox.monetate.credentials(), **PATIENT})


def monetate_by_number(sandbox: Sandbox) -> MartechTarget:
    key = {"data_type": "NUMBER", "identifier": True, "unique_key": True}
    types = dict.fromkeys(("id", "name", "tags", "at"), "STRING")
    fields = {"price": key, **types, "number": "NUMBER", "active": "BOOLEAN"}
    sandbox.monetate.add_dataset("people", fields)
    return TargetMonetate(config={**sandbox.monetate.credentials(), **PATIENT})


def monetate_mapped(sandbox: Sandbox) -> MartechTarget:
    key = {"data_type": "STRING", "identifier": True, "unique_key": True}
    sandbox.monetate.add_dataset("people", {"id": key, "who": "STRING", "many": "NUMBER"})
    streams = {"people": {"row": {"id": "{{ id }}", "who": "{{ name }}", "many": "{{ number }}"}}}
    return TargetMonetate(config={**sandbox.monetate.credentials(), **PATIENT, "streams": streams})


def mediarithmics(sandbox: Sandbox) -> MartechTarget:
    document = {
        "operation": "UPSERT",
        "user_account_id": "{{ id }}",
        "user_profile": {"name": "{{ name }}", "at": "{{ at | epoch_ms }}", "n": "{{ number }}"},
    }
    streams = {"people": {"document_type": "USER_PROFILE", "document": document}}
    credentials = sandbox.mediarithmics.credentials()
    del credentials["organisation_id"]
    return TargetMediarithmics(config={**credentials, **PATIENT, "streams": streams})


PATIENT = {"max_rejected_records": 10_000}
WAYS = [mona, mona_mapped, monetate, monetate_by_number, monetate_mapped, mediarithmics]
NESTED = [mona, mona_mapped, mediarithmics]


def _lines(fields: dict[str, Any]) -> str:
    """Return records that hold each value in each field, and records that lack each."""
    records: list[dict[str, str]] = [
        _GOOD,
        {"id": '"k2"'},
        {},
        {**_GOOD, "other": "1"},
        {**_GOOD, "_sdc_x": "1"},
    ]
    records += [{**_GOOD, "_sdc_deleted_at": value} for value in ("null", '"2024-01-31"')]
    for name in fields:
        records.append({key: value for key, value in _GOOD.items() if key != name})
        records += [{**_GOOD, name: value} for value in VALUES]
    schema = {"type": "object", "properties": fields}
    message = {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]}
    lines = [json.dumps(message)]
    for record in records:
        text = ",".join(f'"{name}":{value}' for name, value in record.items())
        lines.append(f'{{"type":"RECORD","stream":"people","record":{{{text}}}}}')
    return "\n".join(lines)


def _batch_result(target: MartechTarget, text: str) -> list[Any]:
    """Return what becomes of each record: its part of a request, or why it is rejected."""
    batch_result: list[Any] = []
    keys: dict[Any, int] = {}

    def add(_: Dispatcher, destination: Destination, pending: PendingRecord) -> None:
        key = pending.key and keys.setdefault(pending.key, len(keys))
        batch_result.append(
            (destination.name, pending.sequence, key, pending.body, pending.raw, pending.idempotent)
        )

    def reject(
        target: MartechTarget, _: StreamMetrics, message: Mapping[str, Any], reason: str
    ) -> None:
        batch_result.append((target.sequence, message["raw"], reason))

    with (
        mock.patch.object(Dispatcher, "submit", add),
        mock.patch.object(MartechTarget, "reject", reject),
    ):
        target.listen(io.StringIO(text))
    return batch_result


def test_fields_that_do_not_go_out_as_they_came_have_none(sandbox: Sandbox) -> None:
    fields = {"id": {"type": "string"}, "_sdc_batched_at": {}, "MONA_x": {}}
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": fields}}
    record = {"id": "1", "MONA_x": 1}
    lines = [
        {**message, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "people", "record": record},
        {"type": "RECORD", "stream": "people", "record": {**record, "_sdc_batched_at": "x"}},
        {"type": "RECORD", "stream": "people", "record": record},
    ]
    batch_result = _batch_result(mona(sandbox), "\n".join(map(json.dumps, lines)))
    messages = [json.loads(body)["message"] for _, _, _, body, _, _ in batch_result]
    assert messages == [{"id": "1", "MY_MONA_x": 1}] * 3


def test_a_record_without_its_key_goes_the_long_way(sandbox: Sandbox) -> None:
    streams = {"people": {"context_id": "name"}}
    target = TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})
    fields = {"id": {"type": "string"}, "name": {"type": "string"}}
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": fields}}
    records = [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}, {"name": "c"}]
    lines = [
        {**message, "key_properties": ["id"]},
        *({"type": "RECORD", "stream": "people", "record": each} for each in records),
    ]
    *taken, rejected = _batch_result(target, "\n".join(map(json.dumps, lines)))
    assert [key for _, _, key, _, _, _ in taken] == [0, 1]
    assert rejected[2] == "a key property is missing: id"


@pytest.mark.parametrize("made", WAYS)
def test_both_ways_lead_to_the_same(made: Any, sandbox: Sandbox) -> None:
    fields = {name: each for name, each in FIELDS.items() if name != "more" or made in NESTED}
    text = _lines(fields)
    with mock.patch.object(MartechSink, "load", autospec=True, side_effect=MartechSink.load) as spy:
        short = _batch_result(made(sandbox), text)
    assert spy.call_count < len(short) - 10
    with mock.patch.object(MartechSink, "open_fast_path", return_value=False):
        assert _batch_result(made(sandbox), text) == short
