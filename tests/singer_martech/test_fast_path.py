from __future__ import annotations

import decimal
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.delivery.block_loader import BlockLoader
from singer_martech.delivery.dispatcher import Dispatcher
from singer_martech.delivery.record_loader import RecordLoader
from singer_martech.delivery.settlement import Settlement
from singer_martech.mapping.fast_path import compile_fast_path
from singer_martech.mapping.metadata_columns import SDC_COLUMNS
from singer_martech.values.json_codec import decode_object
from singer_martech.values.validation import RecordValidator
from target_mediarithmics.target import TargetMediarithmics
from target_mona.target import TargetMona
from target_monetate.target import TargetMonetate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.target import MartechTarget
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
"""Values of a record: JSON, and text that resembles JSON."""

OBJECTS = (
    *('{"a":"x"}', '{"a":1}', '{"a":1.5,"b":null}', '{"a":"x","c":{}}', '{"a":"x","a":1}'),
    *('{"\\u0061":"x"}', '{"\\u0061":1}', '{"a":{"a":"b"}}', '{"a":{"a":1}}', '{"a":[1]}'),
    *('{"b":"\\ud800"}', '{"\\ud800":1}', '{"é":"é"}', '{"a":NaN}', "[1]", '["a",1]', "[null]"),
    *('[{"a":"x"}]', '[{"a":1},{}]', "[[1],[]]", '[["a"]]', "[1.5]", '{"a":9e999}', "[1,1,1]"),
)
_KEYWORDS = st.sampled_from(
    [
        {},
        {"format": "date-time", "description": "a"},
        {"inclusion": "automatic", "selected": True},
        {"minLength": 1},
        {"maxLength": 2},
        {"minimum": 0, "maximum": 5},
        {"minimum": -7, "maximum": 1},
        {"maximum": 5, "exclusiveMaximum": True},
        {"exclusiveMinimum": 0, "exclusiveMaximum": 100},
        {"maximum": 1.5},
        {"maximum": 2**70, "minimum": -(2**70)},
        {"enum": ["a", 1]},
        {"enum": ["a", None, True, 1.5, {"a": 1}]},
        {"enum": [True, False]},
        {"const": "abc"},
        {"const": 1},
        {"pattern": "^a"},
        {"multipleOf": 2},
        {"multipleOf": 1},
        {"multipleOf": 0.1},
        {"multipleOf": 1e-06},
        {"multipleOf": 0.05},
        {"minItems": 1},
        {"maxItems": 1},
        {"uniqueItems": True},
        {"minProperties": 1},
        {"required": ["a"]},
        {"patternProperties": {"a": {"type": "string"}}},
        {"additionalProperties": True},
        {"additionalProperties": False},
        {"not": {"type": "string"}},
        {"not": {}},
        {"$ref": "#/definitions/text"},
        {"$ref": "#/definitions/tree"},
        {"$ref": "https://example.com/schema"},
    ]
)
_TYPES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.sampled_from(KINDS).map(lambda kind: {"type": kind}),
    st.sets(st.sampled_from(KINDS), min_size=1).map(lambda kinds: {"type": sorted(kinds)}),
)
_LEAF = st.builds(lambda kinds, keywords: {**keywords, **kinds}, _TYPES, _KEYWORDS)
_FIELD = st.recursive(
    _LEAF,
    lambda inner: st.builds(
        lambda kinds, keyword, subschema: {**kinds, **keyword(subschema)},
        _TYPES,
        st.sampled_from(
            [
                lambda inner: {"properties": {"a": inner}},
                lambda inner: {"properties": {"a": inner}, "required": ["a"]},
                lambda inner: {"properties": {"a": inner}, "additionalProperties": False},
                lambda inner: {"additionalProperties": inner},
                lambda inner: {"items": inner},
                lambda inner: {"items": inner, "maxItems": 1},
                lambda inner: {"items": [inner]},
                lambda inner: {"anyOf": [inner, {"type": "null"}]},
                lambda inner: {"anyOf": [{"type": "integer", "maximum": 1}, inner]},
                lambda inner: {"oneOf": [inner, {"type": "null"}]},
                lambda inner: {"oneOf": [{"type": "string", "maxLength": 1}, inner]},
                lambda inner: {"allOf": [inner]},
                lambda inner: {"allOf": [inner, {"type": "string"}]},
            ]
        ),
        inner,
    ),
    max_leaves=4,
)
_DEFINITIONS = {
    "text": {"type": ["string", "null"], "maxLength": 2},
    "tree": {"type": "object", "properties": {"a": {"$ref": "#/definitions/tree"}}},
}
_NAMES = ("a", "b", "é", 'q"', "x y")


def values_of(fast_path: FastPath, record: bytes) -> tuple[Any, ...] | None:
    return fast_path.decode([record]).values[0]


@given(field=_FIELD, is_required=st.booleans(), is_read=st.booleans())
@settings(max_examples=400)
def test_records_on_the_fast_path_are_valid(
    field: dict[str, Any], is_required: bool, is_read: bool
) -> None:
    schema = {"properties": {"x": field}, "definitions": _DEFINITIONS}
    required = ["x"] if is_required else []
    fast_path = compile_fast_path(schema, ["x"] if is_read else [], {}, required)
    validator = RecordValidator("orders", schema)
    for value in (*VALUES, *OBJECTS):
        if (
            len(value) > 1000
        ):  # see test_an_unrepresentable_number_is_sent_if_the_mapping_does_not_read_it
            continue
        raw = f'{{"x": {value}}}'.encode()
        is_accepted = fast_path is not None and values_of(fast_path, raw) is not None
        assert is_accepted <= _is_valid(validator, raw), value
    absent = fast_path is not None and values_of(fast_path, b"{}") is not None
    assert absent == (fast_path is not None and not is_required and not is_read)


def _is_valid(validator: RecordValidator, raw: bytes) -> bool:
    try:
        return validator.is_valid(decode_object(raw))
    except (msgspec.DecodeError, decimal.InvalidOperation, ValueError):
        return False


_CONFORMING = st.sampled_from(
    [
        ({"type": "string"}, '"a"'),
        ({"type": ["null", "string"], "maxLength": 3}, '"é😀"'),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "null"),
        ({"enum": ["a", "b", None]}, '"b"'),
        ({"const": 5}, "5"),
        ({"type": "integer", "minimum": 0, "maximum": 2**70}, str(2**62)),
        ({"type": "number", "multipleOf": 0.01, "maximum": 100}, "7"),
        ({"type": ["null", "number"], "multipleOf": 0.01, "maximum": 100}, "1.50"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 100}, "1e1"),
        ({"type": "boolean"}, "true"),
        ({"$ref": "#/definitions/text"}, '"ab"'),
    ]
)


@given(
    fields=st.dictionaries(st.sampled_from(_NAMES[:3]), _CONFORMING, min_size=1),
    data=st.data(),
)
def test_values_are_exact_and_in_the_requested_order(
    fields: dict[str, tuple[Any, str]], data: st.DataObject
) -> None:
    properties = {name: schema for name, (schema, _) in fields.items()}
    reads = data.draw(st.permutations(sorted(fields)))[: data.draw(st.integers(0, len(fields)))]
    schema = {"properties": properties, "definitions": _DEFINITIONS}
    fast_path = compile_fast_path(schema, reads, {})
    assert fast_path is not None
    members = [f"{json.dumps(name)}: {text}" for name, (_, text) in fields.items()]
    raw = f"{{{', '.join(data.draw(st.permutations(members)))}}}".encode()
    exact = decode_object(raw)
    expected = tuple(exact[name] for name in reads)
    found = values_of(fast_path, raw)
    assert found == expected
    assert [type(value) for value in found or ()] == [type(value) for value in expected]


def test_a_record_with_an_unknown_or_a_missing_field_takes_the_ordinary_path() -> None:
    fast_path = compile_fast_path({"properties": {"a": {}, "b": {}}}, ["a"], {}, ["b"])
    assert fast_path is not None
    assert values_of(fast_path, b'{"a":1,"b":2}') is not None
    for record in (b'{"a":1}', b'{"b":1}', b'{"a":1,"b":1,"c":1}', b"[]", b"", b"null"):
        assert values_of(fast_path, record) is None


def path_of(**properties: Any) -> FastPath | None:
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
        ({"type": ["null", "number"], "inclusion": "available", "multipleOf": 0.01}, 19.99),
        ({"type": "number", "multipleOf": 0.01, "exclusiveMaximum": True, "maximum": 1e8}, 1.1),
        ({"type": "number", "multipleOf": 1e-38}, 0.1),
        ({"type": "number", "maximum": 5}, 4.5),
        ({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, 5),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}, "a"),
        ({"anyOf": [{"type": "object", "properties": {"a": {}}}, {"type": "null"}]}, {"a": 1}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 5),
        ({"enum": ["open", "closed", None]}, None),
        ({"const": "a"}, "a"),
        ({"type": ["null", "object"], "properties": {"login": {"type": "string"}}}, {"id": 5}),
        ({"type": "array", "items": {"type": "object", "properties": {"a": {}}}}, [{"a": 1}, {}]),
        ({"type": "array", "items": {}}, [1, "a"]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": "b"}),
        ({"type": "string", "pattern": "^a"}, "ab"),
        ({"type": "number", "multipleOf": 0.05}, 1.15),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1.5),
        ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, "a"),
        ({"items": {"$ref": "#/properties/x"}}, [[[1]]]),
        (
            {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.1}}},
            {"a": 1.1},
        ),
        ({"type": "STRING"}, 5),
        ({"$ref": "https://example.com/schema"}, 5),
    ],
)
def test_common_schemas_have_a_fast_path(field: Any, value: Any) -> None:
    fast_path = path_of(x=field)
    assert fast_path is not None
    assert values_of(fast_path, json.dumps({"x": value}).encode()) is not None
    assert values_of(fast_path, b"{}") is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "patternProperties": {"a": {"type": "null"}}},
        {"type": "array", "properties": {"a": {}}},
        {"properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"properties": {"a": {}}, "minProperties": 1},
        {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}, {"maxProperties": 0}]},
        {"properties": {}},
        {"properties": 5},
        {},
    ],
)
def test_constraints_that_the_decoder_cannot_check_prevent_the_fast_path(schema: Any) -> None:
    assert compile_fast_path(schema, [], {}) is None


@pytest.mark.parametrize("value", ["7", "1.50", "1.0", "1e2", "1E400", "-0.0", "9" * 40])
def test_a_number_is_read_with_all_its_digits(value: str) -> None:
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    fast_path = compile_fast_path(schema, ["price"], {})
    assert fast_path is not None
    record = b'{"price":%s}' % value.encode()
    (found,) = values_of(fast_path, record) or ()
    assert repr(found) == repr(decode_object(record)["price"])


@pytest.mark.parametrize("number", ["1e1000000000000000000", "-" + "9" * 5000])
def test_an_unrepresentable_number_is_sent_if_the_mapping_does_not_read_it(
    number: str, sandbox: Sandbox
) -> None:
    fields = {"id": {"type": "string"}, "more": {"type": "object"}}
    schema = {"type": "SCHEMA", "stream": "people", "schema": {"properties": fields}}
    record = f'{{"id": "a", "more": {{"n": {number}}}}}'
    line = f'{{"type": "RECORD", "stream": "people", "record": {record}}}'
    text = "\n".join([json.dumps({**schema, "key_properties": ["id"]}), line, line])
    rejected, accepted = _batch_result(mona(sandbox), text)
    assert "a number out of range" in rejected[2]  # the first record always takes the ordinary path
    assert record.encode() in accepted[3]


@pytest.mark.parametrize(
    "name",
    ["pipelinewise-tap-postgres", "tap-mysql", "tap-mongodb-later", "tap-github", "tap-shopify"],
)
def test_the_schemas_of_well_known_taps_have_a_fast_path(name: str) -> None:
    path = Path(__file__).parent / "schemas" / f"{name}.json"
    case = json.loads(path.read_bytes())
    fast_path = compile_fast_path(case["schema"], [], {})
    assert fast_path is not None
    for record in case["valid"]:
        assert values_of(fast_path, json.dumps(record).encode()) is not None, record
    for record in case["invalid"]:
        assert values_of(fast_path, json.dumps(record).encode()) is None, record


def test_metadata_columns_may_change_their_order() -> None:
    fast_path = compile_fast_path(
        {"properties": {"a": {"type": "integer"}}}, ["a"], {}, (), SDC_COLUMNS
    )
    assert fast_path is not None
    one, two = b'"_sdc_sequence":1', b'"_sdc_batched_at":"x"'
    for columns in (one, two, one, b",".join((two, one)), b",".join((one, two))):
        records = [b'{"a":5,%s}' % columns]
        fast_path.decode(records)  # it may take the ordinary path
        assert fast_path.decode(records) == ([(5,)], [b'{"a":5}'])


def test_many_fields_are_read_in_order() -> None:
    names = [f"n{number}" for number in range(200)]
    fields = {name: {"type": "integer"} for name in names}
    reads = ["n150", "n3"]
    fast_path = compile_fast_path({"properties": fields}, reads, {})
    assert fast_path is not None
    assert values_of(fast_path, json.dumps(dict(zip(names, range(200), strict=True))).encode()) == (
        150,
        3,
    )


def test_skipped_text_must_be_utf_8() -> None:
    fast_path = path_of(x={"type": "object"})
    assert fast_path is not None
    assert values_of(fast_path, '{"x":{"a":"é"}}'.encode()) is not None
    assert values_of(fast_path, b'{"x":{"a":"\xff"}}') is None


def test_only_the_record_with_text_that_is_not_utf_8_is_undecided() -> None:
    fields = {"n": {"type": "integer"}, "x": {"type": "object"}}
    fast_path = compile_fast_path({"properties": fields}, ["n"], {})
    assert fast_path is not None
    texts = ("é".encode(), b"\xc3", b"\xa9", b"a")
    records = [b'{"n":%d,"x":{"a":"%b"}}' % each for each in enumerate(texts)]
    assert fast_path.decode(records).values == [(0,), None, None, (3,)]


def test_if_most_records_need_the_ordinary_path_the_fast_path_is_disabled() -> None:
    fast_path = compile_fast_path({"properties": {"x": {"type": "string"}}}, ["x"], {})
    assert fast_path is not None
    for _ in range(500):
        assert values_of(fast_path, b'{"x":"a"}') == ("a",)
    for _ in range(999):
        assert values_of(fast_path, b'{"x":1}') is None
    assert values_of(fast_path, b'{"x":"a"}') == ("a",)
    assert values_of(fast_path, b'{"x":1}') is None
    assert values_of(fast_path, b'{"x":"a"}') is None


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


def mona_with_expressions(sandbox: Sandbox) -> MartechTarget:
    message = {
        "n": "{{ name | lower }}",
        "t": "{{ (tags or 'none') ~ '/' ~ stream }}",
        "a": "{{ 'yes' if active else 'no' }}",
        "u": "{{ record.id | uuid1 }}",
        "d": "{{ number * 2 }}",
    }
    streams = {"people": {"message": message, "export_timestamp": "{{ record['at'] | epoch_s }}"}}
    return TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})


def mona_with_numbers(sandbox: Sandbox) -> MartechTarget:
    message = {"p": "{{ price }}", "r": "{{ price | round(1) }}", "n": "{{ number }}"}
    streams = {"people": {"message": message}}
    return TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})


def mona_with_objects(sandbox: Sandbox) -> MartechTarget:
    message = {"m": "{{ more }}", "a": "{{ more.a }}", "p": "{{ record.price }}"}
    streams = {"people": {"message": message}}
    return TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})


TARGETS = {
    mona: 97,
    mona_with_numbers: 80,
    mona_with_objects: 2,
    mona_mapped: 80,
    mona_with_expressions: 79,
    monetate: 60,
    monetate_by_number: 6,
    monetate_mapped: 80,
    mediarithmics: 80,
}
"""How many records take the fast path at least."""
NESTED = [
    mona,
    mona_mapped,
    mona_with_expressions,
    mona_with_numbers,
    mona_with_objects,
    mediarithmics,
]


_METADATA = {
    "_sdc_batched_at": '"2026-03-10T12:00:00Z"',
    "_sdc_deleted_at": "null",
    "_sdc_sequence": "17",
}


def at_the_end(record: dict[str, str]) -> dict[str, str]:
    return {**record, **_METADATA}


def at_the_start(record: dict[str, str]) -> dict[str, str]:
    return {**_METADATA, **record}


def in_between(record: dict[str, str]) -> dict[str, str]:
    first = dict(list(record.items())[:1])
    return {**first, **_METADATA, **record}


def _lines(
    fields: dict[str, Any], arranged: Callable[[dict[str, str]], dict[str, str]], space: str
) -> str:
    """Return records that hold each value in each field, and records that lack each."""
    records: list[dict[str, str]] = [
        _GOOD,
        {"id": '"k2"'},
        {},
        {**_GOOD, "other": "1"},
        {**_GOOD, "_sdc_x": "1"},
        {**_GOOD, "more": '{"_sdc_sequence":1}', "_sdc_sequence": "1"},
        {**_GOOD, "price": "null", "name": "null", "active": "null"},
    ]
    records += [{**_GOOD, "_sdc_deleted_at": value} for value in ("null", '"2024-01-31"')]
    for name in fields:
        records.append({key: value for key, value in _GOOD.items() if key != name})
        records += [{**_GOOD, name: value} for value in VALUES]
    schema = {"type": "object", "properties": fields}
    message = {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]}
    lines = [json.dumps(message)]
    for record in map(arranged, records):
        text = f",{space}".join(f'"{name}":{space}{value}' for name, value in record.items())
        time = ',"time_extracted":"2026-03-10T12:00:00Z"' if len(text) % 2 else ""
        lines.append(f'{{"type":"RECORD","stream":"people","record":{space}{{{text}}}{time}}}')
    return "\n".join(lines)


def _batch_result(target: MartechTarget, text: str) -> list[Any]:
    """Return the result for each record: its part of a request, or its reject reason."""
    batch_result: list[Any] = []
    keys: dict[Any, int] = {}

    def add_all(_: Dispatcher, destination: Destination, records: Sequence[PendingRecord]) -> None:
        for each in records:
            add(_, destination, each)

    def add(_: Dispatcher, destination: Destination, pending: PendingRecord) -> None:
        key = None if pending.key is None else keys.setdefault(pending.key, len(keys))
        batch_result.append(
            (destination.name, pending.sequence, key, pending.body, pending.raw, pending.idempotent)
        )

    def reject(_: Settlement, __: StreamMetrics, sequence: int, raw: bytes, reason: str) -> None:
        batch_result.append((sequence, raw, reason))

    with (
        mock.patch.object(Dispatcher, "submit", add),
        mock.patch.object(Dispatcher, "submit_all", add_all),
        mock.patch.object(Settlement, "reject", reject),
    ):
        target.listen(io.StringIO(text))
    return batch_result


def test_fields_that_change_before_sending_prevent_the_fast_path(sandbox: Sandbox) -> None:
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


def test_a_record_without_its_key_takes_the_ordinary_path(sandbox: Sandbox) -> None:
    streams = {"people": {"context_id": "name"}}
    target = TargetMona(config={**sandbox.mona.credentials(), **PATIENT, "streams": streams})
    fields = {"id": {"type": "string"}, "name": {"type": "string"}}
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": fields}}
    records = [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}, {"name": "c"}]
    lines = [
        {**message, "key_properties": ["id"]},
        *({"type": "RECORD", "stream": "people", "record": each} for each in records),
    ]
    *accepted, rejected = _batch_result(target, "\n".join(map(json.dumps, lines)))
    assert [key for _, _, key, _, _, _ in accepted] == [0, 1]
    assert rejected[2] == "a key property is missing: id"


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("arranged", [dict, at_the_end, at_the_start, in_between])
@pytest.mark.parametrize(("made", "fast"), TARGETS.items())
def test_both_paths_give_the_same_result(
    made: Any, fast: int, arranged: Any, space: str, sandbox: Sandbox
) -> None:
    fields = {name: each for name, each in FIELDS.items() if name != "more" or made in NESTED}
    text = _lines(fields, arranged, space)
    loaded = mock.patch.object(BlockLoader, "load", autospec=True, side_effect=BlockLoader.load)
    messages = mock.patch.object(RecordLoader, "load", autospec=True, side_effect=RecordLoader.load)
    with loaded as records, messages as ordinary:
        results = _batch_result(made(sandbox), text)
    given = sum(len(call.args[1]) for call in records.call_args_list)
    if arranged is not in_between:
        assert given - ordinary.call_count >= fast
    with mock.patch.object(BlockLoader, "of", return_value=None):
        assert _batch_result(made(sandbox), text) == results
