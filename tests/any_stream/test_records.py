"""Records of real taps, loaded into each target."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.mapping.metadata_columns import SDC_COLUMNS
from tests.kit.garbage import collect_garbage
from tests.kit.singer import as_bytes, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.any_stream.loader import Loader
    from tests.kit.singer import Line

METADATA: dict[str, Any] = dict.fromkeys(sorted(SDC_COLUMNS - {"_sdc_deleted_at"}), 1)
OWN = {"_sdc_source": "shop", "_sdc_primary_key": 2}
"""Columns whose names resemble those of singer-sdk."""


def declared(*, required: tuple[str, ...] = ()) -> dict[str, Any]:
    names = ["id", *METADATA, "_sdc_deleted_at", *OWN]
    return {
        "type": "SCHEMA",
        "stream": "orders",
        "schema": {"properties": {name: {} for name in names}, "required": list(required)},
        "key_properties": ["id"],
    }


def as_line(text: str, stream: str = "orders") -> bytes:
    return f'{{"type":"RECORD","stream":"{stream}","record":{text}}}'.encode()


def deep(levels: int) -> str:
    return f'{{"id":2,"a":{"[" * levels}{"]" * levels}}}'


def keys(load: Loader) -> list[str]:
    """Return the key of each line of the reports, as its text."""
    return [line.partition('"key":')[2].partition(',"reason"')[0] for line in load.reports]


def test_the_metadata_columns_of_the_sdk_are_left_out_and_no_others(load: Loader) -> None:
    given = record(id=1, **METADATA, _sdc_deleted_at=None, **OWN)
    load(declared(), given, given)
    assert load.records == [{"id": 1, **OWN}] * 2


def test_metadata_columns_that_are_declared_as_required_are_kept(load: Loader) -> None:
    load(declared(required=("_sdc_batched_at",)), record(id=1, **METADATA, **OWN))
    assert load.records == [{"id": 1, "_sdc_batched_at": 1, **OWN}]


def test_metadata_columns_that_are_declared_as_key_are_kept(load: Loader) -> None:
    message = {**declared(), "key_properties": ["id", "_sdc_sequence"]}
    load(message, record(id=1, **METADATA, **OWN))
    assert load.records == [{"id": 1, "_sdc_sequence": 1, **OWN}]


def test_metadata_columns_are_kept_when_that_is_set(load: Loader) -> None:
    given = {"id": 1, **METADATA, "_sdc_deleted_at": None, **OWN}
    load(declared(), record(**given), keep_sdc_columns=True)
    assert load.records == [given]


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_mapping_that_reads_a_metadata_column_is_told_that_it_is_left_out(
    load: Loader, *, is_kept: bool
) -> None:
    key = {"target-mona": "message", "target-monetate": "row"}.get(load.name, "document")
    template = {"customer_id": "c", "record": "{{ _sdc_extracted_at }}"}
    streams = {"*": {**load.settings["streams"]["*"], key: template}}
    outcome = load(declared(), record(id=1, **METADATA), streams=streams, keep_sdc_columns=is_kept)
    warning = f"key '{key}': field '_sdc_extracted_at' is left out; set 'keep_sdc_columns' to true"
    assert (warning in outcome.log) is not is_kept


@pytest.mark.parametrize("levels", [20_000, 100_000])  # Python 3.13 reads 9,000
def test_a_record_that_is_nested_too_deep_is_rejected_and_the_run_continues(
    load: Loader, levels: int
) -> None:
    collect_garbage()  # otherwise it may be finalized at the recursion limit
    outcome = load(
        schema(keys=["id"], id={}, a={}),
        record(id=1),
        as_line(deep(levels)),
        record(id=3),
        state({"bookmarks": {}}),
        max_rejected_records=1,
    )
    assert load.records == [{"id": 1}, {"id": 3}]
    assert keys(load) == ['{"id":2}']
    assert f'"record":{deep(levels)},' in load.reports[0]
    assert outcome.messages == [{"bookmarks": {}}]


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ("1.10", "1.10"),
        ("1e400", '"1e400"'),
        ("NaN", '"NaN"'),
        ("-Infinity", '"-Infinity"'),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"\\ud800"', '"\\ud800"'),
        ("[1.0]", "[1.0]"),
        ("null", "null"),
    ],
)
def test_a_report_has_keys_to_the_digit(load: Loader, given: str, reported: str) -> None:
    load(
        schema(keys=["id"], id={}, n={"type": "integer"}),
        as_line(f'{{"id":{given},"n":"x"}}'),
        max_rejected_records=1,
    )
    assert not load.records
    assert keys(load) == [f'{{"id":{reported}}}']
    assert json.loads(load.reports[0])["key"] == json.loads(f'{{"id":{reported}}}')


def test_a_number_that_json_cannot_represent_is_reported_as_received_and_the_run_continues(
    load: Loader,
) -> None:
    odd = '{"id":2,"n":NaN,"m":[Infinity,-Infinity],"p":1.10}'
    load(schema(), record(id=1), as_line(odd), record(id=3), max_rejected_records=1)
    assert load.records == [{"id": 1}, {"id": 3}]
    assert f'"record":{odd},' in load.reports[0]


def test_byte_order_marks_of_input_and_batch_files_are_skipped(
    load: Loader, tmp_path: Path
) -> None:
    lines = [b"\xef\xbb\xbf" + as_bytes([json.dumps({"id": number})]) for number in (2, 3)]
    (tmp_path / "rows.gz").write_bytes(gzip.compress(b"".join(lines)))
    batch = {
        "type": "BATCH",
        "stream": "orders",
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "manifest": ["file://rows.gz"],
    }
    marked: list[Line] = [b"\xef\xbb\xbf" + as_bytes([schema()]).rstrip(), record(id=1), batch]
    load(*marked)
    assert load.records == [{"id": 1}, {"id": 2}, {"id": 3}]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_flattening_a_property_that_is_an_object_or_null_rejects_nothing(
    load: Loader, keyword: str
) -> None:
    shape = {"type": "object", "properties": {"city": {"type": "string"}}}
    load(
        schema(keys=["id"], id={}, address={keyword: [shape, {"type": "null"}]}),
        record(id=1, address={"city": "Bonn"}),
        record(id=2, address=None),
        record(id=3),
        record(id=4, address={}),
        flattening_enabled=True,
        flattening_max_depth=2,
    )
    assert load.records == [{"id": 1, "address__city": "Bonn"}, {"id": 2}, {"id": 3}, {"id": 4}]


@pytest.mark.parametrize(
    ("field", "value", "flat"),
    [
        ({}, 5, {"a": 5}),
        ({}, [1], {"a": "[1]"}),
        ({}, {"b": 1}, {"a": '{"b":1}'}),
        ({"enum": ["x", "y"]}, "x", {"a": "x"}),
        ({"type": ["array", "integer"]}, 5, {"a": 5}),
        ({"type": ["object", "integer", "null"]}, 5, {"a": 5}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5, {"a": 5}),
        ({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]}, None, {"a": None}),
        ({"anyOf": [{"$ref": "#/definitions/b"}, {"type": "null"}]}, {"b": 5}, {"a__b": 5}),
        ({"type": "object", "properties": {"b": {}}}, {"b": {"c": 1}}, {"a__b": '{"c":1}'}),
        ({"type": "object", "properties": {"b": {}}}, {"b": 1, "c": 2}, {"a__b": 1, "a__c": 2}),
        ({"allOf": [{"properties": {"b": {}}}, {"properties": {"c": {}}}]}, {"c": 1}, {"a__c": 1}),
        ({"type": ["object", "string"], "properties": {"b": {}}}, "x", {"a": "x"}),
    ],
)
def test_flattening_accepts_what_the_schema_allows(
    load: Loader, field: dict[str, Any], value: Any, flat: dict[str, Any]
) -> None:
    whole = {
        "type": "object",
        "properties": {"a": field},
        "definitions": {"b": {"type": "object", "properties": {"b": {"type": "integer"}}}},
        "required": ["a"],
        "additionalProperties": False,
    }
    load(
        {"type": "SCHEMA", "stream": "orders", "schema": whole, "key_properties": []},
        record(a=value),
        flattening_enabled=True,
        flattening_max_depth=1,
    )
    assert load.records == [flat]


def test_flattening_keeps_a_key_that_is_an_object(load: Loader) -> None:
    key = {"type": "object", "properties": {"id": {"type": "integer"}}}
    load(
        schema(keys=["a"], a=key, b=key),
        record(a={"id": 1}, b={"id": 2}),
        record(a={}),
        flattening_enabled=True,
        flattening_max_depth=1,
    )
    assert load.records == [{"a": '{"id":1}', "b__id": 2}, {"a": "{}"}]


@pytest.mark.parametrize(
    "stream", ["a\nb", "a\r\nERROR b", "x" * 4_000, "\u00e9" * 300, "a/../b", "..", "\u2028"]
)
def test_a_stream_of_any_name_is_loaded_reported_and_logged_in_lines(
    load: Loader, stream: str
) -> None:
    outcome = load(
        schema(stream, keys=["id"], id={"type": "integer"}),
        record(stream, id=1),
        record(stream, id="x"),
        max_rejected_records=1,
    )
    assert load.records == [{"id": 1}]
    assert [json.loads(line)["stream"] for line in load.reports] == [stream]
    for line in outcome.log.splitlines():
        assert line[:4].isdigit(), outcome.log
