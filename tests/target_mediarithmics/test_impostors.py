"""Responses with status 200 that are not the vendor's: portals, proxies, load balancers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.impostors import IMPOSTORS
from tests.target_mediarithmics.conftest import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.server import Sandbox
    from tests.target_mediarithmics.conftest import Run

STREAMS = {"list": {"document_type": "ANYTHING"}}
MESSAGES = (schema(), record(id=1), record(id=2), state({"n": 2}))
WRITES = ("*/executions", "*/document_imports")
READS = ("*/document_imports", "*/executions", "*/executions/*")

EACH_IMPOSTOR = pytest.mark.parametrize("impostor", IMPOSTORS)
SOME_IMPOSTORS = pytest.mark.parametrize(
    "impostor", ["captive portal", "empty", "empty object", "status error"]
)


@EACH_IMPOSTOR
@pytest.mark.parametrize("write", list(itertools.product(WRITES, (True, False))))
def test_a_write_without_a_response_of_the_vendor_is_done_once(
    sandbox: Sandbox, load: Callable[..., Run], write: tuple[str, bool], impostor: str
) -> None:
    vendor = sandbox.mediarithmics
    path, acts = write
    sandbox.faults.add("mediarithmics", path, method="POST", impostor=impostor, after_acting=acts)
    run = load(*MESSAGES, streams=STREAMS)
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 2, "rejected": 0}
    assert vendor.documents() == [{"id": 1}, {"id": 2}]
    assert len(vendor.imports()) == len(vendor.import_executions()) == 1
    assert run.states == [{"n": 2}]


@SOME_IMPOSTORS
@pytest.mark.parametrize("path", READS)
def test_a_read_without_a_response_of_the_vendor_is_repeated(
    sandbox: Sandbox, load: Callable[..., Run], path: str, impostor: str
) -> None:
    vendor = sandbox.mediarithmics
    vendor.error_shape = "json"
    vendor.refuse_if = lambda _, document: "it is bad" if document["id"] == 2 else None
    sandbox.faults.add("mediarithmics", path, method="GET", impostor=impostor)
    run = load(*MESSAGES, streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert [line["reason"].partition(" (")[0] for line in run.rejected] == ["it is bad"]
    assert vendor.documents() == [{"id": 1}]
    assert run.states == [{"n": 2}]


@SOME_IMPOSTORS
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "*/executions"),
        ("POST", "*/document_imports"),
        ("GET", "*/document_imports"),
        ("GET", "*/executions/*"),
    ],
)
def test_nothing_is_delivered_without_a_response_of_the_vendor(
    sandbox: Sandbox, load: Callable[..., Run], method: str, path: str, impostor: str
) -> None:
    sandbox.faults.add("mediarithmics", path, method=method, impostor=impostor, times=None)
    run = load(*MESSAGES, streams=STREAMS, max_rejected_records=2)
    assert run.error is not None
    assert run.states == []
    if run.summaries:
        assert run.counts()["delivered"] == run.counts()["rejected"] == 0


@SOME_IMPOSTORS
def test_a_failed_line_is_rejected_with_any_response_in_place_of_its_error_file(
    sandbox: Sandbox, load: Callable[..., Run], impostor: str
) -> None:
    vendor = sandbox.mediarithmics
    vendor.refuse_if = lambda _, document: "it is bad" if document["id"] == 2 else None
    sandbox.faults.add("mediarithmics", "*/data_file/data", impostor=impostor)
    run = load(*MESSAGES, streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}
    assert run.states == [{"n": 2}]
