from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MappingError
from target_mediarithmics.documents import document_type
from tests.sandbox.mediarithmics_documents import LineError, check_document
from tests.target_mediarithmics.conftest import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

EVENT = {"$event_name": "visit", "$ts": 1605262037783, "$properties": {}}
ACTIVITY: dict[str, Any] = {
    "$email_hash": {"$email": "a@example.com"},
    "$type": "TOUCH",
    "$session_status": "NO_SESSION",
    "$ts": 1605262037783,
    "$events": [EVENT],
}
PROFILE: dict[str, Any] = {
    "operation": "UPSERT",
    "user_account_id": "7",
    "user_profile": {"city": "Paris"},
}
SEGMENT: dict[str, Any] = {
    "operation": "UPDATE",
    "email_hash": "5d41",
    "segment_id": "8",
    "expiration_duration": 1440,
}
CHOICE: dict[str, Any] = {
    "operation": "UPSERT",
    "user_agent_id": "vec:1",
    "user_choice": {"$processing_id": "3", "$choice_ts": 1605262037783},
}
ACCOUNT = {"type": "USER_ACCOUNT", "compartment_id": "1", "user_account_id": "7"}
EMAIL = {"type": "USER_EMAIL", "hash": "5d41"}
ASSOCIATION = {"identifiers": [ACCOUNT, EMAIL]}
DISSOCIATION = {"identifiers": [EMAIL]}

GOOD = [
    ("USER_ACTIVITY", ACTIVITY),
    ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": "9f1c1a52-0f0e-11ee-be56-0242ac120002"}),
    ("USER_PROFILE", PROFILE),
    ("USER_PROFILE", {**PROFILE, "compartment_id": "1", "update_strategy": "FORCE_REPLACE"}),
    ("USER_PROFILE", {"operation": "DELETE", "email_hash": "5d41"}),
    ("USER_SEGMENT", SEGMENT),
    ("USER_SEGMENT", {**SEGMENT, "expiration_duration": 0}),
    ("USER_CHOICE", CHOICE),
    ("USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", ASSOCIATION),
    ("USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS", DISSOCIATION),
    ("USER_IDENTIFIERS_DELETION", ACCOUNT),
    ("USER_POINTS_DELETION", {"type": "USER_POINT", "user_point_id": "95772db3"}),
]

BAD = [
    ("USER_ACTIVITY", {**ACTIVITY, "$email_hash": None}, "$user_account_id"),
    ("USER_ACTIVITY", {**ACTIVITY, "$user_account_id": "7"}, "$email_hash"),
    ("USER_ACTIVITY", {**ACTIVITY, "$compartment_id": "1"}, "$compartment_id"),
    ("USER_ACTIVITY", {**ACTIVITY, "$email_hash": {}}, "$email_hash"),
    ("USER_ACTIVITY", {**ACTIVITY, "operation": "UPSERT"}, "operation"),
    ("USER_ACTIVITY", {**ACTIVITY, "$ts": 1605262037}, "$ts"),
    ("USER_ACTIVITY", {**ACTIVITY, "$ts": "2020-11-13T10:07:17Z"}, "$ts"),
    ("USER_ACTIVITY", {**ACTIVITY, "$ts": 1605262037783000}, "$ts"),
    ("USER_ACTIVITY", {**ACTIVITY, "$type": None}, "$type"),
    ("USER_ACTIVITY", {**ACTIVITY, "$session_status": ""}, "$session_status"),
    ("USER_ACTIVITY", {**ACTIVITY, "$events": None}, "$events"),
    ("USER_ACTIVITY", {**ACTIVITY, "$events": [{**EVENT, "$ts": 1605262037}]}, "$events.$ts"),
    ("USER_ACTIVITY", {**ACTIVITY, "$events": [{"$ts": 1605262037783}]}, "$events.$event_name"),
    ("USER_ACTIVITY", {**ACTIVITY, "$unique_key": ""}, "$unique_key"),
    ("USER_PROFILE", {**PROFILE, "operation": "UPDATE"}, "operation"),
    ("USER_PROFILE", {**PROFILE, "operation": None}, "operation"),
    ("USER_PROFILE", {**PROFILE, "email_hash": "5d41"}, "user_account_id"),
    ("USER_PROFILE", {**PROFILE, "user_profile": "Paris"}, "user_profile"),
    ("USER_PROFILE", {**PROFILE, "update_strategy": "MERGE"}, "update_strategy"),
    (
        "USER_PROFILE",
        {**PROFILE, "user_profile": {"$user_account_id": "8"}},
        "user_profile.$user_account_id",
    ),
    ("USER_SEGMENT", {**SEGMENT, "operation": "UPSERT"}, "operation"),
    ("USER_SEGMENT", {**SEGMENT, "expiration_duration": None}, "expiration_duration"),
    ("USER_SEGMENT", {**SEGMENT, "expiration_duration": -1}, "expiration_duration"),
    ("USER_SEGMENT", {**SEGMENT, "expiration_duration": True}, "expiration_duration"),
    ("USER_SEGMENT", {**SEGMENT, "segment_id": None}, "segment_id"),
    ("USER_SEGMENT", {**SEGMENT, "segment_technical_name": "x"}, "segment_id"),
    ("USER_CHOICE", {**CHOICE, "user_choice": {"$choice_ts": 1}}, "user_choice.$processing_id"),
    ("USER_CHOICE", {**CHOICE, "user_choice": {"$processing_id": "3"}}, "user_choice.$choice_ts"),
    ("USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", DISSOCIATION, "identifiers"),
    (
        "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS",
        {"identifiers": [{"type": "PHONE"}]},
        "identifiers.type",
    ),
    ("USER_IDENTIFIERS_DELETION", {"type": "USER_EMAIL"}, "hash"),
    ("USER_POINTS_DELETION", {"type": "USER_POINT"}, "user_point_id"),
]


@pytest.mark.parametrize(("name", "document"), GOOD)
def test_a_right_document_is_one_for_the_vendor_too(name: str, document: dict[str, Any]) -> None:
    check_config = document_type(name).check(document)
    check_document(name, check_config.document, "APPLICATION_X_NDJSON")
    assert check_config.identifier


@pytest.mark.parametrize(("name", "document", "field"), BAD)
def test_a_wrong_document_is_refused_with_the_name_of_the_field(
    name: str, document: dict[str, Any], field: str
) -> None:
    with pytest.raises(MappingError) as caught:
        document_type(name).check(document)
    assert field in str(caught.value).partition(": ")[0].split(", ")
    with pytest.raises(LineError):
        check_document(name, document, "APPLICATION_X_NDJSON")


def test_what_only_the_vendor_can_judge_is_left_to_the_vendor() -> None:
    document = {"$user_account_id": "7", "$ts": 1605262037783, "$unique_key": "order 1"}
    assert document_type("USER_ACTIVITY").check(document).document == document


def test_a_deletion_names_one_identifier() -> None:
    with pytest.raises(MappingError, match=r"^user_agent_id: only one identifier"):
        document_type("USER_IDENTIFIERS_DELETION").check({**EMAIL, "user_agent_id": "vec:1"})


def test_seconds_are_refused_with_the_filter_that_makes_milliseconds() -> None:
    with pytest.raises(MappingError, match=r"\$ts: .* \| epoch_ms"):
        document_type("USER_ACTIVITY").check({**ACTIVITY, "$ts": 1605262037})


def test_a_profile_repeats_its_identifiers_inside() -> None:
    document = {**PROFILE, "compartment_id": "1"}
    check_config, _ = document_type("USER_PROFILE").check(document)
    assert check_config["user_profile"] == {
        "city": "Paris",
        "$user_account_id": "7",
        "$compartment_id": "1",
    }
    assert document["user_profile"] == {"city": "Paris"}


def test_identifiers_and_durations_get_the_type_that_the_vendor_takes() -> None:
    document = {**SEGMENT, "segment_id": 8, "expiration_duration": "1440"}
    check_config, _ = document_type("USER_SEGMENT").check(document)
    assert (check_config["segment_id"], check_config["expiration_duration"]) == ("8", 1440)
    profile = {"operation": "DELETE", "user_account_id": 7, "compartment_id": 1}
    check_config, identifier = document_type("USER_PROFILE").check(profile)
    assert (check_config["user_account_id"], check_config["compartment_id"]) == ("7", "1")
    assert identifier == "compartment_id=1,user_account_id=7"


def test_an_account_of_another_compartment_is_somebody_else() -> None:
    check = document_type("USER_PROFILE").check
    assert check(PROFILE).identifier != check({**PROFILE, "compartment_id": "1"}).identifier


def test_documents_of_types_that_are_not_known_pass_unchecked(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    streams = {"list": {"document_type": "USER_DEVICE_POINT_DELETION"}}
    run = load(schema(), record(id=1, anything=[1]), streams=streams)
    assert run.error is None
    assert vendor.documents() == [{"id": 1, "anything": [1]}]


def test_a_broken_rule_rejects_the_record_and_nothing_else(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(),
        record(id=1, **SEGMENT),
        record(id=2, **{**SEGMENT, "operation": "INSERT"}),
        record(id=3, **{**SEGMENT, "email_hash": "ffff"}),
        state({"n": 3}),
        streams={"list": {"document_type": "USER_SEGMENT"}},
        max_rejected_records=1,
    )
    assert run.error is None
    assert run.counts() == {"read": 3, "delivered": 2, "rejected": 1}
    assert run.states == [{"n": 3}]
    (line,) = run.rejected
    assert line["key"] == {"id": 2}
    assert line["reason"] == "operation: must be one of UPDATE, DELETE"
    assert line["record"]["operation"] == "INSERT"
    assert sorted(vendor.members("8")) == ["email_hash=5d41", "email_hash=ffff"]


def test_a_rejected_record_beyond_the_allowance_ends_the_run(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(),
        record(id=1, **SEGMENT),
        state({"n": 1}),
        record(id=2, **{**SEGMENT, "segment_id": None}),
        state({"n": 2}),
        streams={"list": {"document_type": "USER_SEGMENT"}},
    )
    assert "stream 'list': a record was rejected: segment_id:" in str(run.error)
    assert run.states == [{"n": 1}]
    assert list(vendor.members("8")) == ["email_hash=5d41"]
