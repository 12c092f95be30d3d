"""mona-sdk, the vendor's own client, and target-mona send the same requests to Mona.

The requests of the SDK define the wire format, so the sandbox must accept them. Those of
target-mona must be equal, except for the nulls of unset options.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.programs import exact, run_client, run_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.mona import Mona
    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.server import Sandbox

#: Values that JSON can write in more than one way, or that a client might lose.
RECORD: dict[str, Any] = {
    "id": "order-1",
    "total": 19.9,
    "share": 0.1,
    "tiny": 5e-324,
    "huge": 1e22,
    "count": 2**60,
    "negative": -0.0,
    "paid": True,
    "note": None,
    "name": 'Zo\u00eb \U0001f3ef \u2028 "quoted" \\ \u0000',
    "empty": "",
    "lines": [{"sku": "A-1", "n": 2, "gift": None}, []],
    "address": {"city": "K\u00f6ln", "geo": {"lat": 50.94, "lon": 6.96}},
    "digits": "00123",
    "MONA_flag": "reserved",
}
MESSAGE = {"contextClass": "orders", "contextId": "order-1", "message": RECORD}


@pytest.fixture
def mona(sandbox: Sandbox) -> Mona:
    return sandbox.mona


def send(mona: Mona, *batches: list[dict[str, Any]], **settings: str) -> list[Any]:
    """Send batches with the SDK, and return its results.

    Upper-case settings are environment variables of the SDK without their `MONA_SDK_`; others are
    arguments of its `export_batch`.
    """
    environment = {
        "API_KEY": mona.client_id,
        "SECRET": mona.client_secret,
        "AUTH_API_TOKEN_URL": mona.auth_url,
        "REFRESH_TOKEN_URL": f"{mona.auth_url}/token/refresh",
        "OVERRIDE_REST_API_HOST": mona.api_url.removeprefix("http://"),
        "SHOULD_USE_SSL": "false",
        **{name: value for name, value in settings.items() if name.isupper()},
    }
    options = {name: value for name, value in settings.items() if not name.isupper()}
    output = run_client(
        "send_with_mona_sdk",
        given={"batches": batches, "options": options},
        environment={f"MONA_SDK_{name}": value for name, value in environment.items()},
    )
    results: list[Any] = json.loads(output)
    return results


def load(
    mona: Mona,
    folder: Path,
    streams: dict[str, list[dict[str, Any]]],
    mappings: dict[str, Any],
) -> None:
    """Send the records of streams with target-mona."""
    config = {
        **mona.credentials(),
        "reject_path": str(folder / "rejects"),
        "streams": mappings,
    }
    messages: list[dict[str, Any]] = []
    for stream, records in streams.items():
        schema = {"type": "object", "properties": {name: {} for name in records[0]}}
        about = {"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": ["id"]}
        messages.append(about)
        messages += [{"type": "RECORD", "stream": stream, "record": item} for item in records]
    run_plugin("target-mona", config, folder, messages)


def parts(request: RecordedRequest) -> dict[str, Any]:
    """Return the fields of an export, without those that are null."""
    assert request.body is not None
    body = exact(request.body)
    (message,) = body.pop("messages")
    return {
        "path": request.path,
        "method": request.method,
        "Content-Type": request.headers["content-type"].partition(";")[0],
        "Authorization": request.headers["authorization"],
        **{f"body.{name}": value for name, value in body.items()},
        **{f"message.{name}": value for name, value in message.items() if value is not None},
    }


def sent_messages(mona: Mona) -> list[dict[str, Any]]:
    """Return the messages of all exports, without the fields that are null."""
    return [
        {name: value for name, value in message.items() if value is not None}
        for request in mona.exports
        for message in exact(request.body or b"")["messages"]
    ]


def test_one_record_is_sent_identically(mona: Mona, tmp_path: Path) -> None:
    assert send(mona, [MESSAGE])[0]["sent"] == 1
    load(mona, tmp_path, {"orders": [RECORD]}, {})
    by_sdk, by_target = mona.exports
    assert parts(by_target) == parts(by_sdk)
    first, second = mona.messages()
    assert {**second, "request": 0} == {**first, "request": 0}
    assert len(mona.records()) == 1


def test_records_with_every_option_are_sent_identically(mona: Mona, tmp_path: Path) -> None:
    stamps: list[Any] = [1700000000, 1700000000123, 1700000000.25, "1700000000", "1700000000123"]
    stamps += ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5+02:00", "2023-11-14 22:13:20"]
    stamps += ["2023-11-14", "1999-12-31T23:59:59Z"]
    actions = ["OVERWRITE", "ADD", "NEW"]
    streams = {
        action: [
            {**RECORD, "id": f"{action}-{number}", "at": stamp}
            for number, stamp in enumerate(stamps)
        ]
        for action in actions
    }
    batch = [
        {
            "contextClass": "orders",
            "contextId": record["id"],
            "exportTimestamp": record["at"],
            "action": action,
            "message": {name: value for name, value in record.items() if name != "at"},
        }
        for action, records in streams.items()
        for record in records
    ]
    assert send(mona, batch)[0]["sent"] == len(batch)
    by_sdk = sent_messages(mona)
    content = {name: f"{{{{ {name} }}}}" for name in RECORD}
    mapping = {"arc_class": "orders", "export_timestamp": "{{ at }}", "message": content}
    load(mona, tmp_path, streams, {action: {**mapping, "action": action} for action in actions})
    by_both = sent_messages(mona)
    assert len(by_both) == 2 * len(batch)
    by_target = by_both[len(batch) :]
    assert sorted(by_target, key=lambda item: str(item["contextId"])) == sorted(
        by_sdk, key=lambda item: str(item["contextId"])
    )


def test_unset_options_are_null_and_accepted(mona: Mona) -> None:
    message = {"contextClass": "orders", "message": {"n": 1}}
    assert send(mona, [message, message])[0]["failed"] == 0
    sent = mona.exports[0].json["messages"]
    assert sent[0] == {
        "arcClass": "orders",
        "message": {"n": 1},
        "contextId": None,
        "action": None,
        "sampleConfigName": None,
        "exportTimestamp": None,
        "sendTimestamp": None,
    }
    assert len(mona.records()) == 2


@pytest.mark.parametrize(
    ("newer", "name", "other"),
    [
        ("true", "sendTimestamp", "exportTimestamp"),
        ("false", "exportTimestamp", "sendTimestamp"),
    ],
)
def test_timestamps_of_the_client_are_accepted(
    mona: Mona, newer: str, name: str, other: str
) -> None:
    stamps: list[Any] = [1700000000, 1700000000.5, 1700000000123, "1700000000", "1700000000123"]
    stamps += ["2023-11-14", "2023-11-14T22:13:20.123456+01:00"]
    batch = [{**MESSAGE, "sendTimestamp": stamp} for stamp in stamps]
    (result,) = send(mona, batch, USE_SEND_TIMESTAMP_FIELD=newer)
    assert result["failed"] == 0, result
    sent = mona.exports[0].json["messages"]
    assert [(item[name], item.get(other)) for item in sent] == [(stamp, None) for stamp in stamps]
    assert [json.loads(item["export_timestamp"]) for item in mona.messages()] == stamps


def test_a_sampling_name_and_a_default_action_are_accepted(mona: Mona) -> None:
    message = {**MESSAGE, "sampleConfigName": "weekly"}
    (result,) = send(mona, [message, {**message, "action": "NEW"}], default_action="ADD")
    assert result["failed"] == 0, result
    assert mona.exports[0].json["defaultAction"] == "ADD"
    assert [item["action"] for item in mona.messages()] == ["ADD", "NEW"]


@pytest.mark.parametrize(
    ("newer", "authenticates", "path"),
    [
        ("false", "true", "/mona/export"),
        ("true", "true", "/mona/sendEvent"),
        ("false", "false", "/mona/monaExport"),
        ("true", "false", "/mona/monaSendEvent"),
    ],
)
def test_the_urls_equal_those_of_the_client(
    mona: Mona, newer: str, authenticates: str, path: str
) -> None:
    settings = {"USE_SEND_EVENT_ENDPOINT": newer, "SHOULD_USE_AUTHENTICATION": authenticates}
    (result,) = send(mona, [MESSAGE], USER_ID=mona.user_id, **settings)
    assert result["failed"] == 0, result
    assert [item.path for item in mona.exports] == [path]
    assert mona.exports[0].authorized == (authenticates == "true")


def test_the_client_renews_its_token_with_the_refresh_token(mona: Mona) -> None:
    # A token that lives for less than the client's margin is renewed before every call.
    mona.expires_in = 3600
    results = send(mona, [MESSAGE], [MESSAGE], REFRESH_TOKEN_SAFETY_MARGIN="2")
    assert [result["sent"] for result in results] == [1, 1]
    assert [item.status for item in mona.requests_to("/token/refresh$")] == [200, 200]


def test_the_client_understands_rejected_messages(mona: Mona) -> None:
    bad = {**MESSAGE, "contextId": "a.b"}
    (result,) = send(mona, [MESSAGE, bad])
    assert (result["total"], result["sent"], result["failed"]) == (2, 1, 1)
    assert list(result["failure_reasons"]) == ["1"]


def test_the_client_understands_a_rejected_request(mona: Mona) -> None:
    (result,) = send(mona, [MESSAGE], default_action="DELETE")
    assert (result["sent"], result["failed"]) == (0, 1)
    assert result["failure_reasons"] == "defaultAction is none of OVERWRITE, ADD, NEW"
