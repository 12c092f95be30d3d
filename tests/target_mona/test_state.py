"""STATE covers delivered records only, after any end of a run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import as_bytes, record, records, schema, state

if TYPE_CHECKING:
    from tests.kit.singer import Line
    from tests.sandbox.mona import Mona
    from tests.sandbox.server import Sandbox
    from tests.target_mona.conftest import Target


def with_states(count: int, first: int = 1) -> list[Line]:
    """Return records, each followed by a STATE of its number."""
    lines: list[Line] = []
    for number in range(first, first + count):
        lines += [record(id=number), state(number)]
    return lines


def ids(mona: Mona) -> list[int]:
    return [each["message"]["id"] for each in mona.messages()]


def send(process: subprocess.Popen[bytes], *lines: Line) -> None:
    assert process.stdin is not None
    process.stdin.write(as_bytes(lines))
    process.stdin.flush()


def line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_last_state_is_written_when_all_is_delivered(target: Target) -> None:
    run = target(schema(), *with_states(10), max_request_rows=3)
    assert run.status == 0
    assert run.states[-1] == 10
    assert run.states == sorted(run.states)


def test_the_bytes_of_a_state_are_unchanged(target: Target) -> None:
    value = '{"bookmarks" : {"é\\u00e9": 1.50, "big":123456789012345678901234567890, "x":[ ]}}'
    run = target(schema(), record(id=1), f'{{"type":"STATE" ,"value":{value} }}')
    assert run.output == value + "\n"


def test_when_the_fifth_of_five_batches_fails_the_state_of_the_fourth_is_written(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", status=503, after=4, times=None)
    run = target(
        schema(), *with_states(10), max_request_rows=2, parallel_requests=1, max_attempts=1
    )
    assert run.status == 1
    assert ids(mona) == list(range(1, 9))
    assert run.states[-1] == 8


def test_a_batch_that_fails_holds_back_the_states_of_later_ones(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    failing = sandbox.faults.add("mona", "/export", hold=True, status=503, after=2)

    def release() -> None:
        sandbox.wait_until(lambda: len(mona.messages()) == 8)
        failing.release()

    thread = threading.Thread(target=release)
    thread.start()
    run = target(
        schema(), *with_states(10), max_request_rows=2, parallel_requests=2, max_attempts=1
    )
    thread.join()
    assert run.status == 1
    missing = sorted(set(range(1, 11)) - set(ids(mona)))
    assert len(missing) == 2
    assert missing[0] <= 7
    assert (run.states or [0])[-1] == missing[0] - 1


def test_an_idle_stream_delays_no_state(target: Target) -> None:
    run = target(schema("a"), schema("b"), record("a", id=1), state("one"))
    assert run.states == ["one"]
    assert target(state("nothing at all")).states == ["nothing at all"]


def test_states_of_interleaved_streams_wait_for_all_of_them(
    target: Target, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mona", "/export", status=403, after=1, times=None)
    run = target(
        schema("a"),
        schema("b"),
        record("a", id=1),
        record("b", id=1),
        state(2),
        record("b", id=2),
        record("a", id=3),
        state(4),
        max_request_rows=2,
        parallel_requests=1,
    )
    assert run.status == 1
    assert run.states == [2]


def test_idle_input_is_delivered_and_its_state_emitted_in_time(target: Target, mona: Mona) -> None:
    process = target.start(checkpoint_interval_seconds="0.6")
    began = time.monotonic()
    send(process, schema(), record(id=1), state(1))
    assert json.loads(line_of(process)) == 1
    first = time.monotonic() - began
    assert ids(mona) == [1]
    began = time.monotonic()
    send(process, record(id=2), state(2))
    assert json.loads(line_of(process)) == 2
    # the first includes the start of the program
    assert time.monotonic() - began < 5
    assert first < 20
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_busy_input_emits_states_in_time_too(target: Target) -> None:
    process = target.start(checkpoint_interval_seconds=0.5, max_request_rows=50)
    send(process, schema())
    shutdown = threading.Event()

    def write() -> None:
        number = 0
        while not shutdown.is_set():
            number += 1
            send(process, record(id=number), state(number))

    writer = threading.Thread(target=write)
    writer.start()
    seen = [json.loads(line_of(process)) for _ in range(3)]
    shutdown.set()
    writer.join(20)
    assert seen == sorted(set(seen))
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight_and_sends_nothing_new(
    target: Target, sandbox: Sandbox, mona: Mona, number: signal.Signals
) -> None:
    held = sandbox.faults.add("mona", "/export", hold=True, times=None)
    process = target.start(max_request_rows=2, parallel_requests=2)
    send(process, schema(), *with_states(20))
    sandbox.wait_for_requests("mona", "/mona/export", count=2)
    process.send_signal(number)
    # it still waits: its input is open, and two requests are in flight
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    held.release()
    output, log = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert len(mona.exports) == 2
    assert sorted(ids(mona)) == [1, 2, 3, 4]
    assert [json.loads(line) for line in output.splitlines()][-1] == 4
    assert b"Traceback" not in log


def test_a_signal_while_nothing_happens_ends_the_run(target: Target, mona: Mona) -> None:
    process = target.start(max_request_rows=2)
    send(process, schema(), record(id=1), record(id=2), state(1))
    sandbox = mona.sandbox
    sandbox.wait_until(lambda: bool(mona.messages()))
    assert json.loads(line_of(process)) == 1
    send(process, record(id=3), state(2))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"2" not in output
    assert ids(mona) == [1, 2]


def test_a_signal_ends_a_long_wait(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", status=429, retry_after=600, times=None)
    process = target.start(max_request_rows=1)
    send(process, schema(), record(id=1), state(1))
    sandbox.wait_until(lambda: any(export.status == 429 for export in mona.exports))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 143
    assert output == b""


def test_a_signal_also_ends_a_run_that_finishes_because_of_rejects(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", status=429, retry_after=600, times=None)
    process = target.start()
    send(process, schema(id={"type": "integer"}), record(id=1), record(id="one too many"))
    sandbox.wait_until(lambda: any(export.status == 429 for export in mona.exports))
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 143
    assert b"a record was rejected" in log


def test_a_second_signal_ends_at_once(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", hold=True, times=None)
    process = target.start(max_request_rows=1)
    send(process, schema(), record(id=1), state(1))
    sandbox.wait_for_requests("mona", "/mona/export")
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    # a busy process receives two equal signals as one
    for _ in range(25):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    assert process.returncode == 130
    assert process.communicate()[0] == b""
    assert mona.messages() == []


def test_after_kills_at_any_moment_every_record_arrives(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    """Each run begins after the last STATE that was written, as with an orchestrator."""
    chance = random.Random(7)
    sandbox.faults.add("mona", "/export", delay=0.01, probability=0.5, times=None)
    total, done, kills = 300, 0, 0
    while True:
        process = target.start(
            max_request_rows=7, parallel_requests=3, checkpoint_interval_seconds=0.05
        )
        lines = as_bytes([schema(), *with_states(total - done, done + 1)])
        if kills == 5:
            output, _ = process.communicate(lines, timeout=30)
            assert process.returncode == 0
        else:
            before = len(mona.exports)
            wanted = chance.randint(1, 12)
            send(process, lines)
            sandbox.wait_until(lambda: len(mona.exports) >= before + wanted)  # noqa: B023 - used at once
            process.kill()
            output, _ = process.communicate()
            kills += 1
        complete = output[: output.rfind(b"\n") + 1]
        states = [json.loads(line) for line in complete.splitlines()]
        # each STATE was correct when it was written
        assert set(range(1, max(states, default=0) + 1)) <= set(ids(mona))
        done = max([done, *states])
        if process.returncode == 0:
            break
    assert done == total
    assert set(ids(mona)) == set(range(1, total + 1))


def test_a_closed_output_ends_the_run_with_one_line(target: Target) -> None:
    process = target.start(checkpoint_interval_seconds=0.1)
    assert process.stdout is not None
    process.stdout.close()
    send(process, schema(), *with_states(3))
    assert process.stderr is not None
    log = process.stderr.read()
    assert process.wait(20) == 1
    assert b"the program that reads the output has ended" in log
    assert b"Traceback" not in log


def test_a_slow_vendor_pauses_the_reader(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    held = sandbox.faults.add("mona", "/export", hold=True, times=None)
    process = target.start(max_request_rows=10, parallel_requests=2)
    assert process.stdin is not None
    taken = 0
    lines = as_bytes([schema(), *(record(id=n, text="x" * 10_000) for n in range(1500))])
    descriptor = process.stdin.fileno()

    def write() -> None:
        nonlocal taken
        while taken < len(lines):
            taken += os.write(descriptor, lines[taken : taken + 65536])

    writer = threading.Thread(target=write)
    writer.start()
    sandbox.wait_for_requests("mona", "/mona/export", count=2)
    writer.join(1)
    # two requests of 100 kB in flight, two queued, a block in progress, 4 MiB read ahead
    assert writer.is_alive()
    assert taken < 8_000_000 < len(lines)
    held.release()
    sandbox.faults.clear()
    writer.join(20)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(mona.messages()) == 1500


def test_every_record_read_is_counted(target: Target, mona: Mona) -> None:
    mona.refuse_if = lambda message: "bad" if message["message"]["id"] == 3 else None
    run = target(
        schema(id={"type": "integer"}),
        *records(10),
        record(id="x"),
        record(id=11, _sdc_deleted_at="2024-05-01"),
        state(1),
        max_rejected_records=2,
    )
    assert run.status == 0
    counts: dict[str, Any] = run.summary()
    seconds = counts.pop("seconds")
    assert seconds >= 0
    assert counts == {
        "stream": "orders",
        "read": 12,
        "delivered": 9,
        "rejected": 2,
        "skipped_deletes": 1,
        "superseded": 0,
        "requests": len(mona.exports),
        "retries": 0,
        "bytes": sum(export.size for export in mona.exports),
    }


def test_progress_is_logged_every_ten_seconds_and_has_no_rate_where_nothing_moved(
    target: Target, sandbox: Sandbox
) -> None:
    sandbox.faults.add("mona", "/export", hold=True, times=None)
    process = target.start()
    began = time.monotonic()
    send(process, schema(), *records(1500), schema("other"))
    assert process.stderr is not None
    line = next(each for each in process.stderr if b"records read" in each).decode()
    assert 9 < time.monotonic() - began < 20
    assert line.endswith("stream 'orders': 1,500 records read, 0 delivered, 0 rejected\n")
