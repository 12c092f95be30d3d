from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MartechError, Stopped
from singer_martech.runtime.threads import Thread
from tests.kit.fake_destination import FakeDestination, broken, pending_record
from tests.kit.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    harness.close()


def test_records_share_requests_up_to_the_rows_allowed(harness: Harness) -> None:
    destination = FakeDestination(max_rows=3)
    for _ in range(7):
        harness.add(destination)
    harness.dispatcher.flush()
    assert sorted(map(len, destination.requests)) == [1, 3, 3]
    assert harness.metrics.delivered == 7


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    max_bytes=st.integers(10, 60),
)
def test_no_request_is_larger_than_allowed(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], max_bytes: int
) -> None:
    harness = Harness(tmp_path_factory.mktemp("rejects"), allowed=1000)
    destination = FakeDestination(max_rows=1000, max_bytes=max_bytes)
    for size in sizes:
        harness.add(destination, "x" * size)
    harness.dispatcher.flush()
    for request in destination.requests:
        assert destination.envelope_bytes + sum(len(body) + 1 for body in request) <= max_bytes
    fitting = [size for size in sizes if destination.envelope_bytes + size + 1 <= max_bytes]
    assert sorted(map(len, destination.accepted)) == sorted(fitting)
    assert harness.metrics.rejected == len(sizes) - len(fitting)
    harness.close()


def test_a_record_that_fits_exactly_is_not_too_large() -> None:
    destination = FakeDestination(max_bytes=10)
    assert not destination.is_too_large(b"x" * 7)
    assert destination.is_too_large(b"x" * 8)


def test_the_number_of_requests_in_flight_equals_the_limit(tmp_path: Path) -> None:
    harness = Harness(tmp_path, parallel=3)
    destination = FakeDestination(max_rows=1)
    destination.gate.clear()
    for _ in range(6):
        harness.add(destination)
    destination.wait_until_busy(3)
    destination.gate.set()
    for _ in range(20):
        harness.add(destination)
    harness.dispatcher.flush()
    assert destination.most_busy == 3
    assert harness.metrics.delivered == 26


def test_a_slow_vendor_pauses_the_reader(tmp_path: Path) -> None:
    harness = Harness(tmp_path, parallel=2)
    destination = FakeDestination(max_rows=10)
    destination.gate.clear()
    reading = harness.in_background(lambda: harness.add_many(destination, 1000, "x"))
    destination.wait_until_busy(2)
    reading.join(0.3)
    # two requests in flight, two queued, and the record that waits for capacity
    assert reading.is_alive()
    assert harness.sequence <= 50
    destination.gate.set()
    reading.join(20)
    harness.dispatcher.flush()
    assert harness.metrics.delivered == 1000


@settings(deadline=None, max_examples=40)
@given(
    keys=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    parallel=st.integers(1, 5),
    max_rows=st.integers(1, 4),
    merges_by_key=st.booleans(),
)
def test_records_of_one_key_arrive_in_order_and_never_overlap(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[int],
    parallel: int,
    max_rows: int,
    merges_by_key: bool,
) -> None:
    harness = Harness(tmp_path_factory.mktemp("rejects"), parallel=parallel)
    destination = FakeDestination(max_rows=max_rows, merges_by_key=merges_by_key)
    other = FakeDestination(max_rows=max_rows, merges_by_key=merges_by_key)
    for place, key in enumerate(keys):
        harness.add(destination if place % 5 else other, f"{key}:{place}", (place % 5 == 0, key))
    harness.dispatcher.flush()
    for each in (destination, other):
        assert each.overlaps == []
        for key in set(keys):
            accepted = [int(b.split(b":")[1]) for b in each.accepted if b.startswith(b"%d:" % key)]
            assert accepted == sorted(accepted)
    assert harness.metrics.delivered + harness.metrics.superseded == len(keys)
    assert harness.metrics.pending == 0
    if not merges_by_key:
        assert harness.metrics.delivered == len(keys)
    harness.close()


def test_a_held_record_is_sent_before_a_later_one_of_its_key(tmp_path: Path) -> None:
    harness = Harness(tmp_path, parallel=2)
    hot, cold = FakeDestination(max_rows=1), FakeDestination(max_rows=1)
    hot.gate.clear()
    cold.gate.clear()
    harness.add(hot, "1", "key")
    harness.add(hot, "2", "key")  # waits for the first
    for _ in range(3):
        harness.add(cold)
    hot.wait_until_busy(1)
    blocked = harness.in_background(lambda: harness.add(cold))  # settles the first record
    hot.gate.set()
    assert harness.woken.wait(20)
    cold.gate.set()
    blocked.join(20)
    harness.add(hot, "3", "key")
    harness.dispatcher.flush()
    assert hot.accepted == [b"1", b"2", b"3"]
    harness.close()


def test_a_held_record_stays_before_a_later_one_while_another_waits_for_capacity(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path, parallel=2)
    hot, warm, cold = (FakeDestination(max_rows=rows) for rows in (1, 1, 2))
    for each in (hot, warm, cold):
        each.gate.clear()
    harness.add(warm, "1", "warm")
    harness.add(hot, "1", "hot")
    warm.wait_until_busy(1)
    hot.wait_until_busy(1)
    harness.add(warm, "2", "warm")  # waits for the first
    harness.add(hot, "2", "hot")  # likewise
    for _ in range(5):
        harness.add(cold)
    full = harness.in_background(lambda: harness.add(cold))
    warm.gate.set()  # its second record is ready, but this batch takes the capacity
    full.join(20)
    assert not full.is_alive()
    blocked = harness.in_background(lambda: harness.add(hot, "3", "hot"))
    assert harness.waits.acquire(timeout=20)
    hot.gate.set()
    cold.gate.set()
    blocked.join(20)
    harness.dispatcher.flush()
    assert hot.accepted == [b"1", b"2", b"3"]
    assert warm.accepted == [b"1", b"2"]
    harness.close()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1_000_000), merges_by_key=st.booleans(), at_once=st.integers(1, 20))
def test_records_of_one_key_arrive_in_order_whatever_order_the_vendor_answers_in(
    tmp_path_factory: pytest.TempPathFactory, seed: int, merges_by_key: bool, at_once: int
) -> None:
    chance = random.Random(seed)
    harness = Harness(tmp_path_factory.mktemp("rejects"), parallel=chance.randint(2, 4))
    destination = FakeDestination(max_rows=chance.randint(1, 3), merges_by_key=merges_by_key)

    def answer_later(_bodies: list[bytes]) -> list[bytes]:
        time.sleep(chance.random() / 1000)
        return []

    destination.reject_when = answer_later
    records = [pending_record(harness.metrics, n, f"{n}", chance.randrange(20)) for n in range(200)]
    for start in range(0, len(records), at_once):
        harness.dispatcher.submit_all(destination, records[start : start + at_once])
    harness.dispatcher.flush()
    harness.close()
    assert destination.overlaps == []
    keys = {record.body: record.key for record in records}
    newest: dict[object, int] = {}
    for body in destination.accepted:
        key = keys[body]
        assert newest.get(key, -1) < int(body)
        newest[key] = int(body)
    assert newest == {record.key: record.sequence for record in records}


def test_no_state_passes_a_held_record_that_waits_for_a_batch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    harness = Harness(tmp_path, parallel=2)
    hot, cold = FakeDestination(max_rows=10, max_bytes=10), FakeDestination(max_rows=1)
    hot.gate.clear()
    cold.gate.clear()

    def reject_when(_bodies: list[bytes]) -> list[bytes]:
        raise broken()

    cold.reject_when = reject_when
    harness.add(hot, "aaaa", "key")
    harness.add(hot, "held", "key")  # waits for the first
    harness.state()
    harness.add(hot, "next")  # fills the batch
    for _ in range(3):
        harness.add(cold)
    failures: list[MartechError] = []

    def add_one_more() -> None:
        try:
            harness.add(cold)
        except MartechError as error:
            failures.append(error)

    adding = harness.in_background(add_one_more)
    hot.gate.set()
    assert harness.woken.wait(20)  # the first is settled
    for _ in range(3):  # the second is ready, but the batch has no room
        assert harness.waits.acquire(timeout=20)
    cold.gate.set()
    adding.join(20)
    assert failures
    harness.dispatcher.finish_in_flight()
    harness.dispatcher.write_state(now=True)
    assert b"held" not in hot.accepted
    assert capfd.readouterr().out == ""
    harness.close()


def test_one_busy_key_does_not_delay_other_keys(harness: Harness) -> None:
    hot, cold = FakeDestination(max_rows=1), FakeDestination(max_rows=1)
    hot.gate.clear()
    for _ in range(100):
        harness.add(hot, key="hot")
    for number in range(10):
        harness.add(cold, key=number)
    harness.woken.wait(20)
    harness.dispatcher.tick()
    assert len(hot.accepted) == 0
    hot.gate.set()
    harness.dispatcher.flush()
    assert len(cold.accepted) == 10
    assert hot.accepted == sorted(hot.accepted, key=int)
    assert len(hot.accepted) == 100


def test_records_held_for_one_key_use_bounded_memory(harness: Harness) -> None:
    destination = FakeDestination(max_rows=1, max_bytes=10**7)
    destination.gate.clear()
    large = "x" * 4_000_000
    reading = harness.in_background(lambda: harness.add_many(destination, 100, large, "hot"))
    destination.wait_until_busy(1)
    reading.join(0.5)
    assert reading.is_alive()
    assert harness.sequence <= 20
    destination.gate.set()
    reading.join(20)
    harness.dispatcher.flush()
    assert harness.metrics.delivered == 100


def test_superseded_rows_use_bounded_memory(harness: Harness) -> None:
    destination = FakeDestination(max_rows=100, max_bytes=4_000_000, merges_by_key=True)
    for _ in range(100):
        harness.add(destination, "x" * 1_000_000, "hot")
    harness.dispatcher.flush()
    assert len(destination.requests) > 5
    assert harness.metrics.delivered + harness.metrics.superseded == 100


def test_after_a_failed_batch_the_state_of_earlier_batches_is_written(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    destination = FakeDestination(max_rows=1)
    others = threading.Semaphore(0)

    def reject_when(bodies: list[bytes]) -> list[bytes]:
        if bodies == [b"5"]:
            for _ in range(4):  # when one fails, queued ones are not sent
                assert others.acquire(timeout=30)
            raise broken()
        others.release()
        return []

    destination.reject_when = reject_when
    with pytest.raises(MartechError, match="gone"):
        harness.load(destination, 5)
    harness.dispatcher.finish_in_flight()
    harness.dispatcher.write_state(now=True)
    assert json.loads(capfd.readouterr().out.splitlines()[-1]) == {"at": 4}


def test_state_is_exact_to_the_record_within_a_batch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The third of four records in a batch is rejected: the state after the second is written."""
    harness = Harness(tmp_path)
    destination = FakeDestination(max_rows=4)
    destination.names_rejected = True
    destination.reject_when = {b"3"}.intersection
    with pytest.raises(TooManyRejects):
        harness.load(destination, 4)
    harness.dispatcher.write_state(now=True)
    assert json.loads(capfd.readouterr().out) == {"at": 2}
    harness.close()


def test_records_read_before_the_reject_limit_was_exceeded_are_delivered(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path, parallel=1)
    destination = FakeDestination(max_rows=10, max_bytes=10)
    destination.reject_when = {b"bad!"}.intersection
    harness.add(destination, "bad!")
    with pytest.raises(TooManyRejects):
        harness.add_many(destination, 5, "good")  # each one sends the previous batch
    harness.dispatcher.flush_despite_rejects()
    assert harness.metrics.rejected == 1
    assert harness.metrics.pending == 0
    harness.close()


def test_state_passes_a_rejected_record_within_the_limit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    harness = Harness(tmp_path, allowed=1)
    destination = FakeDestination(max_rows=4)
    destination.names_rejected = True
    destination.reject_when = {b"2", b"3"}.intersection
    with pytest.raises(TooManyRejects, match="rejected so far: 2, max_rejected_records: 1"):
        harness.load(destination, 4)
    harness.dispatcher.write_state(now=True)
    assert json.loads(capfd.readouterr().out) == {"at": 2}
    assert (harness.metrics.delivered, harness.metrics.rejected) == (2, 2)
    harness.close()


def test_the_error_has_the_first_reason_and_counts_all_rejected_records_of_the_request(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path)
    destination = FakeDestination(max_rows=4)
    destination.names_rejected = True
    destination.reject_when = {b"2", b"3", b"4"}.intersection
    with pytest.raises(TooManyRejects) as raised:
        harness.load(destination, 4)
    assert "rejected so far: 3, max_rejected_records: 0" in str(raised.value)
    harness.close()


def test_an_idle_stream_delays_no_state(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    harness.state()
    harness.dispatcher.tick()
    assert json.loads(capfd.readouterr().out) == {"at": 0}


def test_a_record_waits_for_its_batch_for_a_limited_time(tmp_path: Path) -> None:
    harness = Harness(tmp_path, oldest_seconds=0.01)
    destination = FakeDestination()
    harness.add(destination)
    while not destination.requests:
        harness.dispatcher.tick()
        harness.woken.wait(0.01)
    assert destination.requests == [[b"1"]]


def test_after_a_signal_nothing_new_is_sent_and_requests_in_flight_finish(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    destination = FakeDestination(max_rows=1)
    destination.gate.clear()
    for _ in range(6):  # four in flight, two waiting
        harness.add(destination)
        harness.state()
    destination.wait_until_busy(4)
    harness.shutdown.request()
    with pytest.raises(Stopped):
        harness.dispatcher.flush()
    finishing = harness.in_background(harness.dispatcher.finish_in_flight)
    destination.gate.set()
    finishing.join(20)
    harness.dispatcher.write_state(now=True)
    assert len(destination.requests) == 4
    assert json.loads(capfd.readouterr().out) == {"at": 4}


@pytest.mark.parametrize(("grace_seconds", "passed"), [(0.1, 0), (600, 700)])
def test_after_a_signal_the_wait_for_requests_in_flight_is_limited(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    grace_seconds: float,
    passed: float,
) -> None:
    harness = Harness(tmp_path, grace_seconds=grace_seconds)
    destination = FakeDestination(max_rows=1)
    destination.gate.clear()
    harness.add(destination)
    harness.state()
    destination.wait_until_busy(1)
    harness.shutdown.request()
    harness.shutdown.requested_at -= passed
    harness.dispatcher.finish_in_flight()
    harness.dispatcher.write_state(now=True)
    assert capfd.readouterr().out == ""
    assert f"request(s) within {grace_seconds:.0f} s after the signal" in caplog.text
    destination.gate.set()
    harness.close()


def test_an_unexpected_error_in_a_worker_ends_the_run(harness: Harness) -> None:
    destination = FakeDestination(max_rows=1)

    def reject_when(_bodies: list[bytes]) -> list[bytes]:
        raise ZeroDivisionError

    destination.reject_when = reject_when
    harness.add(destination)
    with pytest.raises(ZeroDivisionError):
        harness.dispatcher.flush()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_ends_early_ends_the_run(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_send_batches":
            raise MemoryError

    threading.setprofile(profile)
    try:
        with pytest.raises(MartechError, match="the threads that send have ended"):
            harness.load(FakeDestination(max_rows=1), 3)
    finally:
        threading.setprofile(None)
    harness.dispatcher.write_state(now=True)
    assert capsys.readouterr().out == ""


def test_after_a_failed_start_the_workers_there_are_do_all(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = 0
    start = Thread.start

    def start_one(thread: Thread) -> None:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise RuntimeError("no thread")
        start(thread)

    monkeypatch.setattr(Thread, "start", start_one)
    destination = FakeDestination(max_rows=1)
    harness.load(destination, 20)
    assert starts == 2
    assert len(destination.accepted) == 20
