"""The mediarithmics client alone, against the sandbox."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.http.errors import (
    IncompleteBody,
    RequestRejected,
    RetriesExhausted,
)
from singer_martech.http.settings import HttpSettings
from singer_martech.mediarithmics.client import MediarithmicsClient, UnexpectedResponse
from singer_martech.mediarithmics.datamart import Datamart, InvalidQuery
from singer_martech.mediarithmics.executions import Execution, id_order
from singer_martech.mediarithmics.exports import Exports
from singer_martech.runtime.redaction import redact
from tests.sandbox.impostors import IMPOSTORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.http.response import Response
    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

ERROR = {"status": "error", "error": "Resource Not Found", "error_id": "9eedef5f-dfe3"}


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    return sandbox.mediarithmics


@pytest.fixture
def client(vendor: Mediarithmics) -> MediarithmicsClient:
    return MediarithmicsClient(
        vendor.api_token, vendor.api_url, settings=HttpSettings(max_attempts=2)
    )


@pytest.fixture
def exports(client: MediarithmicsClient, vendor: Mediarithmics) -> Exports:
    return Exports(client, vendor.organisation_id, poll_interval_seconds=0.001)


@pytest.fixture
def datamart(client: MediarithmicsClient, vendor: Mediarithmics) -> Datamart:
    return Datamart(client, vendor.datamart_id)


def test_the_token_is_sent_as_it_is_and_registered_as_a_secret(
    vendor: Mediarithmics, exports: Exports
) -> None:
    assert [each.id for each in exports.all()] == [each["id"] for each in vendor.exports()]
    assert vendor.api_token not in redact(f"token {vendor.api_token}")


def test_one_export_is_read_and_its_ids_are_text(vendor: Mediarithmics, exports: Exports) -> None:
    export_id = vendor.add_export("N", "7")
    export = exports.get(export_id)
    assert (export.id, export.name, export.query_id, export.datamart_id) == (
        export_id,
        "N",
        "7",
        vendor.datamart_id,
    )


@pytest.mark.parametrize("with_total", [True, False])
@pytest.mark.parametrize("count", [0, 3, 7, 8])
def test_pages_end_with_or_without_a_total(
    vendor: Mediarithmics, exports: Exports, with_total: bool, count: int
) -> None:
    vendor.with_total = with_total
    vendor.max_results = 4
    export = vendor.add_export("N", "7")
    made = [vendor.add_execution(export, created=1000 + number) for number in range(count)]
    found = [each.id for page in exports.executions(export) for each in page]
    assert found == made[::-1]


def test_rows_that_move_to_the_next_page_meanwhile_come_once(
    vendor: Mediarithmics, exports: Exports
) -> None:
    vendor.max_results = 4
    export = vendor.add_export("N", "7")
    made = [vendor.add_execution(export, created=1000 + number) for number in range(8)]
    pages = exports.executions(export)
    found = [each.id for each in next(pages)]
    vendor.add_execution(export, created=2000)
    found += [each.id for page in pages for each in page]
    assert found == made[::-1]


def test_a_list_without_pages_and_total_is_read_once(
    client: MediarithmicsClient, sandbox: Sandbox
) -> None:
    body = {"status": "ok", "data": [{"id": str(row)} for row in range(50)]}
    sandbox.faults.add("mediarithmics", "*/exports", status=200, body=body, times=None)
    rows = [row["id"] for page in client.pages("exports", label="exports") for row in page]
    assert rows == [str(row) for row in range(50)]


def test_an_endless_list_is_an_error(
    client: MediarithmicsClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singer_martech.mediarithmics.client._MAX_PAGES", 3)
    for number in range(4):
        rows = [{"id": f"{number}-{row}"} for row in range(50)]
        sandbox.faults.add(
            "mediarithmics",
            "*/exports",
            after=0,
            status=200,
            body={"status": "ok", "data": rows, "total": 10**9},
        )
    with pytest.raises(UnexpectedResponse, match="does not end within 3 pages"):
        list(client.pages("exports", label="exports"))


def test_a_rejection_has_the_error_and_its_id(exports: Exports, sandbox: Sandbox) -> None:
    sandbox.faults.add("mediarithmics", "exports/5", status=404, body=ERROR)
    with pytest.raises(RequestRejected) as error:
        exports.get("5")
    assert str(error.value) == ("export 5: Resource Not Found, error_id 9eedef5f-dfe3 (status 404)")
    assert error.value.status == 404


def test_a_permanent_failure_has_the_error_id_too(exports: Exports, sandbox: Sandbox) -> None:
    sandbox.faults.add("mediarithmics", "exports/5", status=503, body=ERROR, times=None)
    with pytest.raises(RetriesExhausted, match=r"max_attempts.*error_id 9eedef5f-dfe3"):
        exports.get("5")


@pytest.mark.parametrize("more", [{}, {"data": None}, {"data": []}])
def test_an_error_with_status_200_is_retried_and_has_the_error_id(
    exports: Exports, sandbox: Sandbox, more: dict[str, Any]
) -> None:
    body = {**ERROR, **more}
    sandbox.faults.add("mediarithmics", "exports/5", status=200, body=body, times=None)
    with pytest.raises(RetriesExhausted, match="Resource Not Found, error_id 9eedef5f-dfe3"):
        exports.get("5")


def read_all(exports: Exports) -> Any:
    return [each.id for each in exports.all()]


def read_one(exports: Exports) -> Any:
    return exports.get(read_all(exports)[0]).id


def list_executions(exports: Exports) -> Any:
    return [each.id for page in exports.executions(read_all(exports)[-1]) for each in page]


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("action", [read_all, read_one, list_executions])
def test_a_response_that_is_not_the_vendors_is_not_a_success(
    exports: Exports, sandbox: Sandbox, impostor: str, action: Callable[[Exports], Any]
) -> None:
    expected = action(exports)
    sandbox.faults.add("mediarithmics", impostor=impostor)
    assert action(exports) == expected


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("after_acting", [True, False])
def test_an_execution_is_launched_once_despite_a_foreign_response(
    vendor: Mediarithmics, exports: Exports, sandbox: Sandbox, impostor: str, after_acting: bool
) -> None:
    export = vendor.add_export("N", "SELECT { id } FROM UserPoint")
    sandbox.faults.add(
        "mediarithmics", "executions", method="POST", impostor=impostor, after_acting=after_acting
    )
    launched = exports.launch(export)
    assert [str(each.id) for each in vendor.export_executions(export)] == [launched.id]


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("after_acting", [True, False])
def test_an_export_is_created_once_despite_a_foreign_response(
    vendor: Mediarithmics, exports: Exports, sandbox: Sandbox, impostor: str, after_acting: bool
) -> None:
    query = vendor.add_query("SELECT { id } FROM UserPoint")
    sandbox.faults.add(
        "mediarithmics", "exports", method="POST", impostor=impostor, after_acting=after_acting
    )
    created = exports.create("Mine", query)
    assert [each["id"] for each in vendor.exports() if each["name"] == "Mine"] == [created.id]


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_query_is_rewritten_despite_a_foreign_response(
    datamart: Datamart, sandbox: Sandbox, impostor: str
) -> None:
    query = datamart.create_query("SELECT { id } FROM UserPoint")
    for method in ("PUT", "GET", "POST"):
        sandbox.faults.add("mediarithmics", method=method, impostor=impostor)
    datamart.rewrite_query(query, "SELECT { id } FROM UserActivity")
    datamart.check_query("SELECT { id } FROM UserPoint")
    assert datamart.query_text(query) == "SELECT { id } FROM UserActivity"


def test_the_message_of_an_error_object_is_shown(exports: Exports, sandbox: Sandbox) -> None:
    body = {"status": "error", "error": {"message": "Quota"}, "error_id": "e"}
    sandbox.faults.add("mediarithmics", "exports/5", status=400, body=body)
    with pytest.raises(RequestRejected, match="export 5: Quota, error_id e"):
        exports.get("5")


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"id": "1"}, {"creation_date": 1}, "text", {"id": "1", "creation_date": "soon"}],
)
def test_an_execution_without_required_members_is_an_invalid_response(
    vendor: Mediarithmics, exports: Exports, sandbox: Sandbox, data: Any
) -> None:
    body = {"status": "ok", "data": data}
    sandbox.faults.add(
        "mediarithmics", "executions", method="POST", status=200, body=body, times=None
    )
    with pytest.raises(RetriesExhausted, match="launch of export"):
        exports.launch(vendor.exports()[0]["id"])


def execution(**fields: Any) -> Execution:
    return Execution.read({"id": "1", "creation_date": 5, "status": "SUCCEEDED", **fields})


@pytest.mark.parametrize(
    ("status", "succeeded", "failed", "is_running"),
    [
        ("SUCCEEDED", True, False, False),
        ("SUCCESS", True, False, False),
        ("FAILED", False, True, False),
        ("CANCELED", False, True, False),
        ("PENDING", False, False, True),
        ("RUNNING", False, False, True),
        ("SCHEDULED", False, False, True),
        ("WAITING_DEPENDENT_JOB", False, False, True),
        ("EXECUTOR_NOT_RESPONDING", False, False, False),
        ("LOST", False, False, False),
        ("NEW_ONE", False, False, False),
        ("", False, False, False),
    ],
)
def test_statuses_are_distinguished(
    status: str, succeeded: bool, failed: bool, is_running: bool
) -> None:
    seen = execution(status=status)
    assert (seen.succeeded, seen.failed, seen.is_running) == (succeeded, failed, is_running)
    assert seen.has_ended is (succeeded or failed)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, ""), ("Gone", "Gone"), ({"message": "Gone"}, "Gone"), ({"code": 1}, "{'code': 1}")],
)
def test_the_error_of_an_execution_has_three_forms(error: Any, expected: str) -> None:
    assert execution(error=error).error == expected


@pytest.mark.parametrize(
    "result",
    [None, {}, {"output_files": None}, {"output_files": []}, {"output_files": [None]}, "x"],
)
def test_a_result_that_names_no_file_has_one_named_export(result: Any) -> None:
    assert execution(result=result).output_files == ["export"]


def test_tasks_are_numbers_or_unknown() -> None:
    seen = execution(num_tasks=5, completed_tasks=None, erroneous_tasks=True)
    assert [seen.tasks(which) for which in ("num", "completed", "erroneous")] == [5, None, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "\ud800"},
        {"id": "1\n"},
        {"id": "9" * 101},
        {"id": 10**200},
        {"num_tasks": -1},
        {"erroneous_tasks": 10**400},
        {"completed_tasks": -(10**400)},
        {"result": {"output_files": ["export", "\ud800"]}},
    ],
)
def test_an_execution_with_fields_that_cannot_be_used_is_an_invalid_response(
    exports: Exports, vendor: Mediarithmics, sandbox: Sandbox, fields: dict[str, Any]
) -> None:
    row = {"id": "1", "creation_date": 5, "status": "SUCCEEDED", **fields}
    body = json.dumps({"status": "ok", "data": [row]})
    sandbox.faults.add("mediarithmics", "executions", method="GET", status=200, body=body)
    with pytest.raises(UnexpectedResponse, match="executions of export"):
        exports.newest_execution(vendor.exports()[0]["id"])


@pytest.mark.parametrize("name", ["id", "query_id", "datamart_id"])
def test_an_export_with_an_id_that_cannot_be_used_is_an_invalid_response(
    exports: Exports, sandbox: Sandbox, name: str
) -> None:
    body = json.dumps({"status": "ok", "data": {"id": "1", name: "\ud800"}})
    sandbox.faults.add("mediarithmics", "exports", status=200, body=body)
    with pytest.raises(UnexpectedResponse, match="export 1"):
        exports.get("1")


@pytest.mark.parametrize("call", ["create_query", "live_schema_id", "check_query"])
def test_an_object_of_a_datamart_that_cannot_be_used_is_an_invalid_response(
    datamart: Datamart, sandbox: Sandbox, call: str
) -> None:
    row = {"id": "\ud800", "status": "LIVE", "type": {}}
    body = json.dumps({"status": "ok", "data": [row] if call == "live_schema_id" else row})
    sandbox.faults.add("mediarithmics", "datamarts", status=200, body=body)
    arguments = [] if call == "live_schema_id" else ["SELECT {id} FROM UserPoint"]
    with pytest.raises(UnexpectedResponse, match="cannot be used"):
        getattr(datamart, call)(*arguments)


def test_executions_sort_by_date_and_then_by_the_number_in_their_id() -> None:
    seen = [
        execution(id=10),
        execution(id="9"),
        execution(id="x"),
        execution(id=1, creation_date=4),
    ]
    assert [each.id for each in sorted(seen, key=lambda each: each.position)] == [
        "1",
        "x",
        "9",
        "10",
    ]
    assert id_order("²") == (-1, "²")
    assert id_order("9" * 5000) == (-1, "9" * 5000)


@pytest.mark.parametrize("date", [10**30, 1e300, -1])
def test_an_execution_with_a_date_out_of_range_is_an_error(date: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Execution.read({"id": "1", "creation_date": date})


def test_files_come_as_they_were_sent(
    vendor: Mediarithmics, exports: Exports, sandbox: Sandbox
) -> None:
    export = vendor.add_export("N", "7")
    made = Execution.read(vendor.execution(vendor.add_execution(export, files=[b"one\n"])))
    into = io.BytesIO()
    exports.download(export, made, "export", into=into)
    assert into.getvalue() == b"one\n"
    packed = gzip.compress(b"two\n")
    sandbox.faults.add(
        "mediarithmics", "files/", status=200, body=packed, headers={"Content-Encoding": "gzip"}
    )
    exports.download(export, made, "export", into=into)
    assert into.getvalue() == packed


def test_a_file_that_fails_its_check_is_downloaded_again(
    vendor: Mediarithmics, exports: Exports
) -> None:
    export = vendor.add_export("N", "7")
    made = Execution.read(vendor.execution(vendor.add_execution(export, files=[b"one\n"])))
    tries: list[int] = []

    def check(response: Response) -> None:
        tries.append(response.status)
        if len(tries) < 2:
            reason = "not yet"
            raise IncompleteBody(reason)

    exports.download(export, made, "export", into=io.BytesIO(), check=check)
    assert tries == [200, 200]


@pytest.mark.parametrize("packed", [True, False])
def test_the_head_of_a_large_file_is_read_without_the_rest(
    vendor: Mediarithmics, exports: Exports, sandbox: Sandbox, packed: bool
) -> None:
    export = vendor.add_export("N", "7")
    content = b"".join(b'{"id":"%d"}\n' % number for number in range(1_000_000))
    made = Execution.read(vendor.execution(vendor.add_execution(export, files=[content])))
    if packed:
        sandbox.faults.add("mediarithmics", "files/", status=200, body=gzip.compress(content))
    head = exports.head(export, made, 100_000)
    assert content.startswith(head)
    assert 10_000 < len(head) <= 100_000


def test_the_error_file_is_read_by_its_beginning(vendor: Mediarithmics, exports: Exports) -> None:
    export = vendor.add_export("N", "7")
    failed = vendor.add_execution(export, status="FAILED", error_file="line\n" * 100_000)
    head = exports.error_file_head(Execution.read(vendor.execution(failed)))
    assert head.startswith("line line line")
    assert head.endswith("…")
    assert len(head) <= 1001


def test_a_missing_error_file_gives_no_text(vendor: Mediarithmics, exports: Exports) -> None:
    export = vendor.add_export("N", "7")
    made = Execution.read(vendor.execution(vendor.add_execution(export)))
    assert exports.error_file_head(made) == ""


def test_queries_are_stored_read_and_rewritten(datamart: Datamart) -> None:
    query = datamart.create_query("SELECT { id } FROM UserPoint")
    datamart.rewrite_query(query, "SELECT { id } FROM UserActivity")
    assert datamart.query_text(query) == "SELECT { id } FROM UserActivity"


def test_the_query_check_finds_errors_with_their_position(datamart: Datamart) -> None:
    datamart.check_query("SELECT { id } FROM UserPoint")
    with pytest.raises(InvalidQuery, match=r"_ERROR at line \d+, column \d+: ."):
        datamart.check_query("SELECT { id nope } FROM UserPoint")


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_missing_query_check_accepts_every_query(
    datamart: Datamart, sandbox: Sandbox, status: int, caplog: Any
) -> None:
    sandbox.faults.add("mediarithmics", "query_check", status=status)
    datamart.check_query("SELECT { nope } FROM Nowhere")
    assert "the query runs unchecked" in caplog.text


def test_a_query_check_that_rejects_the_request_is_an_error(
    datamart: Datamart, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mediarithmics", "query_check", status=400, body=ERROR)
    with pytest.raises(RequestRejected, match="query check"):
        datamart.check_query("SELECT")


def test_a_query_error_without_a_position_is_reported(datamart: Datamart, sandbox: Sandbox) -> None:
    body = {"status": "ok", "data": {"type": "PARSING_ERROR", "error": "unexpected"}}
    sandbox.faults.add("mediarithmics", "query_check", status=200, body=body)
    with pytest.raises(InvalidQuery, match=r"^PARSING_ERROR: unexpected$"):
        datamart.check_query("SELECT")


def test_the_live_schema_is_found_among_others(vendor: Mediarithmics, datamart: Datamart) -> None:
    assert datamart.live_schema_id() == vendor.live_schema_id


def test_a_datamart_may_have_no_live_schema(datamart: Datamart, sandbox: Sandbox) -> None:
    body = {"status": "ok", "data": [{"id": "1", "status": "DRAFT"}]}
    sandbox.faults.add("mediarithmics", "graphdb_runtime_schemas", status=200, body=body)
    assert datamart.live_schema_id() is None


def test_types_and_text_of_a_schema_are_read(vendor: Mediarithmics, datamart: Datamart) -> None:
    types = datamart.object_types(vendor.live_schema_id)
    assert "UserPoint" in {each["name"] for each in types}
    assert "type UserPoint" in datamart.schema_text(vendor.live_schema_id)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"status":"ok","data":"type T { a: Int }"}', "type T { a: Int }"),
        ('"type T { a: Int }"', "type T { a: Int }"),
        ('"""doc"""\ntype T { a: Int }', '"""doc"""\ntype T { a: Int }'),
        ('{"status":"ok","data":{}}', ""),
    ],
)
def test_the_text_may_come_in_an_envelope(
    datamart: Datamart, sandbox: Sandbox, body: str, expected: str
) -> None:
    sandbox.faults.add("mediarithmics", "/text", status=200, body=body)
    assert datamart.schema_text("1") == expected


def test_ids_cannot_change_the_path(vendor: Mediarithmics, exports: Exports) -> None:
    with pytest.raises(RequestRejected):
        exports.get("../datamarts/1509/queries/65001")
    assert all(each.path.startswith("/mediarithmics/v1/exports/") for each in vendor.requests)
