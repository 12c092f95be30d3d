from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.mediarithmics.client import MediarithmicsClient
from singer_martech.mediarithmics.imports import NDJSON, Definition, DocumentImport, DocumentImports
from tests.target_mediarithmics.conftest import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.target_mediarithmics.conftest import Run

FREE = {"document_type": "ANYTHING"}


def definitions(vendor: Mediarithmics) -> list[tuple[str, str, str]]:
    return [(each["name"], each["document_type"], each["mime_type"]) for each in vendor.imports()]


def test_an_import_is_created_under_the_streams_name_with_the_first_upload(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(schema(), record(id=1), streams={"list": {**FREE, "priority": "HIGH"}})
    assert run.error is None
    (definition,) = vendor.imports()
    assert definition["name"] == "singer-martech list"
    assert definition["document_type"] == "ANYTHING"
    assert definition["mime_type"] == "APPLICATION_X_NDJSON"
    assert definition["encoding"] == "utf-8"
    assert definition["priority"] == "HIGH"


def test_a_stream_without_records_creates_nothing(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    assert load(schema(), streams={"list": FREE}).error is None
    assert vendor.imports() == []


def test_the_next_run_finds_the_import_by_its_name(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    load(schema(), record(id=1), streams={"list": FREE})
    load(schema(), record(id=2), streams={"list": FREE})
    assert len(vendor.imports()) == 1
    assert vendor.documents("singer-martech list") == [{"id": 1}, {"id": 2}]


def test_only_the_exact_name_counts_on_any_page(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.max_results = 3
    for number in range(7):
        vendor.add_import(f"CRM list {number}", "ANYTHING")
    wanted = vendor.add_import("CRM list", "ANYTHING")
    streams = {"list": {**FREE, "document_import_name": "CRM list"}}
    assert load(schema(), record(id=1), streams=streams).error is None
    assert len(vendor.imports()) == 8
    assert vendor.documents(wanted) == [{"id": 1}]


def test_a_search_that_misses_the_name_does_not_make_it_free(
    sandbox: Sandbox, vendor: Mediarithmics, settings: dict[str, Any]
) -> None:
    wanted = vendor.add_import("there", "ANYTHING")
    nothing = {"status": "ok", "data": [], "count": 0, "total": 0}
    sandbox.faults.add("mediarithmics", "*/document_imports", status=200, body=nothing)
    client = MediarithmicsClient(settings["api_token"], settings["api_url"])
    imports = DocumentImports(client, settings["datamart_id"])
    found = imports.find_or_create(Definition("there", "ANYTHING"))
    client.http.close()
    assert found.id == wanted
    assert vendor.requests_to("document_imports$", "POST") == []


def test_the_whole_list_is_read_once_for_all_names_that_are_new(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    names = [f"new_{number}" for number in range(8)]
    messages = [line for name in names for line in (schema(name), record(name, id=1))]
    assert load(*messages, streams={"*": FREE}, parallel_requests=4).error is None
    assert len(vendor.imports()) == len(names)
    searches = vendor.requests_to("document_imports$", "GET")
    assert sum("keywords" not in request.query for request in searches) == 1


def test_a_creation_is_compared_with_a_list_that_is_read_after_it(
    sandbox: Sandbox, vendor: Mediarithmics, settings: dict[str, Any]
) -> None:
    client = MediarithmicsClient(settings["api_token"], settings["api_url"])
    imports = DocumentImports(client, settings["datamart_id"])
    imports.find_or_create(Definition("first", "ANYTHING"))
    of_another_run = vendor.add_import("second", "ANYTHING")
    nothing = {"status": "ok", "data": [], "count": 0, "total": 0}
    fault = {"method": "GET", "status": 200, "body": nothing, "times": 2}
    sandbox.faults.add("mediarithmics", "*/document_imports", **fault)
    found = imports.find_or_create(Definition("second", "ANYTHING"))
    client.http.close()
    assert found.id == of_another_run
    assert [each["name"] for each in vendor.imports()] == ["first", "second"]


def test_the_oldest_matching_import_of_several_with_one_name_is_used(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.add_import("singer-martech list", "USER_PROFILE")
    second = vendor.add_import("singer-martech list", "ANYTHING")
    vendor.add_import("singer-martech list", "ANYTHING")
    assert load(schema(), record(id=1), streams={"list": FREE}).error is None
    assert vendor.documents(second) == [{"id": 1}]


def test_a_glob_names_an_import_for_each_stream(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    streams = {"crm_*": {**FREE, "document_import_name": "CRM: {{ stream }}"}}
    messages = [schema("crm_a"), record("crm_a", id=1), schema("crm_b"), record("crm_b", id=2)]
    assert load(*messages, streams=streams).error is None
    assert [name for name, _, _ in definitions(vendor)] == ["CRM: crm_a", "CRM: crm_b"]


def test_an_import_can_be_given_by_its_id(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    wanted = vendor.add_import("by hand", "ANYTHING")
    streams = {"list": {**FREE, "document_import_id": int(wanted)}}
    assert load(schema(), record(id=1), streams=streams).error is None
    assert vendor.documents(wanted) == [{"id": 1}]
    assert len(vendor.imports()) == 1


@pytest.mark.parametrize(
    ("existing", "mapping", "parts"),
    [
        (None, {"document_import_id": "1"}, ["document_import_id", "no document import 1"]),
        (
            {"document_type": "USER_PROFILE"},
            {"document_import_id": "20001"},
            ["document_import_id", "accepts USER_PROFILE as APPLICATION_X_NDJSON, not ANYTHING"],
        ),
        (
            {"document_type": "ANYTHING", "mime_type": "TEXT_CSV"},
            {"document_import_name": "there"},
            ["document_import_name", "accepts ANYTHING as TEXT_CSV, not ANYTHING"],
        ),
        (
            {"document_type": "ANYTHING", "encoding": "latin-1"},
            {"document_import_name": "there"},
            ["document_import_name", "latin-1"],
        ),
    ],
)
def test_an_import_that_does_not_fit_ends_the_run_when_the_schema_arrives(
    vendor: Mediarithmics,
    load: Callable[..., Run],
    existing: dict[str, str] | None,
    mapping: dict[str, Any],
    parts: list[str],
) -> None:
    if existing:
        vendor.add_import("there", **existing)
    run = load(schema(), streams={"list": {**FREE, **mapping}})
    for part in ["stream 'list'", *parts]:
        assert part in str(run.error)
    assert vendor.import_executions() == []


def test_a_stream_without_a_mapping_ends_the_run_when_its_schema_arrives(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(schema("other"), streams={"list": FREE})
    assert "stream 'other' has no mapping" in str(run.error)
    assert vendor.requests == []


def test_streams_may_share_an_import_and_then_share_its_executions(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    shared = {**FREE, "document_import_name": "both"}
    streams = {"a": shared, "b": shared}
    run = load(
        schema("a"), schema("b"), record("a", id=1), record("b", id=2), record("a", id=3),
        streams=streams,
    )  # fmt: skip
    assert run.error is None
    assert [each["id"] for each in vendor.documents("both")] == [1, 2, 3]
    assert len(vendor.import_executions()) == 1
    assert run.counts("a")["delivered"] == 2
    assert run.counts("b")["delivered"] == 1


def test_an_import_that_was_created_in_this_run_is_shared_by_a_later_stream(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    shared = {**FREE, "document_import_name": "both"}
    run = load(
        schema("a"), record("a", id=1), schema("b"), record("b", id=2), record("a", id=3),
        streams={"a": shared, "b": shared},
    )  # fmt: skip
    assert run.error is None
    assert len(vendor.imports()) == 1
    assert [each["id"] for each in vendor.documents("both")] == [1, 2, 3]


def test_streams_of_different_types_cannot_share_a_new_import(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    streams = {
        "a": {**FREE, "document_import_name": "both"},
        "b": {"document_type": "OTHER", "document_import_name": "both"},
    }
    run = load(schema("a"), schema("b"), streams=streams)
    assert "streams 'a' and 'b' share document import 'both'" in str(run.error)
    assert vendor.imports() == []


def test_runs_that_start_together_create_the_import_once(
    vendor: Mediarithmics, settings: dict[str, Any]
) -> None:
    vendor.creation_latency = 0.2
    wanted = Definition("together", "ANYTHING")
    found = []

    def one_run() -> None:
        client = MediarithmicsClient(settings["api_token"], settings["api_url"])
        found.append(DocumentImports(client, settings["datamart_id"]).find_or_create(wanted))
        client.http.close()

    runs = [threading.Thread(target=one_run) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len({each.id for each in found}) == 1
    assert [each["id"] for each in vendor.imports()] == [found[0].id]
    assert len(vendor.requests_to("document_imports$", "POST")) > 1


def test_streams_that_start_together_create_their_import_once(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.creation_latency = 0.1
    shared = {**FREE, "document_import_name": "both"}
    run = load(
        schema("a"),
        schema("b"),
        *[record("ab"[number % 2], id=number) for number in range(8)],
        streams={"a": shared, "b": shared},
        max_request_rows=1,
        parallel_requests=4,
    )
    assert run.error is None
    assert len(vendor.requests_to("document_imports$", "POST")) == 1
    assert len(vendor.documents("both")) == 8


def test_an_import_whose_creation_got_no_response_is_found(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/document_imports", method="POST", reset="after")
    assert load(schema(), record(id=1), streams={"list": FREE}).error is None
    assert len(vendor.imports()) == 1
    assert vendor.documents() == [{"id": 1}]


def test_a_dry_run_creates_and_sends_nothing(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(schema(), record(id=1), '{"type":"STATE","value":1}', streams={"list": FREE},
               dry_run=True)  # fmt: skip
    assert run.error is None
    assert run.states == []
    assert vendor.imports() == []
    assert {request.method for request in vendor.requests} == {"GET"}
    (shown,) = [line for line in run.log if "dry run" in line]
    assert '{"id": 1}' in shown
    assert "not created yet" in shown


def test_a_dry_run_still_checks_an_import_that_is_given_by_its_id(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    streams = {"list": {**FREE, "document_import_id": "1"}}
    run = load(schema(), record(id=1), streams=streams, dry_run=True)
    assert "no document import 1" in str(run.error)
    assert vendor.imports() == []


def test_the_priority_of_an_import_that_exists_stays_with_a_warning(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.add_import("singer-martech list", "ANYTHING", priority="LOW")
    run = load(schema(), record(id=1), streams={"list": {**FREE, "priority": "HIGH"}})
    assert run.error is None
    assert any("keeps its priority LOW" in line for line in run.log)
    assert vendor.imports()[0]["priority"] == "LOW"


def test_a_field_that_the_vendor_omits_is_not_a_mismatch() -> None:
    found = DocumentImport.read({"id": 5, "name": "visits"}).check("USER_ACTIVITY", NDJSON)
    assert (found.id, found.document_type, found.mime_type) == ("5", "USER_ACTIVITY", NDJSON)
