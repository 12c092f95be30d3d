from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mediarithmics.conftest import TABLE, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.target_mediarithmics.conftest import Run

STREAMS = {"list": {"document_type": "ANYTHING"}}
MESSAGES = (schema(), record(id=1), record(id=2), state({"n": 2}))
BOTH = [{"id": 1}, {"id": 2}]


def lose_response(sandbox: Sandbox, **how: Any) -> None:
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", **how)


@pytest.mark.parametrize(
    "how",
    [
        {"reset": "after"},
        {"reset": "mid-body"},
        {"truncate": True},
        {"status": 502, "after_acting": True},
        {"status": 200, "body": "<html>proxy</html>", "after_acting": True},
    ],
)
@pytest.mark.parametrize("streams", [STREAMS, TABLE])
def test_an_execution_whose_response_was_lost_is_found_and_not_sent_again(
    sandbox: Sandbox,
    vendor: Mediarithmics,
    load: Callable[..., Run],
    how: dict[str, Any],
    streams: dict[str, Any],
) -> None:
    lose_response(sandbox, **how)
    run = load(*MESSAGES, streams=streams)
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 2, "rejected": 0}
    assert len(vendor.import_executions()) == 1
    assert len(vendor.documents()) == 2
    assert run.states == [{"n": 2}]


@pytest.mark.parametrize("how", [{"reset": "before"}, {"status": 503}])
def test_an_upload_that_became_no_execution_is_sent_again(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run], how: dict[str, Any]
) -> None:
    lose_response(sandbox, **how)
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert vendor.documents() == BOTH
    assert len(vendor.import_executions()) == 1
    assert run.summaries["list"]["requests"] == 2
    assert run.summaries["list"]["retries"] == 1


def test_an_upload_is_sent_no_more_often_than_max_attempts(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    lose_response(sandbox, status=503, times=None)
    run = load(*MESSAGES, streams=STREAMS, max_attempts=2)
    assert "gave up after 2 attempts (max_attempts)" in str(run.error)
    assert "error_id" in str(run.error)
    assert len(vendor.requests_to("/executions$", "POST")) == 2
    assert run.states == []


@pytest.mark.parametrize("identifier", ["\ud800", "1\u0000", "9" * 101, {}])
def test_an_upload_whose_response_has_no_usable_id_is_found_and_not_sent_again(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run], identifier: Any
) -> None:
    body = json.dumps({"status": "ok", "data": {"id": identifier}})
    lose_response(sandbox, status=200, body=body, after_acting=True)
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert len(vendor.import_executions()) == 1
    assert run.states == [{"n": 2}]


def test_an_upload_that_cannot_be_looked_up_ends_the_run_with_what_to_do(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    lose_response(sandbox, reset="after")
    body = json.dumps({"status": "ok", "data": [{"id": "\ud800"}]})
    sandbox.faults.add(
        "mediarithmics", "*/executions", method="GET", status=200, body=body, after=1, times=None
    )
    run = load(*MESSAGES, streams=STREAMS)
    assert "whether the request was processed is unknown; it could not be looked up" in str(
        run.error
    )
    assert "check at the vendor whether the upload became an execution" in str(run.error)
    assert len(vendor.import_executions()) == 1
    assert run.states == []


def test_the_line_count_is_waited_for_before_an_execution_is_taken(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.polls_until_parameters = 6
    vendor.polls_until_done = 8
    lose_response(sandbox, reset="after")
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert len(vendor.import_executions()) == 1
    assert vendor.documents() == BOTH


def test_earlier_executions_never_match(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    for _ in range(3):
        load(*MESSAGES, streams=STREAMS)
    lose_response(sandbox, reset="before")
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert len(vendor.import_executions()) == 4


class Rival:
    """Another program that uploads to the same import at the same time."""

    def __init__(self, vendor: Mediarithmics, *line_counts: int) -> None:
        self._vendor = vendor
        self._line_counts = line_counts
        self._create = vendor.executions.create
        vendor.executions.create = self.create  # type: ignore[method-assign]

    def create(self, kind: Any, parent: str, detail: dict[str, Any]) -> Any:
        self._vendor.executions.create = self._create  # type: ignore[method-assign]
        ours = self._create(kind, parent, detail)
        for count in self._line_counts:
            body = b"".join(b'{"rival":%d}\n' % number for number in range(count))
            theirs = self._create(kind, parent, {**detail, "bytes": len(body), "lines": count})
            self._vendor.executions.file(f"{theirs.id}.upload").write_bytes(body)
        return ours


def test_an_execution_with_another_line_count_is_not_ours(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    Rival(vendor, 3)
    lose_response(sandbox, reset="after")
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert len(vendor.requests_to("/executions$", "POST")) == 1
    assert [each for each in vendor.documents() if "id" in each] == BOTH


def test_two_possible_executions_end_the_run_and_are_named(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    Rival(vendor, 2)
    lose_response(sandbox, reset="after")
    run = load(*MESSAGES, streams=STREAMS)
    first, second = vendor.import_executions()
    assert f"the upload may be execution {first.id} or {second.id}, or none of them" in str(
        run.error
    )
    assert run.states == []
    assert run.counts() == {"read": 2, "delivered": 0, "rejected": 0}
    assert len(vendor.requests_to("/executions$", "POST")) == 1


def test_an_execution_of_unknown_line_count_is_not_assumed_to_match(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.polls_until_parameters = 1_000_000
    vendor.hold()
    lose_response(sandbox, reset="after")
    run = load(*MESSAGES, streams=STREAMS, execution_timeout_seconds=0.05)
    (execution,) = vendor.import_executions()
    assert f"the upload may be execution {execution.id}, or none of them" in str(run.error)
    assert len(vendor.requests_to("/executions$", "POST")) == 1


def test_executions_that_cannot_be_listed_matter_only_when_a_response_is_lost(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    sandbox.faults.add("mediarithmics", "*/executions", method="GET", status=404, times=None)
    assert load(*MESSAGES, streams=STREAMS).states == [{"n": 2}]
    lose_response(sandbox, reset="after")
    run = load(*MESSAGES, streams=STREAMS)
    assert "cannot be listed" in str(run.error)
    assert run.states == []
    assert len(vendor.requests_to("/executions$", "POST")) == 2


def test_an_execution_without_a_date_is_polled(sandbox: Sandbox, load: Callable[..., Run]) -> None:
    pending = {"status": "ok", "data": {"id": 7, "status": "PENDING"}}
    done = {"status": "ok", "data": {"id": 7, "status": "SUCCEEDED"}}
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", status=200, body=pending)
    sandbox.faults.add("mediarithmics", "*/executions/7", status=200, body=done)
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert run.states == [{"n": 2}]
