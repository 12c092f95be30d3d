"""The sandbox's Mona follows the vendor's page and accepts the requests of its client."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests

if TYPE_CHECKING:
    from tests.sandbox.server import Sandbox

GOOD = {"arcClass": "order", "contextId": "o-1", "message": {"total": 3}}


def log_in(sandbox: Sandbox, secret: str | None = None) -> requests.Response:
    fields = {"clientId": sandbox.mona.client_id, "secret": secret or sandbox.mona.client_secret}
    return requests.post(sandbox.mona.auth_url, json=fields, timeout=5)


def export(
    sandbox: Sandbox,
    *messages: Any,
    token: str | None = None,
    path: str = "export",
    **fields: Any,
) -> Any:
    payload = {"userId": sandbox.mona.user_id, "messages": list(messages), **fields}
    bearer = sandbox.mona.access_token() if token is None else token
    return requests.post(
        f"{sandbox.mona.api_url}/{path}",
        json=payload,
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=5,
    )


def test_a_login_returns_a_token_with_the_user_id_that_allows_exports(sandbox: Sandbox) -> None:
    response = log_in(sandbox).json()
    claims = jwt.decode(response["accessToken"], options={"verify_signature": False})
    assert claims["tenantId"] == sandbox.mona.user_id
    assert response["expiresIn"] == 14400
    assert export(sandbox, GOOD, token=response["accessToken"]).status_code == 200


def test_a_login_returns_the_token_expiry_as_an_http_date(sandbox: Sandbox) -> None:
    sandbox.mona.now = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
    response = log_in(sandbox).json()
    assert response["expires"].endswith(" GMT")
    expires = parsedate_to_datetime(response["expires"])
    assert expires == sandbox.mona.now + timedelta(seconds=response["expiresIn"])


@pytest.mark.parametrize("path", ["sendEvent", "monaExport", "monaSendEvent"])
def test_the_addresses_of_the_vendors_client_are_exports_too(sandbox: Sandbox, path: str) -> None:
    assert export(sandbox, GOOD, path=path).status_code == 200
    assert [item["context_id"] for item in sandbox.mona.messages()] == ["o-1"]
    assert [item.notes["messages"] for item in sandbox.mona.exports] == [1]


def test_two_urls_need_no_token_by_default(sandbox: Sandbox) -> None:
    statuses = [
        export(sandbox, GOOD, path=path, token="").status_code
        for path in ("export", "sendEvent", "monaExport", "monaSendEvent")
    ]
    assert statuses == [401, 401, 200, 200]
    sandbox.mona.takes_without_token = False
    assert export(sandbox, GOOD, path="monaExport", token="").status_code == 401


def test_a_wrong_secret_is_rejected(sandbox: Sandbox) -> None:
    response = log_in(sandbox, secret="wrong")
    assert response.status_code == 401
    assert response.json()["errors"]


def test_a_refresh_token_returns_new_tokens_and_can_be_single_use(sandbox: Sandbox) -> None:
    sandbox.mona.single_use_refresh = True
    url = f"{sandbox.mona.auth_url}/token/refresh"
    fields = {"refreshToken": log_in(sandbox).json()["refreshToken"]}
    first = requests.post(url, json=fields, timeout=5)
    assert export(sandbox, GOOD, token=first.json()["accessToken"]).status_code == 200
    assert requests.post(url, json=fields, timeout=5).status_code == 401


@pytest.mark.parametrize("token", ["", "nonsense", "expired", "revoked"])
def test_nothing_is_accepted_without_a_valid_token(sandbox: Sandbox, token: str) -> None:
    if token == "expired":
        token = sandbox.mona.access_token(expires_in=-1)
    if token == "revoked":
        token = sandbox.mona.access_token()
        sandbox.mona.expire_tokens()
    assert export(sandbox, GOOD, token=token).status_code == 401
    assert sandbox.mona.messages() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"userId": "2"},
        {"userId": None},
        {"messages": []},
        {"messages": {}},
        {"extra": 1},
        {"defaultAction": "DELETE"},
        {"defaultAction": []},
        {"sampleConfigName": 1},
    ],
)
def test_an_invalid_request_is_rejected_completely(
    sandbox: Sandbox, fields: dict[str, Any]
) -> None:
    response = export(sandbox, GOOD, **fields)
    assert response.status_code == 400
    assert "topLevelError" in response.json()
    assert sandbox.mona.messages() == []


def test_the_user_id_may_be_a_number(sandbox: Sandbox) -> None:
    assert export(sandbox, GOOD, userId=int(sandbox.mona.user_id)).status_code == 200


@pytest.mark.parametrize("body", [b"no json", b'{"userId": NaN}', b"[]"])
def test_a_body_that_is_not_a_json_object_is_rejected(sandbox: Sandbox, body: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {sandbox.mona.access_token()}",
        "Content-Type": "application/json",
    }
    url = f"{sandbox.mona.api_url}/export"
    assert requests.post(url, data=body, headers=headers, timeout=5).status_code == 400


def test_another_content_type_or_method_is_rejected(sandbox: Sandbox) -> None:
    url = f"{sandbox.mona.api_url}/export"
    headers = {"Authorization": f"Bearer {sandbox.mona.access_token()}"}
    assert requests.post(url, data=b"{}", headers=headers, timeout=5).status_code == 400
    assert requests.get(url, headers=headers, timeout=5).status_code == 405
    assert requests.post(f"{url}/", headers=headers, timeout=5).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"arcClass": ""},
        {"arcClass": "order."},
        {"arcClass": "an order"},
        {"arcClass": None},
        {"contextId": 1},
        {"contextId": ""},
        {"contextId": "a.b"},
        {"message": {}},
        {"message": [1]},
        {"message": {"MONA_x": 1}},
        {"exportTimestamp": 170000000},
        {"exportTimestamp": True},
        {"exportTimestamp": "yesterday"},
        {"exportTimestamp": "20231114"},
        {"exportTimestamp": "170000000"},
        {"exportTimestamp": "17000000001"},
        {"exportTimestamp": 1e300},
        {"sendTimestamp": 170000000},
        {"sendTimestamp": []},
        {"sampleConfigName": 1},
        {"action": "DELETE"},
        {"action": []},
        {"other": 1},
    ],
)
def test_an_invalid_message_is_rejected_and_the_rest_is_accepted(
    sandbox: Sandbox,
    change: dict[str, Any],
) -> None:
    response = export(sandbox, GOOD, {**GOOD, **change}, {**GOOD, "contextId": "o-2"})
    assert response.status_code == 400
    assert response.json()["failed"] == 1
    assert list(response.json()["failure_reasons"]) == ["1"]
    assert [item["context_id"] for item in sandbox.mona.messages()] == ["o-1", "o-2"]
    assert len(sandbox.mona.refusals()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"exportTimestamp": 1700000000},
        {"exportTimestamp": 1700000000.123456},
        {"exportTimestamp": 1700000000123},
        {"exportTimestamp": "2023-11-14T22:13:20Z"},
        {"exportTimestamp": "1700000000"},
        {"exportTimestamp": "1700000000123"},
        {"sendTimestamp": 1700000000},
        {"sampleConfigName": "weekly"},
        {"action": None, "sampleConfigName": None, "exportTimestamp": None, "sendTimestamp": None},
        {"arcClass": "shop.order", "contextId": "s.o"},
        {"arcClass": "a@b-c_9"},
        {"message": {"none": None, "deep": {"MONA_x": 1}}},
        {"action": "NEW"},
    ],
)
def test_documented_values_are_accepted(sandbox: Sandbox, change: dict[str, Any]) -> None:
    response = export(sandbox, {**GOOD, **change})
    assert response.status_code == 200, response.text


def test_null_means_an_unset_option(sandbox: Sandbox) -> None:
    unset = {"contextId": None, "action": None, "sampleConfigName": None}
    times = {"exportTimestamp": None, "sendTimestamp": None}
    response = export(sandbox, {**GOOD, **unset, **times}, {**GOOD, **unset, **times})
    assert response.status_code == 200, response.text
    first, second = sandbox.mona.messages()
    assert first["context_id"] != second["context_id"]
    assert {name: first[name] for name in ("given", "action", "export_timestamp")} == {
        "given": 0,
        "action": "OVERWRITE",
        "export_timestamp": None,
    }
    assert sandbox.mona.exports[0].notes["keys"] == set()


def test_the_newer_timestamp_field_takes_precedence(sandbox: Sandbox) -> None:
    export(sandbox, {**GOOD, "sendTimestamp": "1700000001", "exportTimestamp": None})
    export(sandbox, {**GOOD, "sendTimestamp": 1700000002, "exportTimestamp": 1700000000})
    stamps = [item["export_timestamp"] for item in sandbox.mona.messages()]
    assert stamps == ['"1700000001"', "1700000002"]


def test_a_default_action_is_for_messages_without_one(sandbox: Sandbox) -> None:
    messages = [GOOD, {**GOOD, "action": None}, {**GOOD, "action": "NEW"}]
    options = {"defaultAction": "ADD", "sampleConfigName": "weekly"}
    assert export(sandbox, *messages, **options).status_code == 200
    assert [item["action"] for item in sandbox.mona.messages()] == ["ADD", "ADD", "NEW"]
    assert export(sandbox, GOOD, defaultAction=None, sampleConfigName=None).status_code == 200


@pytest.mark.parametrize(
    ("shape", "reasons"),
    [
        ("index", {"0": "odd", "2": "odd"}),
        ("context_id", {"o-1": "odd"}),
        ("both", {"0": "odd", "o-1": "odd", "2": "odd"}),
        ("index_list", {"odd": [0, 2]}),
        ("none", {}),
        ("text", "odd"),
        ("null", None),
    ],
)
def test_rejections_name_messages_in_the_configured_shape(
    sandbox: Sandbox,
    shape: Any,
    reasons: Any,
) -> None:
    sandbox.mona.failure_keys = shape
    sandbox.mona.refuse_if = lambda item: "odd" if item["message"]["total"] % 2 else None
    anonymous = {"arcClass": "order", "message": {"total": 5}}
    response = export(sandbox, GOOD, {**GOOD, "message": {"total": 2}}, anonymous)
    assert response.json() == {"failed": 2, "failure_reasons": reasons}


@pytest.mark.parametrize("body", [{}, [], "", "some were refused", {"message": "odd"}])
def test_a_rejection_can_have_any_body(sandbox: Sandbox, body: Any) -> None:
    sandbox.mona.refusal_body = body
    response = export(sandbox, GOOD, {**GOOD, "message": {}})
    assert response.status_code == 400
    assert (response.text if isinstance(body, str) else response.json()) == body
    assert len(sandbox.mona.messages()) == 1


def test_a_rejection_can_have_no_reasons(sandbox: Sandbox) -> None:
    sandbox.mona.failure_keys = "missing"
    assert export(sandbox, {**GOOD, "message": {}}).json() == {"failed": 1}


def test_records_merge_by_arc_class_and_context(sandbox: Sandbox) -> None:
    export(
        sandbox,
        {**GOOD, "message": {"a": 1, "b": 2}},
        {**GOOD, "message": {"b": None, "c": 3}},
        {**GOOD, "arcClass": "visit"},
        {**GOOD, "contextId": "o-2", "message": {"a": 1}, "action": "ADD"},
        {**GOOD, "contextId": "o-2", "message": {"a": 1}, "action": "ADD"},
        {**GOOD, "contextId": "o-3", "message": {"a": 1, "b": 1}},
        {**GOOD, "contextId": "o-3", "message": {"b": 2}, "action": "NEW"},
    )
    assert sandbox.mona.records() == {
        ("order", "o-1"): {"a": 1, "c": 3},
        ("visit", "o-1"): {"total": 3},
        ("order", "o-2"): {"a": [1, 1]},
        ("order", "o-3"): {"b": 2},
    }


def test_a_message_without_context_is_a_separate_record(sandbox: Sandbox) -> None:
    anonymous = {"arcClass": "order", "message": {"total": 5}}
    export(sandbox, anonymous, anonymous)
    assert len(sandbox.mona.records()) == 2
    assert [item["given"] for item in sandbox.mona.messages()] == [0, 0]


def test_a_request_above_the_limits_is_rejected(sandbox: Sandbox) -> None:
    sandbox.mona.max_messages = 1
    assert export(sandbox, GOOD, GOOD).status_code == 413
    sandbox.mona.max_request_bytes = 50
    assert export(sandbox, GOOD).status_code == 413
    assert sandbox.mona.messages() == []


def test_numbers_and_unusual_text_are_stored_exactly(sandbox: Sandbox) -> None:
    odd = {"big": 2**70, "text": "\u2028\u00e9\U0001f600", "half": "\ud800", "none": None}
    assert export(sandbox, {**GOOD, "message": odd}).status_code == 200
    assert sandbox.mona.messages()[0]["message"] == odd
