from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.delivery.batch import too_large
from singer_martech.delivery.checkpoint import Checkpoints
from singer_martech.delivery.dispatcher import Delivery
from singer_martech.delivery.rejects import Rejects, TooManyRejects
from singer_martech.errors import MartechError, Stopped
from singer_martech.runtime.shutdown import Stop
from tests.kit.fake_destination import Memory, broken, item, new_tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Desk:
    """A delivery with its surroundings."""

    def __init__(
        self,
        folder: Path | str,
        *,
        parallel: int = 4,
        allowed: int = 0,
        oldest_seconds: float = 60.0,
        grace_seconds: float = 20.0,
    ) -> None:
        self.stop = Stop()
        self.tally = new_tally()
        self.checkpoints = Checkpoints(0.001)
        self.rejects = Rejects(str(folder), "target-test", allowed)
        self.woken = threading.Event()
        self.waits = threading.Semaphore(0)
        self.delivery = Delivery(
            parallel_requests=parallel,
            checkpoints=self.checkpoints,
            rejects=self.rejects,
            stop=self.stop,
            oldest_seconds=oldest_seconds,
            wake=self.woken.set,
            while_waiting=self.waits.release,
            grace_seconds=grace_seconds,
        )
        self.sequence = 0

    def add(self, channel: Memory, body: str | None = None, key: object = None) -> None:
        self.sequence += 1
        self.tally.read += 1
        self.delivery.add(channel, item(self.tally, self.sequence, body, key))

    def add_many(self, channel: Memory, count: int, body: str, key: object = None) -> None:
        for _ in range(count):
            self.add(channel, body, key)

    def load(self, channel: Memory, count: int) -> None:
        """Send records, each with a STATE after it."""
        for _ in range(count):
            self.add(channel)
            self.state()
        self.delivery.flush()

    def close(self) -> None:
        self.delivery.close()
        self.rejects.close()

    def state(self) -> None:
        self.checkpoints.note(self.sequence, json.dumps({"at": self.sequence}).encode())

    def in_background(self, work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        return thread


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_records_share_requests_up_to_the_rows_allowed(desk: Desk) -> None:
    channel = Memory(max_rows=3)
    for _ in range(7):
        desk.add(channel)
    desk.delivery.flush()
    assert sorted(map(len, channel.requests)) == [1, 3, 3]
    assert desk.tally.delivered == 7


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    max_bytes=st.integers(10, 60),
)
def test_no_request_is_larger_than_allowed(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], max_bytes: int
) -> None:
    desk = Desk(tmp_path_factory.mktemp("rejects"), allowed=1000)
    channel = Memory(max_rows=1000, max_bytes=max_bytes)
    for size in sizes:
        desk.add(channel, "x" * size)
    desk.delivery.flush()
    for request in channel.requests:
        assert channel.envelope_bytes + sum(len(body) + 1 for body in request) <= max_bytes
    fitting = [size for size in sizes if channel.envelope_bytes + size + 1 <= max_bytes]
    assert sorted(map(len, channel.taken)) == sorted(fitting)
    assert desk.tally.rejected == len(sizes) - len(fitting)
    desk.close()


def test_a_record_that_fits_exactly_is_not_too_large() -> None:
    channel = Memory(max_bytes=10)
    assert not too_large(channel, b"x" * 7)
    assert too_large(channel, b"x" * 8)


def test_as_many_requests_are_in_flight_as_allowed_and_no_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path, parallel=3)
    channel = Memory(max_rows=1)
    channel.gate.clear()
    for _ in range(6):
        desk.add(channel)
    channel.wait_until_busy(3)
    channel.gate.set()
    for _ in range(20):
        desk.add(channel)
    desk.delivery.flush()
    assert channel.most_busy == 3
    assert desk.tally.delivered == 26


def test_a_slow_vendor_holds_the_reader_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path, parallel=2)
    channel = Memory(max_rows=10)
    channel.gate.clear()
    reading = desk.in_background(lambda: desk.add_many(channel, 1000, "x"))
    channel.wait_until_busy(2)
    reading.join(0.3)
    # two requests in flight, two more waiting, and the record that waits for its turn
    assert reading.is_alive()
    assert desk.sequence <= 50
    channel.gate.set()
    reading.join(20)
    desk.delivery.flush()
    assert desk.tally.delivered == 1000


@settings(deadline=None, max_examples=40)
@given(
    keys=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    parallel=st.integers(1, 5),
    max_rows=st.integers(1, 4),
    replaces=st.booleans(),
)
def test_records_of_one_key_arrive_in_order_and_never_overlap(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[int],
    parallel: int,
    max_rows: int,
    replaces: bool,
) -> None:
    desk = Desk(tmp_path_factory.mktemp("rejects"), parallel=parallel)
    channel = Memory(max_rows=max_rows, replaces=replaces)
    other = Memory(max_rows=max_rows, replaces=replaces)
    for place, key in enumerate(keys):
        desk.add(channel if place % 5 else other, f"{key}:{place}", (place % 5 == 0, key))
    desk.delivery.flush()
    for each in (channel, other):
        assert each.overlaps == []
        for key in set(keys):
            taken = [int(b.split(b":")[1]) for b in each.taken if b.startswith(b"%d:" % key)]
            assert taken == sorted(taken)
    assert desk.tally.delivered + desk.tally.superseded == len(keys)
    assert desk.tally.pending == 0
    if not replaces:
        assert desk.tally.delivered == len(keys)
    desk.close()


def test_a_record_that_was_held_back_goes_before_a_later_one_of_its_key(tmp_path: Path) -> None:
    desk = Desk(tmp_path, parallel=2)
    hot, cold = Memory(max_rows=1), Memory(max_rows=1)
    hot.gate.clear()
    cold.gate.clear()
    desk.add(hot, "1", "key")
    desk.add(hot, "2", "key")  # held back behind the first
    for _ in range(3):
        desk.add(cold)
    hot.wait_until_busy(1)
    blocked = desk.in_background(lambda: desk.add(cold))  # takes in that the first is through
    hot.gate.set()
    assert desk.woken.wait(20)
    cold.gate.set()
    blocked.join(20)
    desk.add(hot, "3", "key")
    desk.delivery.flush()
    assert hot.taken == [b"1", b"2", b"3"]
    desk.close()


def test_no_state_passes_a_record_that_was_held_back_and_waits_for_room(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, parallel=2)
    hot, cold = Memory(max_rows=10, max_bytes=10), Memory(max_rows=1)
    hot.gate.clear()
    cold.gate.clear()

    def judge(_bodies: list[bytes]) -> list[bytes]:
        raise broken()

    cold.judge = judge
    desk.add(hot, "aaaa", "key")
    desk.add(hot, "held", "key")  # held back behind the first
    desk.state()
    desk.add(hot, "next")  # beside which it has no room
    for _ in range(3):
        desk.add(cold)
    failures: list[MartechError] = []

    def add_one_more() -> None:
        try:
            desk.add(cold)
        except MartechError as error:
            failures.append(error)

    adding = desk.in_background(add_one_more)
    hot.gate.set()
    assert desk.woken.wait(20)  # the first is through
    for _ in range(3):  # the second has its turn, but no room
        assert desk.waits.acquire(timeout=20)
    cold.gate.set()
    adding.join(20)
    assert failures
    desk.delivery.finish_in_flight()
    desk.delivery.write_state(now=True)
    assert b"held" not in hot.taken
    assert capfd.readouterr().out == ""
    desk.close()


def test_one_busy_key_does_not_hold_up_the_others(desk: Desk) -> None:
    hot, cold = Memory(max_rows=1), Memory(max_rows=1)
    hot.gate.clear()
    for _ in range(100):
        desk.add(hot, key="hot")
    for number in range(10):
        desk.add(cold, key=number)
    desk.woken.wait(20)
    desk.delivery.tick()
    assert len(hot.taken) == 0
    hot.gate.set()
    desk.delivery.flush()
    assert len(cold.taken) == 10
    assert hot.taken == sorted(hot.taken, key=int)
    assert len(hot.taken) == 100


def test_records_held_back_for_one_key_do_not_fill_the_memory(desk: Desk) -> None:
    channel = Memory(max_rows=1, max_bytes=10**7)
    channel.gate.clear()
    large = "x" * 4_000_000
    reading = desk.in_background(lambda: desk.add_many(channel, 100, large, "hot"))
    channel.wait_until_busy(1)
    reading.join(0.5)
    assert reading.is_alive()
    assert desk.sequence <= 20
    channel.gate.set()
    reading.join(20)
    desk.delivery.flush()
    assert desk.tally.delivered == 100


def test_rows_that_others_replace_do_not_fill_the_memory(desk: Desk) -> None:
    channel = Memory(max_rows=100, max_bytes=1000, replaces=True)
    for _ in range(100):
        desk.add(channel, "x" * 100, "hot")
    desk.delivery.flush()
    assert len(channel.requests) > 5
    assert desk.tally.delivered + desk.tally.superseded == 100


def test_a_failed_batch_keeps_the_states_of_those_that_were_delivered(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    channel = Memory(max_rows=1)
    others = threading.Semaphore(0)

    def judge(bodies: list[bytes]) -> list[bytes]:
        if bodies == [b"5"]:
            for _ in range(4):  # when one fails, those that are not on their way are not sent
                assert others.acquire(timeout=30)
            raise broken()
        others.release()
        return []

    channel.judge = judge
    with pytest.raises(MartechError, match="gone"):
        desk.load(channel, 5)
    desk.delivery.finish_in_flight()
    desk.delivery.write_state(now=True)
    assert json.loads(capfd.readouterr().out.splitlines()[-1]) == {"at": 4}


def test_a_state_is_exact_to_the_record_not_to_the_batch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The third of four records in one batch is rejected: the state after the second is true."""
    desk = Desk(tmp_path)
    channel = Memory(max_rows=4)
    channel.names_culprits = True
    channel.judge = {b"3"}.intersection
    with pytest.raises(TooManyRejects):
        desk.load(channel, 4)
    desk.delivery.write_state(now=True)
    assert json.loads(capfd.readouterr().out) == {"at": 2}
    desk.close()


def test_a_record_that_was_read_when_another_was_one_too_many_is_delivered_too(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, parallel=1)
    channel = Memory(max_rows=10, max_bytes=10)
    channel.judge = {b"bad!"}.intersection
    desk.add(channel, "bad!")
    with pytest.raises(TooManyRejects):
        desk.add_many(channel, 5, "good")  # each sends the one before
    desk.delivery.flush_despite_rejects()
    assert desk.tally.rejected == 1
    assert desk.tally.pending == 0
    desk.close()


def test_a_state_within_the_allowance_passes_a_rejected_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, allowed=1)
    channel = Memory(max_rows=4)
    channel.names_culprits = True
    channel.judge = {b"2", b"3"}.intersection
    with pytest.raises(TooManyRejects, match="rejected so far: 2, max_rejected_records: 1"):
        desk.load(channel, 4)
    desk.delivery.write_state(now=True)
    assert json.loads(capfd.readouterr().out) == {"at": 2}
    assert (desk.tally.delivered, desk.tally.rejected) == (2, 2)
    desk.close()


def test_a_stream_that_sends_nothing_holds_no_state_back(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.state()
    desk.delivery.tick()
    assert json.loads(capfd.readouterr().out) == {"at": 0}


def test_a_record_waits_for_company_only_so_long(tmp_path: Path) -> None:
    desk = Desk(tmp_path, oldest_seconds=0.01)
    channel = Memory()
    desk.add(channel)
    while not channel.requests:
        desk.delivery.tick()
        desk.woken.wait(0.01)
    assert channel.requests == [[b"1"]]


def test_after_a_stop_nothing_new_is_sent_and_what_is_in_flight_is_awaited(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    channel = Memory(max_rows=1)
    channel.gate.clear()
    for _ in range(6):  # four in flight, two waiting
        desk.add(channel)
        desk.state()
    channel.wait_until_busy(4)
    desk.stop.request()
    with pytest.raises(Stopped):
        desk.delivery.flush()
    finishing = desk.in_background(desk.delivery.finish_in_flight)
    channel.gate.set()
    finishing.join(20)
    desk.delivery.write_state(now=True)
    assert len(channel.requests) == 4
    assert json.loads(capfd.readouterr().out) == {"at": 4}


def test_after_a_stop_requests_in_flight_are_not_awaited_for_ever(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, grace_seconds=0.1)
    channel = Memory(max_rows=1)
    channel.gate.clear()
    desk.add(channel)
    desk.state()
    channel.wait_until_busy(1)
    desk.stop.request()
    desk.delivery.finish_in_flight()
    desk.delivery.write_state(now=True)
    assert capfd.readouterr().out == ""
    assert "1 request(s) were not answered within 0 s after the signal" in caplog.text
    channel.gate.set()
    desk.close()


def test_an_unforeseen_error_of_a_worker_ends_the_run(desk: Desk) -> None:
    channel = Memory(max_rows=1)

    def judge(_bodies: list[bytes]) -> list[bytes]:
        raise ZeroDivisionError

    channel.judge = judge
    desk.add(channel)
    with pytest.raises(ZeroDivisionError):
        desk.delivery.flush()
