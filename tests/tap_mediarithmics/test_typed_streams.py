"""Columns come from the live schema, from a sample, or from the settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from tap_mediarithmics.coercion import DATE
from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

QUERY = (
    "SELECT { id creation_ts profiles { gender birth_date newsletter interests } } FROM UserPoint"
)


def nullable(name: str, **more: Any) -> dict[str, Any]:
    return {"type": [name, "null"], **more}


TYPED = {
    "id": nullable("string"),
    "creation_ts": nullable("string", format="date-time"),
    "profiles": nullable(
        "array",
        items=nullable(
            "object",
            properties={
                "gender": nullable("string"),
                "birth_date": DATE,
                "newsletter": nullable("boolean"),
                "interests": nullable("array", items=nullable("string")),
            },
        ),
    ),
}
ADDED = {
    "_execution_id": {"type": "string"},
    "_execution_creation_date": {"type": "string", "format": "date-time"},
    "_line": {"type": "integer"},
    "_extra": nullable("object"),
}


@pytest.mark.parametrize("way", ["query", "query_id", "export_id"])
def test_the_live_schema_types_a_stream_for_every_way_to_give_its_query(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, way: str
) -> None:
    query = vendor.add_query(QUERY)
    export = vendor.add_export("Typed", query)
    item = {"query": QUERY, "query_id": query, "export_id": export}
    vendor.add_execution(export)
    output = sync({**config, "exports": [{"stream": "users", way: item[way]}]})
    assert output.schema("users")["schema"]["properties"] == {**TYPED, **ADDED}
    assert output.counts["users"] == len(vendor.objects("UserPoint"))
    received = {each["id"]: each for each in vendor.objects("UserPoint")}
    for record in output.records("users"):
        assert set(record) == {*TYPED, *ADDED} - {"_extra"}
        assert record["creation_ts"].endswith(
            f".{received[record['id']]['creation_ts'] % 1000:03}Z"
        )


def test_without_a_datamart_the_newest_result_is_sampled(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    export = vendor.add_export("Sampled", QUERY)
    vendor.add_execution(export, files=[lines({"id": 1, "tags": ["a"]}, {"id": 2, "x": 0.5})])
    del config["datamart_id"]
    output = sync({**config, "exports": [{"stream": "users", "export_id": export}]})
    assert output.schema("users")["schema"]["properties"] == {
        "id": nullable("integer"),
        "tags": nullable("array", items=nullable("string")),
        "x": nullable("number"),
        **ADDED,
    }
    assert vendor.requests_to("datamarts/") == []


def test_a_sample_reads_only_a_part_of_a_large_result(
    vendor: Mediarithmics, config: dict[str, Any]
) -> None:
    export = vendor.add_export("Sampled", QUERY)
    line = json.dumps({"id": "x" * 1000}).encode() + b"\n"
    vendor.add_execution(export, files=[line * 20_000])
    del config["datamart_id"]
    tap = TapMediarithmics(config={**config, "exports": [{"stream": "users", "export_id": export}]})
    assert tap.streams["users"].schema["properties"]["id"] == nullable("string")


@pytest.mark.parametrize(
    "query",
    ["SELECT { alias: id } FROM UserPoint", "SELECT { id } FROM Ghost"],
)
def test_for_an_untyped_query_the_columns_come_from_the_sample(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any, query: str
) -> None:
    export = vendor.add_export("Sampled", query)
    vendor.add_execution(export, files=[lines({"alias": True})])
    output = sync({**config, "exports": [{"stream": "users", "export_id": export}]})
    assert output.schema("users")["schema"]["properties"]["alias"] == nullable("boolean")


@pytest.mark.parametrize("path", ["graphdb_runtime_schemas", "object_types/deep"])
@pytest.mark.parametrize(
    "response", [{"status": 403}, {"status": 200, "body": {"status": "ok", "data": 5}}]
)
def test_without_a_schema_the_columns_come_from_the_sample(
    vendor: Mediarithmics,
    config: dict[str, Any],
    sync: Any,
    sandbox: Sandbox,
    *,
    lines: Any,
    path: str,
    response: dict[str, Any],
) -> None:
    export = vendor.add_export("Sampled", QUERY)
    vendor.add_execution(export, files=[lines({"id": 7})])
    sandbox.faults.add("mediarithmics", path, times=None, **response)
    output = sync({**config, "exports": [{"stream": "users", "export_id": export}]})
    assert output.schema("users")["schema"]["properties"]["id"] == nullable("integer")


def test_without_schema_and_sample_the_selected_fields_are_columns_of_any_kind(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mediarithmics", "graphdb_runtime_schemas", status=403, times=None)
    item = {"stream": "users", "query": "SELECT { id profiles { gender } } FROM UserPoint"}
    output = sync({**config, "exports": [item]})
    columns = output.schema("users")["schema"]["properties"]
    assert set(columns) == {"id", "profiles", *ADDED}
    assert {"string", "object", "null"} < set(columns["profiles"]["type"])
    assert {each["id"] for each in output.records("users")} == {
        each["id"] for each in vendor.objects("UserPoint")
    }


@pytest.mark.parametrize("way", ["query_id", "export_id"])
def test_a_first_run_without_a_catalog_is_typed_from_its_own_result(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, way: str
) -> None:
    query = vendor.add_query("SELECT { id } FROM UserPoint")
    export = vendor.add_export("New", query)
    del config["datamart_id"]
    item = {"stream": "users", way: {"query_id": query, "export_id": export}[way], "mode": "run"}
    output = sync({**config, "exports": [item]})
    assert output.schema("users")["schema"]["properties"] == {"id": nullable("string"), **ADDED}
    assert len(output.records("users")) == len(vendor.objects("UserPoint"))
    assert len([each for each in vendor.requests_to("executions") if each.method == "POST"]) == 1


def test_without_known_columns_nothing_is_lost(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, caplog: Any
) -> None:
    export = vendor.add_export("New", "SELECT { id } FROM UserPoint")
    del config["datamart_id"]
    settings = {**config, "exports": [{"stream": "users", "export_id": export, "mode": "run"}]}
    catalog = TapMediarithmics(config=settings, setup_mapper=False).catalog_dict
    assert all(each.method == "GET" for each in vendor.requests_to("executions"))
    output = sync(settings, catalog=catalog)
    assert {each["_extra"]["id"] for each in output.records("users")} == {
        each["id"] for each in vendor.objects("UserPoint")
    }
    assert "no result to infer its columns from" in caplog.text


def test_declared_columns_take_precedence_and_their_types_are_applied(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    export = vendor.add_export("Declared", QUERY)
    vendor.add_execution(export, files=[lines({"id": 5, "ts": 1000, "more": 1}, {"id": True})])
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "ts": {"type": "string", "format": "date-time"},
        },
    }
    output = sync(
        {
            **config,
            "exports": [
                {"stream": "users", "export_id": export, "schema": schema, "primary_keys": ["id"]},
            ],
        }
    )
    assert output.schema("users")["schema"]["properties"] == {**schema["properties"], **ADDED}
    assert output.schema("users")["key_properties"] == ["id"]
    first, second = output.records("users")
    assert (first["id"], first["ts"]) == ("5", "1970-01-01T00:00:01.000Z")
    assert first["_extra"] == {"more": 1}
    assert (second["id"], second["_extra"]) == ("true", {"id": True})


def test_a_key_without_a_type_gets_a_column_too(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    export = vendor.add_export("Keyed", QUERY)
    vendor.add_execution(export, files=[lines({"id": 5})])
    output = sync(
        {
            **config,
            "exports": [
                {"stream": "users", "export_id": export, "primary_keys": ["id", "region"]},
            ],
        }
    )
    assert "region" in output.schema("users")["schema"]["properties"]


@pytest.mark.parametrize("way", ["export_id", "query_id"])
def test_a_stored_aggregation_is_an_error_with_a_reason(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, way: str
) -> None:
    query = vendor.add_query("SELECT @count{} FROM UserPoint")
    given = {"export_id": vendor.add_export("Totals", query), "query_id": query}[way]
    with pytest.raises(MartechError, match=r"stream 'totals': @count at line 1.*instead of"):
        sync({**config, "exports": [{"stream": "totals", way: given}]})


def test_each_discovered_export_gets_a_stream_except_aggregations_and_known_ones(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, caplog: Any
) -> None:
    known = vendor.exports()[0]["id"]
    totals = vendor.add_export("Totals", "SELECT @count{} FROM UserPoint")
    output = sync(
        {**config, "discover_exports": True, "exports": [{"stream": "mine", "export_id": known}]}
    )
    streams = {each["stream"] for each in output.messages if each["type"] == "SCHEMA"}
    others = {f"export_{each['id']}" for each in vendor.exports()} - {f"export_{known}"}
    assert streams == {"mine", *others} - {f"export_{totals}"}
    assert f"export {totals} is left out: @count" in caplog.text


def test_with_a_catalog_columns_are_not_requested_from_the_vendor(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    export = vendor.add_export("Typed", QUERY)
    vendor.add_execution(export)
    settings = {**config, "exports": [{"stream": "users", "export_id": export}]}
    catalog = json.loads(TapMediarithmics(config=settings).catalog_json_text)
    catalog["streams"] = [each for each in catalog["streams"] if each["stream"] == "users"]
    del catalog["streams"][0]["schema"]["properties"]["profiles"]
    vendor.requests.clear()
    output = sync(settings, catalog=catalog)
    assert vendor.requests_to("datamarts/") == []
    assert all("profiles" in each["_extra"] for each in output.records("users"))
    assert {each["type"] for each in output.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert list(output.counts) == ["users"]


def test_deselected_columns_are_left_out(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    export = vendor.add_export("Typed", QUERY)
    vendor.add_execution(export)
    settings = {**config, "exports": [{"stream": "users", "export_id": export}]}
    catalog = json.loads(TapMediarithmics(config=settings).catalog_json_text)
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"] == ["properties", "profiles"]:
                metadata["metadata"]["selected"] = False
    output = sync(settings, catalog=catalog)
    assert "profiles" not in output.schema("users")["schema"]["properties"]
    assert all("profiles" not in each for each in output.records("users"))
    assert output.counts["users"] == len(vendor.objects("UserPoint"))


def test_both_writing_paths_give_the_same_messages(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, lines: Any
) -> None:
    export = vendor.add_export(
        "Both", "SELECT { id creation_ts profiles { lifetime_value } } FROM UserPoint"
    )
    vendor.add_execution(
        export,
        files=[
            lines(
                {"id": "é", "creation_ts": 1, "profiles": [{"lifetime_value": 0.1}]},
                {},
                {"id": None},
                {"id": 5},
                {"new": {"x": [1.50]}},
                {"profiles": [{"new": 1}]},
                {"creation_ts": "2021-02-08T13:08:22Z"},
                {"creation_ts": "soon"},
            )
            + b'{"profiles":[{"lifetime_value":123456789.123456789123456789}]}\n'
            + b'{"id":"\\ud83d\\ude00"}\n'
        ],
    )
    settings = {**config, "exports": [{"stream": "both", "export_id": export}]}
    fast = sync(settings)
    slow = sync({**settings, "stream_maps": {"both": {"__alias__": "both"}}})
    assert slow.records("both") == fast.records("both")
    assert fast.counts["both"] == 10
    assert slow.bookmark("both") == fast.bookmark("both")


def test_stream_maps_apply(vendor: Mediarithmics, config: dict[str, Any], sync: Any) -> None:
    export = vendor.add_export("Mapped", QUERY)
    vendor.add_execution(export)
    settings = {**config, "exports": [{"stream": "users", "export_id": export}]}
    output = sync({**settings, "stream_maps": {"users": {"id": "md5(id)"}}})
    assert all(len(each["id"]) == 32 for each in output.records("users"))
