from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.delivery.batch_result import Outcome
from singer_martech.http.errors import Refused
from tests.kit.fake_destination import Memory, item, new_tally, refusal, unknown


def send(channel: Memory, count: int, *, repeatable: bool = True, key: Any = None) -> Outcome:
    tally = new_tally()
    batch = channel.open_batch()
    for sequence in range(1, count + 1):
        batch.append(item(tally, sequence, key=key, repeatable=repeatable))
    outcome = Outcome(batch)
    channel.send(batch, outcome)
    return outcome


def rejected(outcome: Outcome) -> list[bytes]:
    return [each.item.body for each in outcome.rejections]


@given(
    count=st.integers(1, 60),
    bad=st.sets(st.integers(1, 60)),
    takes_the_rest=st.booleans(),
    names_culprits=st.booleans(),
)
def test_the_culprits_are_rejected_and_all_others_delivered(
    count: int, bad: set[int], takes_the_rest: bool, names_culprits: bool
) -> None:
    culprits = {str(each).encode() for each in bad if each <= count}
    channel = Memory()
    channel.takes_the_rest, channel.names_culprits = takes_the_rest, names_culprits
    channel.judge = culprits.intersection
    outcome = send(channel, count)
    assert sorted(rejected(outcome)) == sorted(culprits)
    everything = [str(each).encode() for each in range(1, count + 1)]
    assert set(channel.taken) == set(everything) - culprits
    (delivered,) = outcome.settlement().delivered.values()
    assert delivered == count - len(culprits)
    # of every record, the last time it was taken comes in the order of the input
    last = [body for body in everything if body not in culprits]
    assert sorted(last, key=lambda body: _last(channel.taken, body)) == last


def _last(bodies: list[bytes], body: bytes) -> int:
    return len(bodies) - 1 - bodies[::-1].index(body)


def test_finding_one_culprit_takes_few_requests() -> None:
    channel = Memory()
    channel.takes_the_rest = False
    channel.judge = {b"700"}.intersection
    send(channel, 1000)
    assert len(channel.requests) <= 21


def test_named_culprits_take_no_further_request() -> None:
    channel = Memory()
    channel.names_culprits = True
    channel.judge = {b"3"}.intersection
    outcome = send(channel, 10, repeatable=False)
    assert rejected(outcome) == [b"3"]
    assert len(channel.requests) == 1


def test_what_must_not_be_sent_twice_is_not_split_after_a_partial_refusal() -> None:
    channel = Memory()
    channel.judge = {b"3"}.intersection
    outcome = send(channel, 10, repeatable=False)
    assert len(channel.requests) == 1
    assert len(outcome.rejections) == 10
    assert {each.reason for each in outcome.rejections} == {"outcome unknown: some bad"}


def test_what_must_not_be_sent_twice_is_split_when_nothing_was_taken() -> None:
    channel = Memory()
    channel.takes_the_rest = False
    channel.judge = {b"3"}.intersection
    outcome = send(channel, 10, repeatable=False)
    assert rejected(outcome) == [b"3"]
    assert len(channel.taken) == len(set(channel.taken)) == 9


def test_an_unknown_outcome_is_reported_and_not_repeated() -> None:
    channel = Memory()

    def judge(_bodies: list[bytes]) -> list[bytes]:
        raise unknown()

    channel.judge = judge
    outcome = send(channel, 3, repeatable=False)
    assert [each.reason for each in outcome.rejections] == [
        "outcome unknown: the connection broke"
    ] * 3
    assert len(channel.requests) == 1


def test_what_may_be_sent_twice_is_sent_again_without_what_may_not() -> None:
    channel = Memory()
    tally = new_tally()
    batch = channel.open_batch()
    for sequence in range(1, 7):
        batch.append(item(tally, sequence, repeatable=sequence % 2 == 0))

    def judge(bodies: list[bytes]) -> list[bytes]:
        if b"1" in bodies:
            raise unknown()
        return []

    channel.judge = judge
    outcome = Outcome(batch)
    channel.send(batch, outcome)
    assert rejected(outcome) == [b"1", b"3", b"5"]
    assert channel.taken == [b"2", b"4", b"6"]


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_refusal_that_any_record_would_meet_ends_the_run(status: int) -> None:
    channel = Memory()

    def judge(_bodies: list[bytes]) -> list[bytes]:
        raise refusal(status)

    channel.judge = judge
    with pytest.raises(Refused):
        send(channel, 10)
    assert len(channel.requests) == 1


def test_when_the_last_row_of_a_key_is_refused_the_one_before_is_sent() -> None:
    channel = Memory(replaces=True)
    channel.judge = {b"3", b"4"}.intersection
    channel.takes_the_rest = False
    outcome = send(channel, 4, key="k")
    assert channel.taken == [b"2"]
    assert rejected(outcome) == [b"4", b"3"]
    settlement = outcome.settlement()
    assert sum(settlement.delivered.values()) == 1
    assert sum(settlement.superseded.values()) == 1


def test_a_long_row_of_refused_rows_of_one_key_is_no_obstacle() -> None:
    channel = Memory(replaces=True)
    channel.judge = lambda bodies: bodies
    channel.takes_the_rest = False
    outcome = send(channel, 3000, key="k")
    assert len(outcome.rejections) == 3000
