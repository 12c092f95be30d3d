"""Waiting for executions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from singer_martech.http.settings import HttpSettings
from singer_martech.mediarithmics.client import MediarithmicsClient
from singer_martech.mediarithmics.exports import Exports
from singer_martech.mediarithmics.waiting import ExecutionFailed, ExecutionWaiter, failure_of
from singer_martech.runtime.shutdown import ShutdownSignal

if TYPE_CHECKING:
    from singer_martech.mediarithmics.executions import Execution
    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    return sandbox.mediarithmics


@pytest.fixture
def exports(vendor: Mediarithmics) -> Exports:
    client = MediarithmicsClient(
        vendor.api_token, vendor.api_url, settings=HttpSettings(max_attempts=2)
    )
    return Exports(client, vendor.organisation_id, poll_interval_seconds=0.001)


def wait(exports: Exports, export_id: str, timeout: float = 60.0) -> Execution:
    def refresh(execution: Execution) -> Execution:
        page = next(exports.executions(export_id))
        return next(each for each in page if each.id == execution.id)

    waiter = ExecutionWaiter(ShutdownSignal(), 0.001, timeout, "look at it later")
    return waiter.wait_for_end(exports.launch(export_id), f"export {export_id}", refresh)


def test_each_new_status_is_logged_once_at_info(
    vendor: Mediarithmics, exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.polls_until_done = 20
    export_id = vendor.add_export("N", "SELECT { id } FROM UserPoint")
    with caplog.at_level(logging.INFO, "singer_martech.mediarithmics.waiting"):
        ended = wait(exports, export_id)
    messages = [
        each.getMessage() for each in caplog.records if each.name.endswith("mediarithmics.waiting")
    ]
    assert messages[0] == f"execution {ended.id} of export {export_id}: PENDING"
    assert messages[-1].startswith(f"execution {ended.id} of export {export_id}: SUCCEEDED, ")
    assert len(messages) == len(set(messages)) < 20


def test_the_timeout_error_of_an_execution_says_that_it_still_runs(
    vendor: Mediarithmics, exports: Exports
) -> None:
    vendor.hold()
    export_id = vendor.add_export("N", "SELECT { id } FROM UserPoint")
    with pytest.raises(ExecutionFailed) as error:
        wait(exports, export_id, timeout=0.01)
    assert (
        "has not ended within execution_timeout_seconds (0.01); it continues at the vendor, "
        "status PENDING; look at it later"
    ) in str(error.value)


def test_a_failure_names_execution_owner_status_reason_and_error_id(
    vendor: Mediarithmics, exports: Exports
) -> None:
    vendor.plan("export", status="FAILED", error={"message": "out of memory", "error_id": "e-1"})
    export_id = vendor.add_export("N", "SELECT { id } FROM UserPoint")
    ended = wait(exports, export_id)
    assert str(failure_of(ended, "export 7", "; see the file")) == (
        f"execution {ended.id} of export 7 ended FAILED: out of memory, error_id e-1; see the file"
    )
