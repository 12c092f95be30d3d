"""The sandbox answers hostile values as a vendor would: it never fails itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.server import Sandbox

#: JSON texts.
VALUES = {
    "half a surrogate": r'"\ud800"',
    "NUL": r'"\u0000"',
    "5000 digits": "9" * 5000,
    "30 digits": "9" * 30,
    "400 digits": "-" + "9" * 400,
    "text of 5000 digits": '"' + "9" * 5000 + '"',
    "infinite": "1e999",
    "NaN": "NaN",
    "deep": "[" * 100_000 + "]" * 100_000,
    "nested": '{"a":' * 985 + "1" + "}" * 985,
    "list": '[{"a": 1}]',
    "half a surrogate as a name": r'{"\ud800": 1}',
    "200 kB": '"' + "x" * 200_000 + '"',
}


@pytest.fixture(params=VALUES)
def value(request: pytest.FixtureRequest) -> str:
    return VALUES[request.param]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Content-Type"] = "application/json"
        yield session


def variants(document: dict[str, Any], value: str) -> Iterator[str]:
    """Yield a document, and with the value in place of each of its values and of a name."""
    yield json.dumps(document)
    for name in [*document, "other"]:
        yield json.dumps({**document, name: "VALUE"}).replace('"VALUE"', value)
    if value.startswith('"'):
        yield json.dumps({**document, "VALUE": 1}).replace('"VALUE"', value)


def test_mona_accepts_or_rejects_each(
    sandbox: Sandbox, session: requests.Session, value: str
) -> None:
    session.headers["Authorization"] = f"Bearer {sandbox.mona.access_token()}"
    message = {
        "arcClass": "order",
        "contextId": "o-1",
        "message": {"total": 3},
        "exportTimestamp": 1_700_000_000,
        "action": "ADD",
    }
    messages = [f'"messages":[{each}]' for each in variants(message, value)]
    payload = {"userId": sandbox.mona.user_id, "defaultAction": "ADD"}
    for each in variants(payload, value):
        for content in (*messages, f'"messages":{value}'):
            response = session.post(
                f"{sandbox.mona.api_url}/export", data=f"{each[:-1]},{content}}}", timeout=10
            )
            assert response.status_code in {200, 400}, response.text
    login = {"clientId": sandbox.mona.client_id, "secret": sandbox.mona.client_secret}
    for each in (*variants(login, value), value):
        response = session.post(sandbox.mona.auth_url, data=each, timeout=10)
        assert response.status_code in {200, 400, 401}, response.text
    sandbox.mona.records()
    sandbox.mona.sections()


def test_monetate_accepts_or_rejects_each(
    sandbox: Sandbox, session: requests.Session, value: str
) -> None:
    key = {"data_type": "STRING", "identifier": True, "unique_key": True}
    types = ("NUMBER", "BOOLEAN", "DATETIME", "MULTI_STRING")
    vendor = sandbox.monetate
    vendor.add_dataset("people", {"id": key, **{name.lower(): name for name in types}})
    session.headers["Authorization"] = f"Token {token(sandbox)}"
    row = {"id": "1", **{name.lower(): None for name in types}}
    base = f"{vendor.api_url}/api/data/v1/{vendor.retailer}/production"
    for each in (*variants(row, value), value):
        response = session.post(
            f"{base}/data/people/", data=f'{{"schema_rows":[{each}]}}', timeout=10
        )
        assert response.status_code in {201, 400}, response.text
    for each in variants({"fields": {}, "named_identifier": "id"}, value):
        response = session.patch(f"{base}/schema/people/", data=each, timeout=10)
        assert response.status_code in {200, 400}, response.text
    field = f'{{"fields":{{"new":{value}}}}}'
    assert session.patch(f"{base}/schema/people/", data=field, timeout=10).status_code == 400
    vendor.rows("people")
    vendor.sections()


def token(sandbox: Sandbox) -> str:
    vendor = sandbox.monetate
    assertion = jwt.encode(
        {"username": vendor.username, "iat": time.time()},
        vendor.private_key_pem,
        algorithm="RS256",
    )
    response = requests.get(
        f"{vendor.api_url}/api/auth/v0/refresh/",
        headers={"Authorization": f"JWT {assertion}"},
        timeout=10,
    )
    return str(response.json()["data"]["token"])


DOCUMENTS: dict[str, dict[str, Any]] = {
    "USER_ACTIVITY": {
        "$type": "SITE_VISIT",
        "$ts": 1_700_000_000_000,
        "$user_account_id": "a",
        "$unique_key": "",
        "$events": [],
    },
    "USER_PROFILE": {
        "operation": "UPSERT",
        "user_account_id": "a",
        "compartment_id": "1",
        "update_strategy": "PARTIAL_UPDATE",
        "user_profile": {},
    },
    "USER_SEGMENT": {
        "operation": "UPDATE",
        "user_account_id": "a",
        "segment_id": "1",
        "expiration_duration": 1,
        "data_bag": "{}",
    },
    "USER_CHOICE": {
        "operation": "UPSERT",
        "user_account_id": "a",
        "force_replace": True,
        "user_choice": {"$processing_id": "1", "$choice_ts": 1_700_000_000_000},
    },
    "USER_POINTS_DELETION": {"type": "USER_ACCOUNT", "user_account_id": "a"},
}


@pytest.mark.parametrize("document_type", DOCUMENTS)
@pytest.mark.parametrize("shape", ["line_number", "json_echo"])
def test_mediarithmics_accepts_or_rejects_each(
    sandbox: Sandbox, session: requests.Session, value: str, document_type: str, shape: str
) -> None:
    vendor = sandbox.mediarithmics
    vendor.error_shape = shape
    documents = list(variants(DOCUMENTS[document_type], value))
    if document_type == "USER_CHOICE":
        for choice in variants(DOCUMENTS[document_type]["user_choice"], value):
            documents.append(documents[0].replace(value, '"UPSERT"'))
            documents[-1] = json.dumps({**DOCUMENTS[document_type], "user_choice": "VALUE"})
            documents[-1] = documents[-1].replace('"VALUE"', choice)
    body = "\n".join([*documents, value])
    execution = upload(sandbox, session, document_type, "APPLICATION_X_NDJSON", body)
    assert execution["status"] == "SUCCEEDED"
    result = execution["result"]
    assert result["total_success"] + result["total_failure"] == len(documents) + 1
    assert result["total_failure"]
    vendor.documents()
    vendor.sections()


@pytest.mark.parametrize("cell", ["9" * 5000, "-1", "\u00b2", "x" * 200_000, "\0", '"'])
def test_mediarithmics_accepts_or_rejects_each_cell_of_a_csv_file(
    sandbox: Sandbox, session: requests.Session, cell: str
) -> None:
    header = "operation,user_account_id,segment_id,expiration_duration"
    for body in (f"{header}\nUPDATE,a,1,{cell}\n", f"{header},{cell}\nUPDATE,a,1,1,1\n"):
        execution = upload(sandbox, session, "USER_SEGMENT", "TEXT_CSV", body)
        assert execution["status"] == "SUCCEEDED"


def upload(
    sandbox: Sandbox, session: requests.Session, document_type: str, mime_type: str, body: str
) -> dict[str, Any]:
    """Load a file and return its execution."""
    vendor = sandbox.mediarithmics
    session.headers["Authorization"] = vendor.api_token
    base = f"{vendor.api_url}/datamarts/{vendor.datamart_id}/document_imports"
    definition = {"document_type": document_type, "mime_type": mime_type, "encoding": "utf-8"}
    created = session.post(base, json={"name": "x", **definition}, timeout=10).json()["data"]
    kind = {"Content-Type": "text/csv" if mime_type == "TEXT_CSV" else "application/x-ndjson"}
    url = f"{base}/{created['id']}/executions"
    response = session.post(url, data=body.encode(), headers=kind, timeout=10)
    assert response.status_code == 200, response.text
    execution = response.json()["data"]["id"]
    vendor.finish(execution)
    return dict(session.get(f"{url}/{execution}", timeout=10).json()["data"])


def test_mediarithmics_accepts_or_rejects_each_definition(
    sandbox: Sandbox, session: requests.Session, value: str
) -> None:
    vendor = sandbox.mediarithmics
    session.headers["Authorization"] = vendor.api_token
    definition = {
        "name": "x",
        "document_type": "USER_PROFILE",
        "mime_type": "APPLICATION_X_NDJSON",
        "encoding": "utf-8",
        "priority": "LOW",
    }
    url = f"{vendor.api_url}/datamarts/{vendor.datamart_id}/document_imports"
    for each in (*variants(definition, value), value):
        response = session.post(url, data=each, timeout=10)
        assert response.status_code in {200, 400}, response.text
    assert session.get(url, timeout=10).status_code == 200
