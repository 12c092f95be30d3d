"""target-mediarithmics with a ledger, against the sandbox."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mediarithmics.conftest import TABLE, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

DELETED = "2026-01-02T03:04:05Z"
SEGMENT = {
    "list": {
        "document_type": "USER_SEGMENT",
        "document": {
            "operation": "UPDATE",
            "email_hash": "{{ id }}",
            "segment_id": "{{ segment or '8' }}",
            "expiration_duration": "{{ minutes or 60 }}",
        },
    }
}


@pytest.fixture
def ledger(settings: dict[str, Any], tmp_path: Path) -> str:
    settings["ledger"] = str(tmp_path / "ledger.db")
    return str(settings["ledger"])


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("streams", [SEGMENT, TABLE], ids=["JSON", "CSV"])
def test_only_changed_documents_are_sent(
    load: Callable[..., Run], vendor: Mediarithmics, streams: dict[str, Any]
) -> None:
    people = [record(id=name, name={"n": name}) for name in ("a", "b", "c")]
    load(schema(), *people, state(1), streams=streams)
    run = load(schema(), *people, record(id="d", name={"n": "d"}), state(2), streams=streams)
    assert run.states == [2]
    assert [each["email_hash"] for each in vendor.documents()] == ["a", "b", "c", "d"]
    assert run.summaries["list"]["unchanged"] == 3
    run = load(schema(), *people, state(3), streams=streams)
    assert run.states == [3]
    assert run.summaries["list"]["requests"] == 0


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("setting", [{"resend_after_days": 1e-12}, {"ledger_reset": True}], ids=str)
def test_a_setting_sends_unchanged_documents_again(
    load: Callable[..., Run], vendor: Mediarithmics, setting: dict[str, Any]
) -> None:
    for settings in ({}, {}, setting):
        run = load(schema(), record(id="a"), streams=SEGMENT, **settings)
    assert run.summaries["list"]["unchanged"] == 0
    assert len(vendor.documents()) == 2


@pytest.mark.usefixtures("ledger")
def test_a_row_is_sent_again_after_its_column_is_renamed(
    load: Callable[..., Run], vendor: Mediarithmics
) -> None:
    document = TABLE["list"]["document"]
    renamed = {name.replace("data_bag", "other"): value for name, value in document.items()}
    for columns in (document, renamed, renamed):
        streams = {"list": {**TABLE["list"], "document": columns}}
        load(schema(), record(id="a", name="{}"), streams=streams)
    assert [next(reversed(each)) for each in vendor.documents()] == ["data_bag", "other"]


@pytest.mark.usefixtures("ledger")
def test_a_user_in_two_segments_has_two_keys(
    load: Callable[..., Run], vendor: Mediarithmics
) -> None:
    lines = [record(id="a", segment="8"), record(id="a", segment="9")]
    for _ in range(2):
        load(schema(), *lines, streams=SEGMENT)
    assert [each["segment_id"] for each in vendor.documents()] == ["8", "9"]


@pytest.mark.usefixtures("ledger")
def test_a_member_who_was_deleted_is_added_again(
    load: Callable[..., Run], vendor: Mediarithmics
) -> None:
    load(schema(), record(id="a"), streams=SEGMENT)
    load(schema(), record(id="a", _sdc_deleted_at=DELETED), streams=SEGMENT, deletes="apply")
    assert vendor.members("8") == {}
    load(schema(), record(id="a"), streams=SEGMENT)
    assert list(vendor.members("8")) == ["email_hash=a"]


@pytest.mark.usefixtures("ledger")
def test_a_failed_line_is_sent_again(load: Callable[..., Run], vendor: Mediarithmics) -> None:
    people = [record(id=name) for name in ("a", "b")]
    vendor.refuse_if = lambda _, document: document["email_hash"] == "b"
    first = load(schema(), *people, streams=SEGMENT, max_rejected_records=1)
    second = load(schema(), *people, streams=SEGMENT, max_rejected_records=1)
    summaries = [run.summaries["list"] for run in (first, second)]
    assert [summary["rejected"] for summary in summaries] == [1, 1]
    assert [summary["unchanged"] for summary in summaries] == [0, 1]


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("shape", ["free_text"])
def test_if_the_failed_lines_are_unknown_all_are_sent_again(
    load: Callable[..., Run], vendor: Mediarithmics, shape: str
) -> None:
    people = [record(id=name) for name in ("a", "b")]
    vendor.error_shape = shape
    vendor.refuse_if = lambda _, document: document["email_hash"] == "b"
    load(schema(), *people, streams=SEGMENT, max_rejected_records=1)
    run = load(schema(), *people, streams=SEGMENT, max_rejected_records=1)
    assert run.summaries["list"]["unchanged"] == 0


@pytest.mark.usefixtures("ledger")
def test_documents_that_do_not_replace_others_cannot_have_a_ledger(
    load: Callable[..., Run],
) -> None:
    mapping = {
        "list": {"document_type": "USER_ACTIVITY", "document": {"$user_account_id": "{{ id }}"}}
    }
    run = load(schema(), record(id="a"), streams=mapping)
    assert "setting 'ledger': stream 'list': no document of the type USER_ACTIVITY" in str(
        run.error
    )


@pytest.mark.usefixtures("ledger")
def test_random_runs_have_the_same_members_as_without_a_ledger(
    load: Callable[..., Run], vendor: Mediarithmics
) -> None:
    chance = random.Random(7)
    expected: dict[str, int] = {}
    for _ in range(5):
        lines = []
        for _ in range(chance.randrange(1, 20)):
            name, minutes = chance.choice("abcd"), chance.choice((10, 20, None))
            deleted = {} if minutes else {"_sdc_deleted_at": DELETED}
            lines.append(record(id=name, minutes=minutes, **deleted))
            expected.pop(f"email_hash={name}", None)
            if minutes:
                expected[f"email_hash={name}"] = minutes
        load(schema(), *lines, streams=SEGMENT, deletes="apply", max_request_rows=3)
        assert vendor.members("8") == expected
    count = len(vendor.documents())
    people = [
        record(id=key.removeprefix("email_hash="), minutes=minutes)
        for key, minutes in expected.items()
    ]
    load(schema(), *people, streams=SEGMENT)
    assert len(vendor.documents()) == count


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("minutes", "days", "is_warned"),
    [(1440, None, True), (1440, 1, True), (2000, 1, False), (0, None, False)],
)
def test_memberships_that_expire_before_they_are_sent_again_are_warned_of(
    load: Callable[..., Run], minutes: int, days: int | None, is_warned: bool
) -> None:
    document = {**SEGMENT["list"]["document"], "expiration_duration": minutes}  # type: ignore[dict-item]
    streams = {"list": {**SEGMENT["list"], "document": document}}
    run = load(schema(), record(id="a"), streams=streams, resend_after_days=days)
    warnings = [line for line in run.log if "unchanged members are not sent again" in line]
    assert len(warnings) == is_warned
