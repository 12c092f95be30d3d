from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mediarithmics.conftest import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

DELETED = "2026-01-02T03:04:05Z"
PROFILE = {
    "document_type": "USER_PROFILE",
    "document": {
        "operation": "UPSERT",
        "compartment_id": "1",
        "user_account_id": "{{ id }}",
        "user_profile": {"name": "{{ name.upper() }}", "$user_account_id": "{{ id }}"},
    },
}
SEGMENT = {
    "document_type": "USER_SEGMENT",
    "document": {
        "operation": "UPDATE",
        "email_hash": "{{ id }}",
        "segment_technical_name": "vip",
        "expiration_duration": 60,
    },
}
CHOICE = {
    "document_type": "USER_CHOICE",
    "document": {
        "operation": "UPSERT",
        "user_agent_id": "vec:{{ id }}",
        "user_choice": {
            "$processing_id": "3",
            "$choice_ts": "{{ at | epoch_ms }}",
            "$choice_acceptance_value": True,
        },
    },
}
WITHOUT = {
    "USER_ACTIVITY": {
        "document_type": "USER_ACTIVITY",
        "document": {"$user_account_id": "{{ id }}"},
    },
    "USER_POINTS_DELETION": {
        "document_type": "USER_POINTS_DELETION",
        "document": {"type": "USER_ACCOUNT", "user_account_id": "{{ id }}"},
    },
    "ANYTHING": {"document_type": "ANYTHING"},
}


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        (PROFILE, {"operation": "DELETE", "compartment_id": "1", "user_account_id": "a"}),
        (
            SEGMENT,
            {
                "operation": "DELETE",
                "email_hash": "a",
                "segment_technical_name": "vip",
                "expiration_duration": 60,
            },
        ),
        (
            CHOICE,
            {
                "operation": "DELETE",
                "user_agent_id": "vec:a",
                "user_choice": {"$processing_id": "3"},
            },
        ),
    ],
)
def test_a_deleted_record_becomes_the_operation_delete_with_what_it_needs(
    vendor: Mediarithmics, load: Callable[..., Run], mapping: dict[str, Any], line: dict[str, Any]
) -> None:
    # a deleted record may hold its key alone
    run = load(
        schema(), record(id="a", _sdc_deleted_at=DELETED), streams={"list": mapping},
        deletes="apply",
    )  # fmt: skip
    assert run.error is None
    assert run.counts() == {"read": 1, "delivered": 1, "rejected": 0}
    assert vendor.documents() == [line]


def test_a_deletion_comes_after_what_it_deletes(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id="a", name="A"), record(id="b", name="B"),
        record(id="a", _sdc_deleted_at=DELETED), streams={"list": PROFILE}, deletes="apply",
    )  # fmt: skip
    assert run.error is None
    assert list(vendor.profiles()) == ["compartment_id=1,user_account_id=b"]


def test_a_deleted_document_that_is_the_whole_record_keeps_only_what_deletion_needs(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    fields = {"operation": "UPDATE", "email_hash": "a", "segment_id": "8"}
    run = load(
        schema(), record(id=1, **fields, city="Paris", _sdc_deleted_at=DELETED),
        streams={"list": {"document_type": "USER_SEGMENT"}}, deletes="apply",
    )  # fmt: skip
    assert run.error is None
    assert vendor.documents() == [{**fields, "operation": "DELETE"}]


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_type_without_that_operation_rejects_the_record(
    vendor: Mediarithmics, load: Callable[..., Run], kind: str
) -> None:
    run = load(
        schema(), record(id="a", _sdc_deleted_at=DELETED), streams={"list": WITHOUT[kind]},
        deletes="apply", max_rejected_records=1,
    )  # fmt: skip
    assert run.counts() == {"read": 1, "delivered": 0, "rejected": 1}
    assert "no operation DELETE" in run.rejected[0]["reason"]
    assert vendor.import_executions() == []


def test_a_deletion_without_an_identifier_is_rejected(load: Callable[..., Run]) -> None:
    run = load(
        schema(), record(id=None, _sdc_deleted_at=DELETED), streams={"list": PROFILE},
        deletes="apply", max_rejected_records=1,
    )  # fmt: skip
    assert run.rejected[0]["reason"].startswith("user_account_id: ")


def test_deleted_records_are_left_out_and_counted_by_default(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id="a", _sdc_deleted_at=DELETED), record(id="b", name="B"),
        streams={"list": PROFILE},
    )  # fmt: skip
    assert run.error is None
    assert run.summaries["list"]["skipped_deletes"] == 1
    assert list(vendor.profiles()) == ["compartment_id=1,user_account_id=b"]
