from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.delivery.batch_result import BatchResult, BisectStopped
from singer_martech.delivery.bisect import AllRejected
from singer_martech.http.errors import RequestRejected
from tests.kit.fake_destination import (
    FakeDestination,
    new_metrics,
    pending_record,
    rejection,
    unknown,
)


def send(
    destination: FakeDestination, count: int, *, idempotent: bool = True, key: Any = None
) -> BatchResult:
    metrics = new_metrics()
    batch = destination.open_batch()
    for sequence in range(1, count + 1):
        batch.append(pending_record(metrics, sequence, key=key, idempotent=idempotent))
    batch_result = BatchResult(batch)
    destination.send(batch, batch_result)
    batch_result.is_complete = True
    return batch_result


def rejected(batch_result: BatchResult) -> list[bytes]:
    return [each.record.body for each in batch_result.rejections]


@given(
    count=st.integers(1, 60),
    bad=st.sets(st.integers(1, 60)),
    accepts_the_rest=st.booleans(),
    names_rejected=st.booleans(),
)
def test_bad_records_are_rejected_and_all_others_delivered(
    count: int, bad: set[int], accepts_the_rest: bool, names_rejected: bool
) -> None:
    rejected_indexes = {str(each).encode() for each in bad if each <= count}
    destination = FakeDestination()
    destination.accepts_the_rest, destination.names_rejected = accepts_the_rest, names_rejected
    destination.reject_when = rejected_indexes.intersection
    batch_result = send(destination, count)
    assert sorted(rejected(batch_result)) == sorted(rejected_indexes)
    everything = [str(each).encode() for each in range(1, count + 1)]
    assert set(destination.accepted) == set(everything) - rejected_indexes
    (delivered,) = batch_result.counts().delivered.values()
    assert delivered == count - len(rejected_indexes)
    # the last acceptance of each record is in input order
    last = [body for body in everything if body not in rejected_indexes]
    assert sorted(last, key=lambda body: _last(destination.accepted, body)) == last


def _last(bodies: list[bytes], body: bytes) -> int:
    return len(bodies) - 1 - bodies[::-1].index(body)


def test_finding_one_bad_record_takes_few_requests() -> None:
    destination = FakeDestination()
    destination.accepts_the_rest = False
    destination.reject_when = {b"700"}.intersection
    send(destination, 1000)
    assert len(destination.requests) <= 21


def test_identified_records_need_no_further_request() -> None:
    destination = FakeDestination()
    destination.names_rejected = True
    destination.reject_when = {b"3"}.intersection
    batch_result = send(destination, 10, idempotent=False)
    assert rejected(batch_result) == [b"3"]
    assert len(destination.requests) == 1


def test_non_idempotent_records_are_not_split_after_a_partial_rejection() -> None:
    destination = FakeDestination()
    destination.reject_when = {b"3"}.intersection
    batch_result = send(destination, 10, idempotent=False)
    assert len(destination.requests) == 1
    assert len(batch_result.rejections) == 10
    assert {each.reason for each in batch_result.rejections} == {"outcome unknown: some bad"}


def test_non_idempotent_records_are_split_if_none_was_accepted() -> None:
    destination = FakeDestination()
    destination.accepts_the_rest = False
    destination.reject_when = {b"3"}.intersection
    batch_result = send(destination, 10, idempotent=False)
    assert rejected(batch_result) == [b"3"]
    assert len(destination.accepted) == len(set(destination.accepted)) == 9


def test_records_with_unknown_outcome_are_reported_and_not_sent_again() -> None:
    destination = FakeDestination()

    def reject_when(_bodies: list[bytes]) -> list[bytes]:
        raise unknown()

    destination.reject_when = reject_when
    batch_result = send(destination, 3, idempotent=False)
    assert [each.reason for each in batch_result.rejections] == [
        "outcome unknown: the connection broke"
    ] * 3
    assert len(destination.requests) == 1


def test_only_idempotent_records_are_sent_again() -> None:
    destination = FakeDestination()
    metrics = new_metrics()
    batch = destination.open_batch()
    for sequence in range(1, 7):
        batch.append(pending_record(metrics, sequence, idempotent=sequence % 2 == 0))

    def reject_when(bodies: list[bytes]) -> list[bytes]:
        if b"1" in bodies:
            raise unknown()
        return []

    destination.reject_when = reject_when
    batch_result = BatchResult(batch)
    destination.send(batch, batch_result)
    assert rejected(batch_result) == [b"1", b"3", b"5"]
    assert destination.accepted == [b"2", b"4", b"6"]


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_an_error_that_concerns_all_records_ends_the_run(status: int) -> None:
    destination = FakeDestination()

    def reject_when(_bodies: list[bytes]) -> list[bytes]:
        raise rejection(status)

    destination.reject_when = reject_when
    with pytest.raises(RequestRejected):
        send(destination, 10)
    assert len(destination.requests) == 1


def test_if_the_last_row_of_a_key_is_rejected_the_previous_one_is_sent() -> None:
    destination = FakeDestination(merges_by_key=True)
    destination.reject_when = {b"3", b"4"}.intersection
    destination.accepts_the_rest = False
    batch_result = send(destination, 4, key="k")
    assert destination.accepted == [b"2"]
    assert rejected(batch_result) == [b"4", b"3"]
    counts = batch_result.counts()
    assert sum(counts.delivered.values()) == 1
    assert sum(counts.superseded.values()) == 1


def test_many_rejected_rows_of_one_key_are_handled() -> None:
    destination = FakeDestination(merges_by_key=True)
    destination.reject_when = lambda bodies: bodies
    destination.accepts_the_rest = False
    batch_result = send(destination, 3000, key="k")
    assert len(batch_result.rejections) == 3000


def test_if_everything_is_rejected_the_run_fails_without_reporting_records() -> None:
    destination = FakeDestination()
    destination.accepts_the_rest = False
    destination.reject_when = set
    metrics = new_metrics()
    batch = destination.open_batch()
    for sequence in range(1, 1001):
        batch.append(pending_record(metrics, sequence))
    batch_result = BatchResult(batch, allowed_rejects=10_000)
    with pytest.raises(AllRejected, match="nothing was accepted so far: check 'streams'"):
        destination.send(batch, batch_result)
    assert batch_result.rejections == []
    assert len(destination.requests) < 40


def test_bisecting_stops_once_more_records_are_rejected_than_allowed() -> None:
    destination = FakeDestination()
    destination.accepts_the_rest = False
    destination.reject_when = {b"%d" % number for number in range(100, 900)}.intersection
    metrics = new_metrics()
    batch = destination.open_batch()
    for sequence in range(1, 1001):
        batch.append(pending_record(metrics, sequence))
    batch_result = BatchResult(batch, allowed_rejects=3)
    with pytest.raises(BisectStopped):
        destination.send(batch, batch_result)
    assert len(batch_result.rejections) == 4
    assert len(destination.requests) < 40
