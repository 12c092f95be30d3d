from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from target_mediarithmics.target import TargetMediarithmics
from tests.target_mediarithmics.conftest import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.target_mediarithmics.conftest import Run

STREAMS = {"list": {"document_type": "ANYTHING"}}
PERSON = {
    "document_type": "USER_SEGMENT",
    "document": {
        "operation": "UPDATE",
        "email_hash": "{{ hash }}",
        "segment_id": "8",
        "expiration_duration": "{{ minutes }}",
    },
}


def lines_of(vendor: Mediarithmics) -> list[int]:
    return [execution.detail["lines"] for execution in vendor.import_executions()]


def test_documents_are_uploaded_as_lines_with_the_content_type_of_the_import(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(schema(), record(id=1, name="é"), record(id=2), streams=STREAMS)
    assert run.error is None
    (upload,) = vendor.requests_to("/executions$", "POST")
    assert upload.headers["content-type"] == "application/x-ndjson"
    assert upload.body == b'{"id": 1, "name": "\\u00e9"}\n{"id": 2}\n'
    assert run.summaries["list"]["requests"] == 1
    assert run.summaries["list"]["bytes"] == len(upload.body)


def test_executions_are_cut_by_rows(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    records = [record(id=number) for number in range(7)]
    run = load(schema(), *records, streams=STREAMS, max_request_rows=3)
    assert run.counts()["delivered"] == 7
    assert lines_of(vendor) == [3, 3, 1]
    assert [each["id"] for each in vendor.documents()] == list(range(7))
    assert vendor.max_open_executions == 1


def test_executions_are_cut_by_the_bytes_that_are_really_sent(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    records = [record(id=number, text="x" * 70) for number in range(7)]
    run = load(schema(), *records, streams=STREAMS, max_request_bytes=300)
    assert run.counts()["delivered"] == 7
    sizes = [request.size for request in vendor.requests_to("/executions$", "POST")]
    assert len(sizes) == 3
    assert all(size <= 300 for size in sizes)
    assert run.summaries["list"]["bytes"] == sum(sizes)


def test_a_document_that_is_larger_than_an_execution_is_rejected(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id=1, text="x" * 300), record(id=2),
        streams=STREAMS, max_request_bytes=300, max_rejected_records=1,
    )  # fmt: skip
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}
    assert "max_request_bytes 300" in run.rejected[0]["reason"]
    assert vendor.documents() == [{"id": 2}]


@pytest.mark.parametrize("status", ["SUCCEEDED", "SUCCESS"])
def test_state_waits_for_the_execution_to_succeed(
    sandbox: Sandbox, settings: dict[str, Any], status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vendor = sandbox.mediarithmics
    vendor.plan("import", status=status)
    vendor.hold()
    target = TargetMediarithmics(config={**settings, "streams": STREAMS})
    source = io.StringIO("\n".join([schema(), record(id=1), state({"n": 1})]))
    run = threading.Thread(target=target.listen, args=(source,))
    run.start()
    sandbox.wait_for_requests("mediarithmics", r"/executions/\d+$", count=3)
    assert capsys.readouterr().out == ""
    vendor.release()
    run.join()
    assert json.loads(capsys.readouterr().out) == {"n": 1}


def test_a_pending_execution_with_a_result_is_still_pending(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.pending_with_result = True
    vendor.polls_until_done = 5
    run = load(schema(), record(id=1), state({"n": 1}), streams=STREAMS)
    assert run.error is None
    assert len(vendor.requests_to(r"/executions/\d+$", "GET")) == 5
    assert run.states == [{"n": 1}]


def test_records_are_read_on_while_an_execution_is_processed_but_not_without_bounds(
    sandbox: Sandbox, settings: dict[str, Any]
) -> None:
    vendor = sandbox.mediarithmics
    vendor.hold()
    read: list[str] = []

    class Source(io.StringIO):
        def __next__(self) -> str:  # type: ignore[override] # as of every text file
            line = super().__next__()
            read.append(line)
            return line

    lines = [schema(), *[record(id=number) for number in range(300)]]
    source = Source("\n".join(lines))
    target = TargetMediarithmics(config={**settings, "streams": STREAMS, "max_request_rows": 10})
    run = threading.Thread(target=target.listen, args=(source,))
    run.start()
    sandbox.wait_for_requests("mediarithmics", r"/executions/\d+$", count=50)
    # one execution in flight, one queued, one open batch, and the rest of a block of lines
    assert 30 < len(read) <= 100
    assert len(vendor.import_executions()) == 1
    vendor.release()
    run.join()
    assert len(vendor.documents()) == 300
    assert vendor.max_open_executions == 1


@pytest.mark.parametrize(
    ("plan", "parts"),
    [
        ({"status": "FAILED", "error": {"message": "no such column", "error_id": "e-1"}},
         ["ended FAILED: no such column, error_id e-1"]),
        ({"status": "FAILED", "error": "out of memory"}, ["ended FAILED: out of memory"]),
        ({"status": "FAILED"}, ["ended FAILED: the vendor gives no reason"]),
        ({"status": "CANCELED"}, ["ended CANCELED"]),
    ],
)  # fmt: skip
def test_an_execution_that_fails_ends_the_run_before_its_state(
    vendor: Mediarithmics, load: Callable[..., Run], plan: dict[str, Any], parts: list[str]
) -> None:
    vendor.plan("import")
    vendor.plan("import", **plan)
    run = load(
        schema(), record(id=1), state({"n": 1}), record(id=2), state({"n": 2}),
        record(id=3), state({"n": 3}), streams=STREAMS, max_request_rows=1,
    )  # fmt: skip
    failed = vendor.import_executions()[1]
    for part in [f"execution {failed.id} of document import 'singer-martech list'", *parts]:
        assert part in str(run.error)
    assert run.states == [{"n": 1}]
    assert run.counts()["delivered"] == 1


def test_an_execution_that_takes_too_long_ends_the_run_and_continues(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.hold()
    run = load(
        schema(), record(id=1), state({"n": 1}), streams=STREAMS, execution_timeout_seconds=0.05
    )
    (execution,) = vendor.import_executions()
    assert f"execution {execution.id} of document import" in str(run.error)
    assert "execution_timeout_seconds (0.05); it continues" in str(run.error)
    assert run.states == []
    assert execution.is_open
    assert vendor.requests_to("/action$") == []


def test_without_waiting_a_record_is_delivered_once_its_upload_is_accepted(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.hold()
    run = load(
        schema(), record(id=1), state({"n": 1}), streams=STREAMS, wait_for_completion="false"
    )
    assert run.error is None
    assert run.states == [{"n": 1}]
    assert vendor.requests_to(r"/executions/\d+$") == []


def test_a_possible_issue_on_identifiers_is_a_warning_with_the_most_frequent(
    load: Callable[..., Run],
) -> None:
    records = [record(id=n, hash=f"{n}" if n % 2 else "same", minutes=1) for n in range(120)]
    run = load(schema(), *records, streams={"list": PERSON})
    assert run.error is None
    (warning,) = [line for line in run.log if "possible issue on identifiers" in line]
    assert "email_hash=same: 60" in warning


def test_a_success_that_counts_nothing_is_a_warning(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.plan("import", null_result=True)
    run = load(schema(), record(id=1), streams=STREAMS)
    assert run.counts()["delivered"] == 1
    assert any("does not say how many lines failed" in line for line in run.log)


def test_documents_of_one_identifier_are_never_in_two_executions_at_once(
    sandbox: Sandbox, settings: dict[str, Any]
) -> None:
    vendor = sandbox.mediarithmics
    vendor.hold()
    streams = {"list": PERSON}
    target = TargetMediarithmics(
        config={**settings, "streams": streams, "max_request_rows": 1, "parallel_requests": 2}
    )
    people = [("a", 1), ("a", 2), ("b", 3), ("a", 4)]
    records = [record(id=minutes, hash=name, minutes=minutes) for name, minutes in people]
    source = io.StringIO("\n".join([schema(), *records]))
    run = threading.Thread(target=target.listen, args=(source,))
    run.start()
    sandbox.wait_until(lambda: len(vendor.import_executions()) == 2)
    sandbox.wait_for_requests("mediarithmics", r"/executions/\d+$", count=20)
    assert len(vendor.import_executions()) == 2
    vendor.release()
    run.join()
    assert vendor.members("8") == {"email_hash=a": 4, "email_hash=b": 3}
    arrived = [each["expiration_duration"] for each in vendor.documents()]
    assert [each for each in arrived if each != 3] == [1, 2, 4]
    assert vendor.max_open_executions == 2


def test_six_imports_are_loaded_in_parallel(sandbox: Sandbox, settings: dict[str, Any]) -> None:
    vendor = sandbox.mediarithmics
    vendor.hold()
    names = [f"list_{number}" for number in range(6)]
    streams = {"list_*": {"document_type": "ANYTHING"}}
    target = TargetMediarithmics(
        config={**settings, "streams": streams, "max_request_rows": 1, "parallel_requests": 6}
    )
    messages = [line for name in names for line in (schema(name), record(name, id=name))]
    run = threading.Thread(target=target.listen, args=(io.StringIO("\n".join(messages)),))
    run.start()
    sandbox.wait_until(lambda: len(vendor.import_executions()) == 6)
    assert all(execution.is_open for execution in vendor.import_executions())
    vendor.release()
    run.join()
    assert sorted(each["id"] for each in vendor.documents()) == names


def test_a_rejected_upload_is_split_until_the_invalid_document_is_alone(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.max_upload_bytes = 100
    records = [record(id=n, text="x" * (200 if n == 5 else 10)) for n in range(8)]
    run = load(schema(), *records, state({"n": 8}), streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 8, "delivered": 7, "rejected": 1}
    (line,) = run.rejected
    assert line["key"] == {"id": 5}
    assert line["status"] == 413
    assert sorted(each["id"] for each in vendor.documents()) == [0, 1, 2, 3, 4, 6, 7]
    assert run.states == [{"n": 8}]


def test_a_rejection_that_does_not_concern_the_documents_ends_the_run(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", status=400, times=None)
    records = [record(id=number) for number in range(200)]
    run = load(schema(), *records, streams=STREAMS, max_rejected_records=1000)
    assert "status 400" in str(run.error)
    assert len(vendor.requests_to("/executions$", "POST")) < 40


def test_an_activity_without_a_unique_key_is_never_sent_twice_while_an_upload_is_split(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.max_upload_bytes = 120
    activities = [
        {"id": n, "$user_account_id": f"{n}", "$type": "TOUCH", "$note": "x" * (n < 12) * 100}
        for n in range(32)
    ]
    run = load(
        schema(), *[record(**each) for each in activities],
        streams={"list": {"document_type": "USER_ACTIVITY"}}, max_rejected_records=32,
    )  # fmt: skip
    assert run.error is None
    assert run.counts() == {"read": 32, "delivered": 20, "rejected": 12}
    assert [each["id"] for each in vendor.documents()].count(31) == 1
    assert len(vendor.documents()) == 20


def test_an_import_that_is_deleted_during_a_run_ends_it_with_the_setting(
    sandbox: Sandbox, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", status=404, times=None)
    run = load(schema(), record(id=1), state({"n": 1}), streams=STREAMS)
    assert "does not exist any more: check 'document_import_id'" in str(run.error)
    assert run.states == []


def test_a_rejected_poll_does_not_send_the_documents_again(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions/*", method="GET", status=400, times=None)
    run = load(schema(), record(id=1), record(id=2), streams=STREAMS, max_rejected_records=2)
    (execution,) = vendor.import_executions()
    assert f"execution {execution.id} of document import" in str(run.error)
    assert run.rejected == []


@pytest.mark.parametrize("how", [{"status": 503}, {"status": 200, "body": '{"status": "ok"}'}])
def test_a_poll_that_fails_names_the_execution_that_continues(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run], how: dict[str, Any]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions/*", method="GET", times=None, **how)
    run = load(schema(), record(id=1), state({"n": 1}), streams=STREAMS, max_attempts=1)
    (execution,) = vendor.import_executions()
    assert f"execution {execution.id} of document import" in str(run.error)
    assert str(run.error).endswith("continues at the vendor")
    assert run.states == []


def result_of(**counts: Any) -> str:
    """Return the response to a poll of an execution that has ended."""
    data = {"id": "1", "status": "SUCCEEDED", "result": {"total_success": 0, **counts}}
    return json.dumps({"status": "ok", "data": data})


@pytest.mark.parametrize("count", ["9" * 5000, 10**400])
def test_a_huge_number_of_failed_lines_means_all_of_them(
    sandbox: Sandbox, load: Callable[..., Run], count: Any
) -> None:
    body = result_of(total_failure=count)
    sandbox.faults.add("mediarithmics", "*/executions/*", method="GET", status=200, body=body)
    lines = (schema(), record(id=1), record(id=2), state({"n": 2}))
    run = load(*lines, streams=STREAMS, max_rejected_records=2)
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 0, "rejected": 2}


@pytest.mark.parametrize("fields", [{"total_success": "9" * 5000}, {"total_success": -1}])
def test_an_unusual_number_of_accepted_lines_is_harmless(
    sandbox: Sandbox, load: Callable[..., Run], fields: dict[str, Any]
) -> None:
    body = result_of(total_failure=0, **fields)
    sandbox.faults.add("mediarithmics", "*/executions/*", method="GET", status=200, body=body)
    run = load(schema(), record(id=1), state({"n": 1}), streams=STREAMS)
    assert run.error is None
    assert run.states == [{"n": 1}]


def test_an_error_file_whose_address_cannot_be_requested_is_missing(
    sandbox: Sandbox, load: Callable[..., Run]
) -> None:
    body = result_of(total_failure=1, error_file_uri="mics://\ud800")
    sandbox.faults.add("mediarithmics", "*/executions/*", method="GET", status=200, body=body)
    run = load(schema(), record(id=1), state({"n": 1}), streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 1, "delivered": 0, "rejected": 1}


def test_failed_lines_of_a_part_are_matched_within_the_part(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.max_upload_bytes = 100
    vendor.error_shape = "line_number"
    vendor.refuse_if = lambda _, document: "no" if document["id"] == 6 else None
    records = [record(id=n, text="x" * 10) for n in range(8)]
    run = load(schema(), *records, state({"n": 8}), streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 8, "delivered": 7, "rejected": 1}
    assert [line["key"] for line in run.rejected] == [{"id": 6}]
    assert run.states == [{"n": 8}]


def test_a_wrong_token_ends_the_run_and_names_the_setting_with_the_error_id(
    load: Callable[..., Run],
) -> None:
    run = load(schema(), streams=STREAMS, api_token="api:wrong-token-value")
    assert "check setting 'api_token'" in str(run.error)
    assert "error_id" in str(run.error)
    assert "wrong-token" not in str(run.error)


def test_rate_limits_are_waited_out(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", status=429,
                       retry_after=0.01, times=3)  # fmt: skip
    run = load(schema(), record(id=1), streams=STREAMS)
    assert run.error is None
    assert run.summaries["list"]["retries"] == 3
    assert vendor.documents() == [{"id": 1}]
