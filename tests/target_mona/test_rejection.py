"""Rejected records are found, reported and replayed; the others are delivered."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import record, records, schema, state
from tests.sandbox.impostors import IMPOSTORS

if TYPE_CHECKING:
    from tests.sandbox.mona import FailureKeys, Mona
    from tests.sandbox.server import Sandbox
    from tests.target_mona.conftest import Target

ADD = {"orders": {"action": "ADD"}}
REJECTS = Path(sys.executable).with_name("singer-martech-rejects")


def refuses(*ids: object) -> Any:
    """Make Mona reject the messages with these ids."""
    return lambda message: "it is bad" if message["message"].get("id") in ids else None


@pytest.mark.parametrize("keys", ["index", "context_id", "both", "index_list", "none"])
@pytest.mark.parametrize("prefix", ["", "order-"])
def test_the_rejected_records_are_found_and_the_others_delivered(
    target: Target, mona: Mona, keys: FailureKeys, prefix: str
) -> None:
    mona.failure_keys = keys
    ids = [f"{prefix}{number}" for number in range(30)]
    bad = [ids[3], ids[17], ids[29]]
    mona.refuse_if = refuses(*bad)
    run = target(schema(), *(record(id=each) for each in ids), state(1), max_rejected_records=3)
    assert run.status == 0
    assert run.states == [1]
    assert {key[1] for key in mona.records()} == set(ids) - set(bad)
    assert sorted(each["key"]["id"] for each in run.rejects) == sorted(bad)
    assert {each["status"] for each in run.rejects} == {400}
    reason = "rejected without a reason" if keys == "none" else "it is bad"
    assert {each["reason"] for each in run.rejects} == {reason}
    counts = run.summary()
    assert (counts["read"], counts["delivered"], counts["rejected"]) == (30, 27, 3)
    if prefix and keys != "none":
        assert len(mona.exports) == 1


@pytest.mark.parametrize("status", [200, 207, 500, 503])
def test_a_partial_rejection_is_recognized_with_any_status(
    target: Target, sandbox: Sandbox, mona: Mona, status: int
) -> None:
    body = {"failed": 1, "failure_reasons": {"b": "it is bad"}}
    sandbox.faults.add("mona", "/export", status=status, body=body)
    run = target(schema(), *(record(id=each) for each in "abc"), max_rejected_records=1)
    assert run.status == 0
    (reject,) = run.rejects
    assert (reject["key"], reject["reason"]) == ({"id": "b"}, "it is bad")
    assert reject["status"] == status
    assert len(mona.exports) == 1


def is_success(impostor: str) -> bool:
    """Whether a response may be a success of Mona, whose body is not documented."""
    return impostor.startswith("empty") or impostor == "null"


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_response_that_names_an_error_or_is_html_is_retried(
    target: Target, sandbox: Sandbox, mona: Mona, impostor: str
) -> None:
    sandbox.faults.add("mona", "/export", impostor=impostor)
    run = target(schema(), record(id=1), state(1))
    assert (run.status, run.states) == (0, [1])
    assert len(mona.messages()) == (0 if is_success(impostor) else 1)


@pytest.mark.parametrize("impostor", [each for each in IMPOSTORS if not is_success(each)])
def test_add_is_then_reported_as_outcome_unknown(
    target: Target, sandbox: Sandbox, mona: Mona, impostor: str
) -> None:
    sandbox.faults.add("mona", "/export", impostor=impostor)
    run = target(schema(), record(id=1), streams=ADD, max_rejected_records=1)
    assert run.status == 0
    assert len(mona.exports) == 1
    assert run.rejects[0]["reason"].startswith("outcome unknown")


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_login_needs_an_access_token(
    target: Target, sandbox: Sandbox, mona: Mona, impostor: str
) -> None:
    fault = sandbox.faults.add("mona", "/api-token", impostor=impostor)
    assert target(schema(), record(id=1)).status == 0
    assert fault.served == 1
    assert len(mona.messages()) == 1


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_renewal_needs_an_access_token(
    target: Target, sandbox: Sandbox, mona: Mona, impostor: str
) -> None:
    sandbox.faults.add("mona", "/export", expire_token=True, after=1)
    fault = sandbox.faults.add("mona", "/token/refresh", impostor=impostor)
    run = target(schema(), *records(2), max_request_rows=1, parallel_requests=1)
    assert run.status == 0
    assert fault.served == 1
    assert len(mona.messages()) == 2


def test_a_permanent_error_in_a_success_ends_the_run_without_state(
    target: Target, sandbox: Sandbox
) -> None:
    body = {"topLevelError": "no such user"}
    sandbox.faults.add("mona", "/export", status=200, body=body, times=None)
    run = target(schema(), record(id=1), state(1), max_attempts=2)
    assert run.status == 1
    assert "no such user" in run.reason
    assert run.states == []


@pytest.mark.parametrize(
    ("status", "delivered"),
    [
        ("ERROR", 0), ("failed", 0), ("Unauthorized", 0), ("503", 0), (500, 0),
        ("Internal Server Error", 0), ("Service Unavailable", 0),
        ("ok", 1), ("success", 1), ("accepted", 1), ("200", 1), (201, 1), (True, 1), (None, 1),
    ],
)  # fmt: skip
def test_a_status_in_the_body_says_whether_a_2xx_is_success(
    target: Target, sandbox: Sandbox, status: Any, delivered: int
) -> None:
    fault = sandbox.faults.add("mona", "/export", status=200, body={"status": status}, times=None)
    run = target(schema(), record(id=1), state(1), max_attempts=1)
    assert fault.served == 1
    assert (run.status, run.states) == ((0, [1]) if delivered else (1, []))


@pytest.mark.parametrize("keys", ["text", "null", "missing"])
def test_a_plain_text_is_the_reason_of_the_rejected_records(
    target: Target, mona: Mona, keys: FailureKeys
) -> None:
    mona.failure_keys = keys
    mona.refuse_if = refuses(3, 17)
    run = target(schema(), *records(30), max_rejected_records=2)
    assert run.status == 0
    assert sorted(each["key"]["id"] for each in run.rejects) == [3, 17]
    reason = "it is bad" if keys == "text" else "rejected without a reason"
    assert {each["reason"] for each in run.rejects} == {reason}
    assert len(mona.records()) == 28


def test_a_plain_text_response_is_the_reason_of_the_rejected_records(
    target: Target, mona: Mona
) -> None:
    mona.refusal_body = "it is bad"
    mona.refuse_if = refuses(3)
    run = target(schema(), *records(10), max_rejected_records=1)
    assert [each["key"]["id"] for each in run.rejects] == [3]
    assert run.rejects[0]["reason"].endswith("it is bad")


def test_a_wrong_user_id_ends_the_run_at_once_and_is_named(target: Target, mona: Mona) -> None:
    run = target(schema(), *records(3000), state(1), user_id="1", max_rejected_records=5000)
    assert run.status == 1
    assert "check setting 'user_id'" in run.reason
    assert len(mona.exports) <= 4
    assert (run.rejects, run.states) == ([], [])


def test_a_completely_rejected_request_is_split(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", status=400, body={"topLevelError": "something"}, times=3)
    run = target(schema(), *records(8), max_rejected_records=1)
    assert run.status == 0
    assert len(mona.messages()) == 8 - len(run.rejects)


def add_of(*ids: str, **fields: Any) -> list[Any]:
    return [schema(), *(record(id=each, **fields) for each in ids), state(1)]


@pytest.mark.parametrize("fault", [{"reset": "after"}, {"reset": "before"}, {"status": 503}])
def test_add_is_never_repeated_when_it_may_have_been_accepted(
    target: Target, sandbox: Sandbox, mona: Mona, fault: dict[str, Any]
) -> None:
    sandbox.faults.add("mona", "/export", **fault)
    run = target(*add_of("a", "b", "c"), streams=ADD, max_rejected_records=3)
    assert run.status == 0
    assert len(mona.exports) == 1
    assert [each["reason"].partition(":")[0] for each in run.rejects] == ["outcome unknown"] * 3


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 0.01}, {"expire_token": True}])
def test_add_is_repeated_when_it_was_certainly_not_accepted(
    target: Target, sandbox: Sandbox, mona: Mona, fault: dict[str, Any]
) -> None:
    sandbox.faults.add("mona", "/export", **fault)
    run = target(*add_of("a", "b", "c"), streams=ADD)
    assert run.status == 0
    assert len(mona.exports) == 2
    assert len(mona.messages()) == 3


def test_add_is_split_when_nothing_was_accepted(target: Target, mona: Mona) -> None:
    mona.max_messages = 2
    run = target(*add_of(*"abcdefg"), streams=ADD)
    assert run.status == 0
    assert sorted(each["context_id"] for each in mona.messages()) == list("abcdefg")


def test_add_is_not_split_after_a_partial_rejection(target: Target, mona: Mona) -> None:
    mona.failure_keys = "none"
    mona.refuse_if = refuses("b")
    run = target(*add_of("a", "b", "c"), streams=ADD, max_rejected_records=3)
    assert run.status == 0
    assert len(mona.exports) == 1
    assert [each["context_id"] for each in mona.messages()] == ["a", "c"]
    assert [each["reason"].partition(":")[0] for each in run.rejects] == ["outcome unknown"] * 3


INDEX_OF_5000_DIGITS = '{"failed": 1, "failure_reasons": {"%s": "x"}}' % ("1" * 5000)
CODE_OF_5000_DIGITS = '{"failed": 1, "failure_reasons": {"0": {"code": %s}}}' % ("1" * 5000)
CUT = '{"failed": 1, "failure_reasons": {"0": "x'
HALF_A_SURROGATE = '{"failed": 1, "failure_reasons": {"0": {"code": "\\ud800"}}}'


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (INDEX_OF_5000_DIGITS, {"outcome unknown"}),
        (CODE_OF_5000_DIGITS, {'{"code"'}),
        (CUT, {"outcome unknown"}),
        (HALF_A_SURROGATE, {'{"code"'}),
    ],
    ids=["index of 5,000 digits", "code of 5,000 digits", "cut", "half a surrogate"],
)
def test_a_partial_rejection_with_unusual_values_ends_no_run_and_repeats_no_add(  # noqa: PLR0917
    target: Target, sandbox: Sandbox, mona: Mona, status: int, body: str, reasons: set[str]
) -> None:
    sandbox.faults.add("mona", "/export", status=status, body=body, times=None)
    run = target(*add_of("a", "b", "c"), streams=ADD, max_rejected_records=3)
    assert run.status == 0
    assert run.states == [1]
    assert len(mona.exports) == 1
    assert {each["reason"].partition(":")[0] for each in run.rejects} == reasons


def test_add_with_identified_messages_needs_no_second_request(target: Target, mona: Mona) -> None:
    mona.refuse_if = refuses("b")
    mona.failure_keys = "context_id"
    run = target(*add_of("a", "b", "c"), streams=ADD, max_rejected_records=1)
    assert run.status == 0
    assert len(mona.exports) == 1
    assert [each["key"]["id"] for each in run.rejects] == ["b"]


def test_a_message_without_a_context_id_is_never_repeated_either(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", reset="after")
    run = target(schema(keys=[]), record(id=1), max_rejected_records=1)
    assert run.status == 0
    assert len(mona.messages()) == 1
    assert run.rejects[0]["reason"].startswith("outcome unknown")


@pytest.mark.parametrize(
    ("allowed", "status", "states"), [(0, 1, [1]), (1, 1, [2]), (2, 0, [4]), ("2", 0, [4])]
)
def test_the_allowance_decides_the_exit_status_and_state_stops_before_one_too_many(
    target: Target, mona: Mona, allowed: Any, status: int, states: list[int]
) -> None:
    mona.refuse_if = refuses("b", "c")
    lines = [(record(id=each), state(number)) for number, each in enumerate("abcd", 1)]
    run = target(schema(), *(each for pair in lines for each in pair), max_rejected_records=allowed)
    assert run.status == status
    assert run.states[-1:] == states
    if status:
        assert run.reason.startswith("stream 'orders': a record was rejected: it is bad -- ")
        assert f"max_rejected_records: {allowed}" in run.reason
        assert str(run.reports[0]) in run.reason
        assert "Traceback" not in run.log


def test_when_one_too_many_is_rejected_what_was_read_before_is_still_delivered(
    target: Target, mona: Mona
) -> None:
    run = target(
        schema(id={"type": "integer"}),
        *records(5),
        state(5),
        record(id="x"),
        record(id=7),
        state(7),
    )
    assert run.status == 1
    assert run.states == [5]
    assert [each["message"]["id"] for each in mona.messages()] == [1, 2, 3, 4, 5]
    assert run.rejects[0]["reason"].startswith("breaks its schema at id: ")


def test_a_report_has_the_promised_form_and_holds_the_record_before_stream_maps(
    target: Target, mona: Mona
) -> None:
    mona.refuse_if = lambda _message: "it is bad"
    target.config["stream_maps"] = {"orders": {"id": "id", "secret": "__NULL__", "__alias__": "o"}}
    line = '{"type":"RECORD","stream":"orders","record":{"id":1, "secret": 1.10}}'
    run = target(
        schema(id={"type": "integer"}, secret={"type": "number"}), line, max_rejected_records=1
    )
    assert run.status == 0
    (path,) = run.reports
    target_name, stream, _run, suffix = path.name.split(".")
    assert (target_name, stream, suffix) == ("target-mona", "orders", "jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert '"record":{"id":1, "secret": 1.10},' in text
    entry = json.loads(text)
    assert list(entry) == ["stream", "key", "reason", "status", "record", "rejected_at"]
    assert (entry["stream"], entry["key"], entry["status"]) == ("orders", {"id": 1}, 400)


def test_rejected_records_can_be_replayed(target: Target, mona: Mona) -> None:
    mona.refuse_if = refuses(2, 4)
    first = target(schema(id={"type": "integer"}), *records(5, price=1.5), max_rejected_records=2)
    assert first.status == 0
    mona.refuse_if = None
    messages = subprocess.run(
        [REJECTS, "replay", *first.reports], capture_output=True, check=True
    ).stdout
    second = target(messages.rstrip(b"\n"))
    assert second.status == 0
    assert second.summary()["delivered"] == 2
    assert sorted(value["id"] for value in mona.records().values()) == [1, 2, 3, 4, 5]
    counted = subprocess.run(
        [REJECTS, "summary", *first.reports], capture_output=True, check=True, text=True
    ).stdout
    assert counted.splitlines()[0].split() == ["2", "orders:", "it", "is", "bad", "(status", "400)"]


def test_a_rejection_that_concerns_every_record_ends_the_run_without_rejects(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", status=403, times=None)
    run = target(schema(), *records(10), state(1), max_rejected_records=100)
    assert run.status == 1
    assert "403" in run.reason
    assert run.rejects == []
    assert run.states == []
    assert len(mona.exports) == 1


def test_nan_is_rejected_and_reported(target: Target, mona: Mona) -> None:
    line = '{"type":"RECORD","stream":"orders","record":{"id":1,"x":NaN,"y":1.10}}'
    run = target(schema(), line, record(id=2), max_rejected_records=1)
    assert run.status == 0
    assert [each["message"]["id"] for each in mona.messages()] == [2]
    (reject,) = run.rejects
    assert reject["reason"] == "holds NaN, which JSON cannot represent"
    assert math.isnan(reject["record"].pop("x"))
    assert reject["record"] == {"id": 1, "y": 1.1}
    assert reject["key"] == {"id": 1}


def test_a_report_that_cannot_be_written_names_its_setting(target: Target) -> None:
    path = target.folder / "file"
    path.write_text("")
    run = target(schema(id={"type": "string"}), record(id=1), state(1), reject_path=str(path))
    assert run.status == 1
    assert "'reject_path'" in run.reason
    assert run.states == []
