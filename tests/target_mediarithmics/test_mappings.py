from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.target_mediarithmics.conftest import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

PAGE = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"```yaml\n# mapping: ([\w ]+)\n(.*?)```", re.DOTALL)
MAPPINGS = {name: yaml.safe_load(text) for name, text in BLOCK.findall(PAGE.read_text("utf-8"))}
FILTER = re.compile(r"```yaml\n# filter: robotmia events\n(.*?)```", re.DOTALL)
HASH = hashlib.sha256(b"ada@example.com").hexdigest()


def streams(name: str) -> dict[str, Any]:
    found: dict[str, Any] = MAPPINGS[name]["streams"]
    return found


def test_the_page_has_these_mappings() -> None:
    assert set(MAPPINGS) == {
        "robotmia events",
        "customers",
        "newsletter",
        "identities",
        "erasure requests",
    }


def test_robotmia_events_become_user_activities(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    event = {
        "event_id": "0c6fbd1b",
        "event": "Order completed",
        "time": "2026-01-02T03:04:05.678Z",
        "distinct_id": "user-7",
        "insert_id": None,
        "properties": {"time": 1767323045, "amount": 12.5, "items": [{"sku": "A"}]},
    }
    message = schema("events", ["event_id"], properties={"type": "object"})
    lines = [record("events", **event), record("events", **event)]
    run = load(message, *lines, streams=streams("robotmia events"))
    assert run.error is None
    # sent twice, stored once
    (activity,) = vendor.activities()
    assert activity == {
        "$compartment_id": "1001",
        "$user_account_id": "user-7",
        "$type": "TOUCH",
        "$session_status": "NO_SESSION",
        "$ts": 1767323045678,
        "$unique_key": activity["$unique_key"],
        "$events": [
            {
                "$event_name": "Order completed",
                "$ts": 1767323045678,
                "$properties": event["properties"],
            }
        ],
    }
    assert uuid.UUID(activity["$unique_key"]).version == 1
    assert vendor.imports()[0]["document_type"] == "USER_ACTIVITY"


def test_the_filter_of_the_page_leaves_out_events_without_a_user(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    (text,) = FILTER.findall(PAGE.read_text("utf-8"))
    message = schema(
        "events",
        ["event_id"],
        event_id={"type": "string"},
        distinct_id={"type": ["string", "null"]},
    )
    event = {"event_id": "a", "event": "Login", "time": "2026-01-02T03:04:05Z", "properties": {}}
    lines = [
        record("events", **event, distinct_id=None),
        record("events", **{**event, "event_id": "b"}, distinct_id="user-7"),
    ]
    settings = {"streams": streams("robotmia events"), **yaml.safe_load(text)}
    run = load(message, *lines, **settings)
    assert run.error is None
    assert [each["$user_account_id"] for each in vendor.activities()] == ["user-7"]


def test_a_customer_table_becomes_user_profiles(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema("customers", ["customer_id"]),
        record("customers", customer_id=7, first_name="Ada", city="Paris", loyalty_points=3),
        record("customers", customer_id=7, first_name="Ada", city="London"),
        streams=streams("customers"),
    )
    assert run.error is None
    assert vendor.profiles() == {
        "compartment_id=1001,user_account_id=7": {
            "first_name": "Ada",
            "city": "London",
            "loyalty_points": 3,
            "$user_account_id": "7",
            "$compartment_id": 1001,
        }
    }


def test_a_list_becomes_the_members_of_a_segment(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema("newsletter"),
        record("newsletter", id=1, email=" Ada@Example.com"),
        streams=streams("newsletter"),
    )
    assert run.error is None
    assert vendor.members("newsletter") == {f"email_hash={HASH}": 43200}


def test_identifiers_are_associated(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    run = load(
        schema("identities", ["customer_id"]),
        record("identities", customer_id=7, email="ada@example.com"),
        streams=streams("identities"),
    )
    assert run.error is None
    assert vendor.documents() == [
        {
            "identifiers": [
                {"type": "USER_ACCOUNT", "compartment_id": "1001", "user_account_id": "7"},
                {"type": "USER_EMAIL", "hash": HASH},
            ]
        }
    ]


def test_erasure_requests_become_deletions(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    run = load(
        schema("erasure_requests", ["customer_id"]),
        record("erasure_requests", customer_id="7"),
        streams=streams("erasure requests"),
    )
    assert run.error is None
    assert vendor.documents() == [
        {"type": "USER_ACCOUNT", "compartment_id": "1001", "user_account_id": "7"}
    ]
    assert vendor.imports()[0]["document_type"] == "USER_POINTS_DELETION"


def test_deleted_customers_lose_their_profile(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema("customers", ["customer_id"]),
        record("customers", customer_id=7, first_name="Ada"),
        record("customers", customer_id=8, first_name="Bob"),
        record("customers", customer_id=7, _sdc_deleted_at="2026-01-02T03:04:05Z"),
        streams=streams("customers"),
        deletes="apply",
    )
    assert run.error is None
    assert list(vendor.profiles()) == ["compartment_id=1001,user_account_id=8"]
