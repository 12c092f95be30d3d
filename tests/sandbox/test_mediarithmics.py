from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics

NDJSON = "application/x-ndjson"


class Client:
    def __init__(self, vendor: Mediarithmics) -> None:
        self.vendor = vendor
        self.session = requests.Session()
        self.session.headers["Authorization"] = vendor.api_token
        self.organisation = {"organisation_id": vendor.organisation_id}
        self.datamart = f"/datamarts/{vendor.datamart_id}"

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.session.get(self.vendor.api_url + path, params=parameters, timeout=10)

    def post(self, path: str, body: Any, **parameters: Any) -> requests.Response:
        address = self.vendor.api_url + path
        return self.session.post(address, json=body, params=parameters, timeout=10)

    def put(self, path: str, body: Any) -> requests.Response:
        return self.session.put(self.vendor.api_url + path, json=body, timeout=10)

    def executions(self, export_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"/exports/{export_id}/executions").json()["data"])

    def run(self, export_id: str) -> list[Any]:
        """Run an export to its end and return its lines."""
        execution = self.post(f"/exports/{export_id}/executions", {}).json()["data"]["id"]
        self.vendor.finish(execution)
        return self.lines(export_id, execution)

    def lines(self, export_id: str, execution: str, name: str = "export") -> list[Any]:
        response = self.get(
            f"/exports/{export_id}/executions/{execution}/files/technical_name={name}"
        )
        assert response.status_code == 200
        return [json.loads(line) for line in response.content.splitlines()]

    def upload(self, import_id: str, body: str, kind: str = NDJSON) -> requests.Response:
        return self.session.post(
            f"{self.vendor.api_url}{self.datamart}/document_imports/{import_id}/executions",
            data=body.encode(),
            headers={"Content-Type": kind},
            timeout=10,
        )

    def load(self, import_id: str, *documents: Any, kind: str = NDJSON) -> dict[str, Any]:
        """Upload documents, one a line (or one text), end the execution and return it."""
        lines = [item if isinstance(item, str) else json.dumps(item) for item in documents]
        execution = self.upload(import_id, "\n".join(lines) + "\n", kind).json()["data"]["id"]
        self.vendor.finish(execution)
        path = f"{self.datamart}/document_imports/{import_id}/executions/{execution}"
        return dict(self.get(path).json()["data"])

    def data_file(self, uri: str) -> requests.Response:
        return self.get("/data_file/data", uri=uri)


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    return sandbox.mediarithmics


@pytest.fixture
def client(vendor: Mediarithmics) -> Iterator[Client]:
    client = Client(vendor)
    with client.session:
        yield client


# Everywhere.


def test_the_header_has_the_raw_token(client: Client, vendor: Mediarithmics) -> None:
    client.session.headers["Authorization"] = f"Bearer {vendor.api_token}"
    response = client.get("/exports", **client.organisation)
    assert response.status_code == 401
    assert set(response.json()) == {"status", "error", "error_id"}


def test_every_error_has_an_id_of_its_own(client: Client) -> None:
    first = client.get("/exports/1", **client.organisation).json()
    second = client.get("/nothing").json()
    assert first["error"] == second["error"] == "Resource Not Found"
    assert first["error_id"] != second["error_id"]


def test_the_organisation_is_required_and_must_match_the_token(client: Client) -> None:
    assert client.get("/exports").status_code == 400
    assert client.get("/exports", organisation_id="1").status_code == 403
    assert client.get("/datamarts/1/document_imports").status_code == 403


# Exports.


def test_an_invalid_number_is_rejected(client: Client) -> None:
    for odd in ("\u00b2", "-1", "9" * 5000):
        page = {**client.organisation, "first_result": odd}
        assert client.get("/exports", **page).status_code == 400
    path = f"/exports/{client.vendor.exports()[0]['id']}/executions/\u00b2/files"
    assert client.get(f"{path}/technical_name=export").status_code == 404


def test_exports_come_in_pages(client: Client, vendor: Mediarithmics) -> None:
    page = client.get("/exports", **client.organisation, first_result=1, max_results=1).json()
    assert [item["id"] for item in page["data"]] == [vendor.exports()[1]["id"]]
    assert {key: page[key] for key in ("count", "total", "first_result", "max_results")} == {
        "count": 1,
        "total": 3,
        "first_result": 1,
        "max_results": 1,
    }
    vendor.with_total = False
    assert "total" not in client.get("/exports", **client.organisation).json()


def test_an_export_is_created_from_a_query(client: Client) -> None:
    body = {"query_language": "OTQL", "query_text": "SELECT { id } FROM UserPoint"}
    query = client.post(f"{client.datamart}/queries", body).json()["data"]
    definition = {
        "name": "All users",
        "type": "QUERY",
        "output_format": "JSON",
        "query_id": query["id"],
    }
    export = client.post("/exports", definition, **client.organisation).json()["data"]
    assert client.get(f"/exports/{export['id']}", **client.organisation).json()["data"] == export
    assert len(client.run(export["id"])) == 120
    unknown = {**definition, "query_id": "1"}
    assert client.post("/exports", unknown, **client.organisation).status_code == 400


@pytest.mark.parametrize("body", [{"a": 1}, [], None])
def test_an_execution_is_launched_with_an_empty_object_only(
    client: Client,
    vendor: Mediarithmics,
    body: Any,
) -> None:
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    assert client.post(f"/exports/{export_id}/executions", body).status_code == 400
    assert vendor.export_executions(export_id) == []


def test_an_execution_advances_with_polls(client: Client, vendor: Mediarithmics) -> None:
    vendor.polls_until_done = 3
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    started = client.post(f"/exports/{export_id}/executions", {}).json()["data"]
    assert (started["status"], started["result"]) == ("PENDING", None)
    seen = [client.executions(export_id)[0]["status"] for _ in range(4)]
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED", "SUCCEEDED"]


def test_an_execution_can_be_held_and_finished(client: Client, vendor: Mediarithmics) -> None:
    vendor.polls_until_done = 1
    vendor.hold()
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    execution = client.post(f"/exports/{export_id}/executions", {}).json()["data"]["id"]
    assert client.executions(export_id)[0]["status"] == "PENDING"
    path = f"/exports/{export_id}/executions/{execution}/files/technical_name=export"
    assert client.get(path).status_code == 404
    vendor.finish(execution, status="FAILED", error={"message": "no"}, error_file="why\n")
    ended = client.executions(export_id)[0]
    assert (ended["status"], ended["error"]) == ("FAILED", {"message": "no"})
    uri = f"mics://data_file/tenants/{vendor.organisation_id}/jobs/executions/{execution}/result/"
    assert client.data_file(f"{uri}export.error").text == "why\n"
    assert client.data_file(f"{uri}export.data").status_code == 404


def test_outcomes_can_be_scheduled(client: Client, vendor: Mediarithmics) -> None:
    vendor.polls_until_done = 1
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    vendor.plan("export", erroneous_ratio=0.07, null_result=True, files=[b'{"id":"1"}\n'])
    vendor.plan("export", status="CANCELED")
    for _ in range(2):
        client.post(f"/exports/{export_id}/executions", {})
    second, first = client.executions(export_id)
    assert (first["status"], first["result"]) == ("SUCCEEDED", None)
    assert (first["num_tasks"], first["erroneous_tasks"]) == (1000, 70)
    assert client.lines(export_id, first["id"]) == [{"id": "1"}]
    assert second["status"] == "CANCELED"


def test_a_result_may_have_several_files(client: Client, vendor: Mediarithmics) -> None:
    vendor.files_per_execution = 3
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    execution = client.post(f"/exports/{export_id}/executions", {}).json()["data"]["id"]
    vendor.finish(execution)
    files = client.executions(export_id)[0]["result"]["output_files"]
    found = [line["id"] for name in files for line in client.lines(export_id, execution, name)]
    points = [item["id"] for item in vendor.objects("UserPoint")]
    assert len(files) == 3
    assert sorted(found) == sorted(points)
    assert found != points


def test_the_vendors_example_has_failed_tasks(client: Client, vendor: Mediarithmics) -> None:
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    vendor.add_sample_executions(export_id)
    newest = client.executions(export_id)[0]
    assert newest["id"] == "7897897"
    assert newest["erroneous_tasks"] / newest["num_tasks"] == pytest.approx(0.0757, abs=0.0001)
    assert client.executions(export_id)[-1]["num_tasks"] is None


def test_past_executions_are_listed_newest_first(client: Client, vendor: Mediarithmics) -> None:
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    for created in (2000, 3000, 1000):
        vendor.add_execution(export_id, created=created, files=[b"{}\n"])
    assert [item["creation_date"] for item in client.executions(export_id)] == [3000, 2000, 1000]


def test_a_large_file_is_complete(client: Client, vendor: Mediarithmics) -> None:
    export_id = vendor.add_export("x", "SELECT { id } FROM UserPoint")
    line = b'{"id":"' + b"x" * 1000 + b'"}\n'
    execution = vendor.add_execution(export_id, files=[(line for _ in range(6000))])
    path = f"/exports/{export_id}/executions/{execution}/files/technical_name=export"
    assert client.get(path).content == line * 6000


def test_a_query_is_evaluated(client: Client, vendor: Mediarithmics) -> None:
    day = datetime(2024, 5, 1, tzinfo=timezone.utc)
    vendor.now = day + timedelta(days=8)
    moments = [int((day + timedelta(days=step)).timestamp() * 1000) for step in range(3)]
    vendor.set_objects("UserActivity", [{"id": str(ts), "ts": ts} for ts in moments])
    for literal in (moments[1], '"2024-05-02T00:00:00Z"', '"2024-05-02"', '"now-7d/d"'):
        text = "SELECT { id events { name } } FROM UserActivity WHERE ts >= "
        export_id = vendor.add_export("x", text + str(literal))
        lines = client.run(export_id)
        assert sorted(line["id"] for line in lines) == [str(ts) for ts in moments[1:]]
        assert all(line["events"] == [] for line in lines)


def test_an_invalid_query_gives_an_empty_file_without_an_error(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    for text in ("SELECT { nope } FROM UserPoint", "SELECT @count{} FROM UserPoint", "SELECT"):
        export_id = vendor.add_export("x", text)
        assert client.run(export_id) == []
        assert client.executions(export_id)[0]["error"] is None


def test_an_unsupported_date_form_matches_nothing(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    vendor.date_forms = {"iso"}
    text = "SELECT { id } FROM UserPoint WHERE creation_ts >= "
    assert client.run(vendor.add_export("x", text + "0")) == []
    assert client.run(vendor.add_export("x", text + '"1999-01-01T00:00:00Z"')) != []


def test_an_execution_uses_the_query_text_at_its_start(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    query = vendor.add_query("SELECT { id } FROM UserPoint LIMIT 1")
    export_id = vendor.add_export("x", query)
    execution = client.post(f"/exports/{export_id}/executions", {}).json()["data"]["id"]
    body = {"query_language": "OTQL", "query_text": "SELECT { id } FROM UserPoint LIMIT 2"}
    assert client.put(f"{client.datamart}/queries/{query}", body).status_code == 200
    vendor.finish(execution)
    assert len(client.lines(export_id, execution)) == 1
    assert len(client.run(export_id)) == 2


@pytest.mark.parametrize(
    ("text", "kind", "row", "col"),
    [
        ("SELECT { id } FROM", "PARSING_ERROR", 1, 19),
        ("SELECT { id\n  nope } FROM UserPoint", "VALIDATION_ERROR", 2, 3),
        ("SELECT { emails } FROM UserPoint", "VALIDATION_ERROR", 1, 10),
        ("SELECT { id } FROM UserPoint WHERE creation_ts > true", "VALIDATION_ERROR", 1, 50),
        ("SELECT { id } FROM UserPoint WHERE creation_ts > {start}", "PARSING_ERROR", 1, 50),
    ],
)
def test_the_query_check_names_the_position_of_an_error(
    client: Client,
    text: str,
    kind: str,
    row: int,
    col: int,
) -> None:
    response = client.post(f"{client.datamart}/query_check/otql", {"query": text}).json()["data"]
    assert response["type"] == kind
    assert response["error"]["position"] == {"row": row, "col": col}


def test_the_query_check_accepts_valid_queries(client: Client) -> None:
    text = (
        "SELECT { id emails { id } } FROM UserPoint # all of it\n"
        'WHERE (segments { id = "1" OR id IN ["2", "3"] } AND NOT is_defined(accounts))'
        " OR profiles { newsletter = true AND loyalty_points > 1.5 AND gender = 'F' } LIMIT 5"
    )
    response = client.post(f"{client.datamart}/query_check/otql", {"query": text}).json()["data"]
    assert response == {"type": "VALID", "status": "ok"}


def test_one_of_several_schemas_is_live(client: Client) -> None:
    path = f"{client.datamart}/graphdb_runtime_schemas"
    schemas = client.get(path).json()["data"]
    assert sorted(schema["status"] for schema in schemas) == ["ARCHIVED", "DRAFT", "LIVE"]
    live = next(schema["id"] for schema in schemas if schema["status"] == "LIVE")
    types = client.get(f"{path}/{live}/object_types/deep").json()["data"]
    point = next(item for item in types if item["name"] == "UserPoint")
    assert {"profiles": "[UserProfile!]!", "id": "ID!"}.items() <= {
        field["name"]: field["field_type"] for field in point["fields"]
    }.items()
    assert "enum Gender" in client.get(f"{path}/{live}/text").json()["data"]


def test_a_database_file_persists_after_the_server(tmp_path: Path) -> None:
    database = tmp_path / "sandbox.sqlite"
    for run in (1, 2):
        with Sandbox(vendors=["mediarithmics"], database=database) as sandbox:
            vendor = sandbox.mediarithmics
            client = Client(vendor)
            with client.session:
                export_id = vendor.exports()[-1]["id"]
                execution = client.executions(export_id)[0]
                assert len(client.lines(export_id, execution["id"])) == 80
                if run == 1:
                    client.load(vendor.add_import("x", "USER_PROFILE"), PROFILE)
                assert len(vendor.exports()) == 3
                assert vendor.documents("x") == [PROFILE]


# Document imports.

ACTIVITY = {
    "$email_hash": {"$email": "ada@example.com"},
    "$type": "TOUCH",
    "$session_status": "NO_SESSION",
    "$ts": 1605262037783,
    "$events": [{"$event_name": "store-visit", "$ts": 1605262037783, "$properties": {}}],
}
PROFILE = {"operation": "UPSERT", "email_hash": "a1", "user_profile": {"city": "Lyon"}}
ACCOUNT = {"compartment_id": "1", "user_account_id": "7"}
MEMBER = {"operation": "UPDATE", "email_hash": "a1", "segment_id": "5", "expiration_duration": 0}
CHOICE = {
    "operation": "UPSERT",
    "user_agent_id": "vec:1",
    "user_choice": {"$processing_id": "9", "$choice_ts": 1605262037783},
    "force_replace": True,
}
LATER = {"$processing_id": "9"}
EMAIL = {"type": "USER_EMAIL", "hash": "a1"}
AGENT = {"type": "USER_AGENT", "user_agent_id": "vec:1"}


def _without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def _import(vendor: Mediarithmics, document_type: str) -> str:
    return vendor.add_import("x", document_type)


def test_an_import_is_created_found_changed_and_deleted(client: Client) -> None:
    path = f"{client.datamart}/document_imports"
    body = {
        "document_type": "USER_ACTIVITY",
        "mime_type": "APPLICATION_X_NDJSON",
        "encoding": "utf-8",
        "name": "Store visits",
    }
    created = client.post(path, body).json()["data"]
    assert {**body, "priority": "MEDIUM"}.items() <= created.items()
    assert client.get(path, keywords="visits").json()["data"] == [created]
    assert client.get(path, keywords="other").json()["data"] == []
    changed = client.put(f"{path}/{created['id']}", {"priority": "HIGH"}).json()["data"]
    assert changed == {**created, "priority": "HIGH"}
    client.session.delete(f"{client.vendor.api_url}{path}/{created['id']}", timeout=10)
    assert client.get(f"{path}/{created['id']}").status_code == 404


def test_two_imports_can_have_the_same_name(client: Client, vendor: Mediarithmics) -> None:
    body = {
        "document_type": "USER_SEGMENT",
        "mime_type": "TEXT_CSV",
        "encoding": "utf-8",
        "name": "same",
    }
    ids = {
        client.post(f"{client.datamart}/document_imports", body).json()["data"]["id"]
        for _ in range(2)
    }
    assert {item["id"] for item in vendor.imports()} == ids
    assert len(ids) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"mime_type": "JSON"},
        {"mime_type": "TEXT_CSV"},
        {"encoding": "latin-1"},
        {"name": " "},
        {"priority": "URGENT"},
        {"document_type": None},
        {"colour": "red"},
    ],
)
def test_a_definition_that_breaks_a_rule_is_rejected(
    client: Client,
    change: dict[str, Any],
) -> None:
    body = {
        "document_type": "USER_ACTIVITY",
        "mime_type": "APPLICATION_X_NDJSON",
        "encoding": "utf-8",
        "name": "x",
        **change,
    }
    assert client.post(f"{client.datamart}/document_imports", body).status_code == 400


def test_the_content_type_must_match_the_import(client: Client, vendor: Mediarithmics) -> None:
    import_id = _import(vendor, "USER_ACTIVITY")
    body = json.dumps(ACTIVITY)
    assert client.upload(import_id, body, "application/json").status_code == 400
    assert client.upload(import_id, body, "text/csv").status_code == 400
    assert client.upload(import_id, body, "application/x-ndjson; charset=utf-8").status_code == 200


def test_an_upload_can_be_too_large(client: Client, vendor: Mediarithmics) -> None:
    vendor.max_upload_bytes = 10
    import_id = _import(vendor, "USER_ACTIVITY")
    assert client.upload(import_id, json.dumps(ACTIVITY)).status_code == 413
    assert vendor.import_executions() == []


def test_the_parameters_of_an_execution_appear_late(client: Client, vendor: Mediarithmics) -> None:
    vendor.polls_until_done = 3
    import_id = _import(vendor, "USER_ACTIVITY")
    line = json.dumps(ACTIVITY)
    started = client.upload(import_id, f"{line}\n\n{line}\n").json()["data"]
    path = f"{client.datamart}/document_imports/{import_id}/executions"
    seen = [client.get(f"{path}/{started['id']}").json()["data"] for _ in range(3)]
    assert started["parameters"] is None
    assert [item["status"] for item in seen] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert [item["parameters"] and item["parameters"]["number_of_lines"] for item in seen] == [
        None,
        2,
        2,
    ]
    assert client.get(path).json()["data"] == [seen[-1]]


def test_a_pending_execution_may_show_a_result(client: Client, vendor: Mediarithmics) -> None:
    vendor.polls_until_done = 9
    vendor.polls_until_parameters = 1
    vendor.pending_with_result = True
    import_id = _import(vendor, "USER_ACTIVITY")
    execution = client.upload(import_id, json.dumps(ACTIVITY)).json()["data"]["id"]
    path = f"{client.datamart}/document_imports/{import_id}/executions/{execution}"
    shown = client.get(path).json()["data"]
    assert (shown["status"], shown["result"]["total_success"]) == ("PENDING", 1)
    assert vendor.documents() == []


@pytest.mark.parametrize(
    ("document_type", "document"),
    [
        ("USER_ACTIVITY", ACTIVITY),
        ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": "8a5f7a0e-7a3b-11ee-b962-0242ac120002"}),
        ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": None}),
        ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": ""}),
        ("USER_ACTIVITY", {**ACTIVITY, "$ts": None, "$session_status": None, "$events": None}),
        ("USER_ACTIVITY", {"$email_hash": {"$hash": "a1"}, "$type": "RECOMMENDER"}),
        ("USER_ACTIVITY", {**ACTIVITY, "$events": [{"$event_name": "a", "$properties": None}]}),
        ("USER_ACTIVITY", {**ACTIVITY, "$events": [{"$event_name": "a", "$ts": None}]}),
        ("USER_ACTIVITY", {**ACTIVITY, "$user_agent_id": "vec:1", "$user_account_id": "7"}),
        ("USER_ACTIVITY", {**ACTIVITY, "$email_hash": None, "$user_account_id": "7"}),
        ("USER_ACTIVITY", {**ACTIVITY, "$user_identifiers": []}),
        (
            "USER_ACTIVITY",
            {"$type": "TOUCH", "$user_identifiers": [{"$type": "USER_AGENT"}] * 3},
        ),
        ("USER_ACTIVITY", {**ACTIVITY, "$compartment_id": 1}),
        ("USER_PROFILE", PROFILE),
        ("USER_PROFILE", {"operation": "DELETE", **ACCOUNT}),
        ("USER_PROFILE", {**_without(PROFILE, "email_hash"), **ACCOUNT}),
        (
            "USER_PROFILE",
            {**PROFILE, "user_profile": {"$user_account_id": "8", "$compartment_id": 1}},
        ),
        ("USER_PROFILE", {**PROFILE, "compartment_id": "1"}),
        ("USER_PROFILE", {**PROFILE, "compartment_id": 1}),
        ("USER_SEGMENT", MEMBER),
        ("USER_SEGMENT", {**MEMBER, "segment_technical_name": "buyers"}),
        ("USER_SEGMENT", {**MEMBER, "segment_id": None, "segment_technical_name": "buyers"}),
        ("USER_SEGMENT", {**MEMBER, "data_bag": '{"score": 7}'}),
        ("USER_SEGMENT", {"operation": "DELETE", "email_hash": "a1", "segment_id": "5"}),
        ("USER_CHOICE", CHOICE),
        (
            "USER_CHOICE",
            {
                **CHOICE,
                "force_replace": False,
                "user_choice": {"$processing_id": "9", "$choice_ts": "1605262037783"},
            },
        ),
        ("USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", {"identifiers": [EMAIL, AGENT]}),
        ("USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", {"identifiers": [EMAIL]}),
        (
            "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS",
            {"identifiers": [{**EMAIL, "compartment_id": 1}, {**EMAIL, "compartment_id": "1"}]},
        ),
        ("USER_IDENTIFIERS_DELETION", EMAIL),
        ("USER_IDENTIFIERS_DELETION", {**EMAIL, "compartment_id": 1}),
        ("USER_POINTS_DELETION", {"type": "USER_POINT", "user_point_id": "1"}),
        ("SOMETHING_NEW", {"any": "thing"}),
    ],
)
def test_a_valid_line_is_accepted(
    client: Client,
    vendor: Mediarithmics,
    document_type: str,
    document: dict[str, Any],
) -> None:
    ended = client.load(_import(vendor, document_type), document)
    assert (ended["status"], ended["result"]["total_failure"]) == ("SUCCEEDED", 0)
    assert vendor.documents("x") == [document]


@pytest.mark.parametrize(
    ("document_type", "document", "field"),
    [
        ("USER_ACTIVITY", _without(ACTIVITY, "$email_hash"), "identifier"),
        ("USER_ACTIVITY", {**ACTIVITY, "$email_hash": None}, "identifier"),
        ("USER_ACTIVITY", {**ACTIVITY, "$email_hash": {}}, "email_hash"),
        ("USER_ACTIVITY", {**ACTIVITY, "$user_agent_id": 1}, "$user_agent_id"),
        ("USER_ACTIVITY", {**ACTIVITY, "$user_identifiers": ["a"]}, "$user_identifiers"),
        ("USER_ACTIVITY", {**ACTIVITY, "$session_status": ""}, "$session_status"),
        ("USER_ACTIVITY", {**ACTIVITY, "$events": {}}, "$events"),
        ("USER_ACTIVITY", {**ACTIVITY, "$ts": 1605262037}, "$ts"),
        ("USER_ACTIVITY", {**ACTIVITY, "$ts": "1605262037783"}, "$ts"),
        ("USER_ACTIVITY", {**ACTIVITY, "$ts": 1605262037783.0}, "$ts"),
        ("USER_ACTIVITY", {**ACTIVITY, "$type": "VISIT"}, "$type"),
        ("USER_ACTIVITY", {**ACTIVITY, "operation": "UPSERT"}, "operation"),
        ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": "order-1"}, "$unique_key"),
        ("USER_ACTIVITY", {**ACTIVITY, "$events": [{"$ts": 1605262037783}]}, "$event_name"),
        ("USER_PROFILE", {**PROFILE, "operation": "UPDATE"}, "operation"),
        ("USER_PROFILE", _without(PROFILE, "user_profile"), "user_profile"),
        ("USER_PROFILE", {**PROFILE, **ACCOUNT}, "identifier"),
        ("USER_PROFILE", {**PROFILE, "update_strategy": "MERGE"}, "update_strategy"),
        ("USER_SEGMENT", _without(MEMBER, "segment_id"), "segment_id"),
        ("USER_SEGMENT", _without(MEMBER, "expiration_duration"), "expiration_duration"),
        ("USER_SEGMENT", {**MEMBER, "expiration_duration": "60"}, "expiration_duration"),
        ("USER_SEGMENT", {**MEMBER, "operation": "UPSERT"}, "operation"),
        ("USER_CHOICE", {**CHOICE, "user_choice": {"$processing_id": "9"}}, "$choice_ts"),
        (
            "USER_CHOICE",
            {"operation": "DELETE", "user_agent_id": "1", "user_choice": {}},
            "$processing_id",
        ),
        ("USER_CHOICE", {**CHOICE, "user_choice": {**LATER, "$choice_ts": "today"}}, "$choice_ts"),
        ("USER_CHOICE", _without(CHOICE, "force_replace"), "force_replace"),
        ("USER_SEGMENT", {**MEMBER, "data_bag": {"score": 7}}, "data_bag"),
        ("USER_SEGMENT", {**MEMBER, "data_bag": "score"}, "data_bag"),
        ("USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", {"identifiers": []}, "identifiers"),
        ("USER_IDENTIFIERS_DELETION", {"type": "USER_EMAIL"}, "hash"),
        (
            "USER_IDENTIFIERS_DELETION",
            {"type": "USER_AGENT", "user_agent_id": "udp:1"},
            "user_agent_id",
        ),
        ("USER_IDENTIFIERS_DELETION", {"type": "USER_POINT", "user_point_id": "1"}, "type"),
        ("SOMETHING_NEW", "not JSON", "JSON"),
        ("SOMETHING_NEW", "[1]", "JSON"),
    ],
)
def test_an_invalid_line_fails_alone_and_the_error_file_names_the_field(
    client: Client,
    vendor: Mediarithmics,
    document_type: str,
    document: Any,
    field: str,
) -> None:
    ended = client.load(_import(vendor, document_type), document)
    assert ended["status"] == "SUCCEEDED"
    assert (ended["result"]["total_success"], ended["result"]["total_failure"]) == (0, 1)
    line = client.data_file(ended["result"]["error_file_uri"]).json()
    assert line["line"] == 1
    assert field in line["error"]
    assert vendor.documents() == []


VERSION_4 = "8a5f7a0e-7a3b-41ee-b962-0242ac120002"


@pytest.mark.parametrize(
    ("rule", "document_type", "lines"),
    [  # the first line breaks the rule
        ("force_replace", "USER_CHOICE", [_without(CHOICE, "force_replace"), CHOICE]),
        ("force_replace", "USER_CHOICE", [{**CHOICE, "force_replace": "true"}, CHOICE]),
        ("json_data_bag", "USER_SEGMENT", [{**MEMBER, "data_bag": {"score": 7}}, MEMBER]),
        ("json_data_bag", "USER_SEGMENT", [{**MEMBER, "data_bag": "score"}, MEMBER]),
        ("uuid1_keys", "USER_ACTIVITY", [{**ACTIVITY, "$unique_key": VERSION_4}, ACTIVITY]),
    ],
)
def test_a_rule_fails_the_lines_that_break_it_and_can_be_switched(
    client: Client,
    vendor: Mediarithmics,
    rule: str,
    document_type: str,
    lines: list[dict[str, Any]],
) -> None:
    import_id = _import(vendor, document_type)
    setattr(vendor.rules, rule, False)
    assert client.load(import_id, *lines)["result"]["total_failure"] == 0
    setattr(vendor.rules, rule, True)
    result = client.load(import_id, *lines)["result"]
    assert (result["total_success"], result["total_failure"]) == (1, 1)
    assert client.data_file(result["error_file_uri"]).json()["line"] == 1


def test_csv_is_allowed_for_segments_only(client: Client, vendor: Mediarithmics) -> None:
    path = f"{client.datamart}/document_imports"

    def statuses() -> list[int]:
        return [
            client.post(
                path,
                {
                    "document_type": document_type,
                    "mime_type": "TEXT_CSV",
                    "encoding": "utf-8",
                    "name": "x",
                },
            ).status_code
            for document_type in ("USER_SEGMENT", "USER_PROFILE", "ANYTHING", "USER_ACTIVITY")
        ]

    assert statuses() == [200, 400, 400, 400]
    vendor.rules.csv_for_segments_only = False
    assert statuses() == [200, 200, 200, 400]


@pytest.mark.parametrize("kind", ["application/octet-stream", NDJSON, "text/plain"])
def test_a_file_may_be_uploaded_in_a_form(
    client: Client,
    vendor: Mediarithmics,
    kind: str,
) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    path = f"{client.datamart}/document_imports/{import_id}/executions"
    lines = "".join(f"{json.dumps(item)}\r\n" for item in (PROFILE, PROFILE)).encode()
    response = client.session.post(
        vendor.api_url + path,
        data={"comment": "nightly"},
        files={"file": ("profiles.ndjson", lines, kind)},
        timeout=10,
    )
    assert response.status_code == 200, response.text
    vendor.finish(response.json()["data"]["id"])
    ended = client.get(f"{path}/{response.json()['data']['id']}").json()["data"]
    assert ended["parameters"]["number_of_lines"] == 2
    assert vendor.documents() == [PROFILE, PROFILE]


def test_a_form_without_a_file_is_rejected(client: Client, vendor: Mediarithmics) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    url = f"{vendor.api_url}{client.datamart}/document_imports/{import_id}/executions"
    form = {"comment": (None, json.dumps(PROFILE))}
    assert client.session.post(url, files=form, timeout=10).status_code == 400
    kind = {"Content-Type": "multipart/form-data"}
    assert client.session.post(url, data=b"{}", headers=kind, timeout=10).status_code == 400
    assert vendor.import_executions() == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("line_number", "Line 2: not a JSON document"),
        ("echo", "wrong"),
        ("json", '{"line": 2, "error": "not a JSON document", "input": "wrong"}'),
        ("json_echo", '{"error": "not a JSON document", "document": "wrong"}'),
        ("free_text", "Some documents could not be imported. Please check your file."),
    ],
)
def test_error_lines_come_in_several_shapes(
    client: Client,
    vendor: Mediarithmics,
    shape: str,
    expected: str,
) -> None:
    vendor.error_shape = shape
    ended = client.load(_import(vendor, "USER_PROFILE"), PROFILE, "wrong")
    assert client.data_file(ended["result"]["error_file_uri"]).text == expected + "\n"


def test_csv_has_a_header_and_its_cells_may_hold_line_breaks(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    import_id = vendor.add_import("x", "USER_SEGMENT", mime_type="TEXT_CSV")
    body = (
        "operation,email_hash,segment_id,expiration_duration,data_bag\r\n"
        'UPDATE,a1,5,60,"{""n"":\n1}"\r\n'
        "UPDATE,a2,5,0,\r\n"
        "UPDATE,a3,5\r\n"
    )
    ended = client.load(import_id, body, kind="text/csv")
    assert ended["parameters"]["number_of_lines"] == 3
    assert (ended["result"]["total_success"], ended["result"]["total_failure"]) == (2, 1)
    assert vendor.members("5") == {"email_hash=a1": 60, "email_hash=a2": 0}


def test_profiles_are_kept_by_identifier(client: Client, vendor: Mediarithmics) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    client.load(import_id, PROFILE, {**PROFILE, "user_profile": {"points": 7}})
    assert vendor.profiles() == {"email_hash=a1": {"city": "Lyon", "points": 7}}
    replaced = {**PROFILE, "update_strategy": "FORCE_REPLACE", "user_profile": {"points": 8}}
    client.load(import_id, replaced)
    assert vendor.profiles() == {"email_hash=a1": {"points": 8}}
    client.load(import_id, {"operation": "DELETE", "email_hash": "a1"})
    assert vendor.profiles() == {}


def test_members_and_choices_are_added_and_deleted(client: Client, vendor: Mediarithmics) -> None:
    client.load(_import(vendor, "USER_SEGMENT"), MEMBER, {**MEMBER, "operation": "DELETE"})
    assert vendor.members("5") == {}
    client.load(_import(vendor, "USER_CHOICE"), CHOICE)
    assert list(vendor.choices()) == [("user_agent_id=vec:1", "9")]


def test_only_a_unique_key_prevents_duplicate_activities(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    keyed = {**ACTIVITY, "$unique_key": "8a5f7a0e-7a3b-11ee-b962-0242ac120002"}
    empty = {**ACTIVITY, "$unique_key": ""}
    client.load(_import(vendor, "USER_ACTIVITY"), ACTIVITY, ACTIVITY, keyed, keyed, empty, empty)
    assert vendor.activities() == [ACTIVITY, ACTIVITY, keyed, empty, empty]
    assert len(vendor.documents()) == 6


def test_a_failed_or_canceled_execution_stores_nothing(
    client: Client,
    vendor: Mediarithmics,
) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    path = f"{client.datamart}/document_imports/{import_id}/executions"
    first = client.upload(import_id, json.dumps(PROFILE)).json()["data"]["id"]
    vendor.finish(first, status="FAILED", error="broken")
    second = client.upload(import_id, json.dumps(PROFILE)).json()["data"]["id"]
    response = client.post(f"{path}/{second}/action", {"action": "CANCEL"})
    assert response.json()["data"]["status"] == "CANCELED"
    assert client.post(f"{path}/{second}/action", {"action": "CANCEL"}).status_code == 400
    assert client.get(f"{path}/{first}").json()["data"]["error"] == "broken"
    assert vendor.documents() == []


def test_one_identifier_on_many_lines_causes_a_warning(
    client: Client, vendor: Mediarithmics
) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    ended = client.load(import_id, *[PROFILE] * 100)
    assert ended["result"]["possible_issue_on_identifiers"] is True
    assert ended["result"]["top_identifiers"] == {"email_hash=a1": 100}


def test_open_executions_of_one_import_are_counted(client: Client, vendor: Mediarithmics) -> None:
    import_id = _import(vendor, "USER_PROFILE")
    for _ in range(2):
        client.upload(import_id, json.dumps(PROFILE))
    assert vendor.max_open_executions == 2
