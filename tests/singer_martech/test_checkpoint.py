from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from singer_martech.delivery.checkpoint import Checkpoints

if TYPE_CHECKING:
    import pytest


def test_a_state_waits_for_every_record_before_it(capfd: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(60)
    checkpoints.add(3, b'{"at":3}')
    checkpoints.add(5, b'{"at":5}')
    checkpoints.write(first_unsettled=3)
    assert capfd.readouterr().out == ""
    checkpoints.write(first_unsettled=4)
    assert capfd.readouterr().out == '{"at":3}\n'
    checkpoints.write(first_unsettled=5)
    assert capfd.readouterr().out == ""
    checkpoints.write(first_unsettled=None)
    assert capfd.readouterr().out == '{"at":5}\n'


@given(
    st.lists(st.booleans(), max_size=30),
    st.lists(st.one_of(st.none(), st.integers(1, 30)), max_size=10),
)
def test_no_state_passes_an_unsettled_record(
    records: list[bool], questions: list[int | None]
) -> None:
    """Records and STATE in any order: the newest allowed STATE is written."""
    checkpoints = Checkpoints(60)
    sequence, states = 0, []
    for is_record in records:
        if is_record:
            sequence += 1
        else:
            states.append(sequence)
            checkpoints.add(sequence, str(sequence).encode())
    last = -1
    for oldest in questions:
        output = io.StringIO()
        with redirect_stdout(output):
            checkpoints.write(oldest)
        allowed = [state for state in states if oldest is None or state < oldest]
        newest = max(allowed, default=-1)
        expected = f"{newest}\n" if newest > last else ""
        assert output.getvalue() == expected
        last = max(last, newest)


def test_of_several_states_after_one_record_the_last_is_kept(
    capfd: pytest.CaptureFixture[str],
) -> None:
    checkpoints = Checkpoints(60)
    checkpoints.add(3, b"1")
    checkpoints.add(3, b"2")
    assert len(checkpoints) == 1
    checkpoints.write(None)
    assert capfd.readouterr().out == "2\n"


def test_the_same_state_is_written_once(capfd: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(60)
    for place in (1, 2):
        checkpoints.add(place, b"{}")
        checkpoints.write(None)
    assert capfd.readouterr().out == "{}\n"


def test_a_state_is_due_when_its_records_are_settled_and_the_interval_has_passed() -> None:
    checkpoints = Checkpoints(60)
    assert not checkpoints.is_due(None)
    checkpoints.add(3, b"1")
    assert not checkpoints.is_due(3)
    assert checkpoints.is_due(4)
    with redirect_stdout(io.StringIO()):
        checkpoints.write(None)
    checkpoints.add(4, b"2")
    assert not checkpoints.is_due(None)


def test_a_dry_run_writes_no_state(capfd: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(60, silent=True)
    checkpoints.add(1, b"{}")
    checkpoints.write(None)
    assert capfd.readouterr().out == ""


def test_state_bytes_do_not_depend_on_the_terminal_encoding() -> None:
    program = (
        "from singer_martech.delivery.checkpoint import Checkpoints\n"
        "checkpoints = Checkpoints(1)\n"
        r"checkpoints.add(1, b'\xc3\xa9')" + "\n"
        "checkpoints.write(None)\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    ).stdout
    assert output == b"\xc3\xa9\n"


def test_pending_states_use_bounded_memory(
    capfd: pytest.CaptureFixture[str],
) -> None:
    checkpoints = Checkpoints(60)
    padding = b" " * 1_000_000
    for sequence in range(1, 201):
        checkpoints.add(sequence, b"%d%s" % (sequence, padding))
    assert len(checkpoints) <= 34
    checkpoints.write(first_unsettled=20)
    assert int(capfd.readouterr().out) == 19
    checkpoints.write(first_unsettled=None)
    assert int(capfd.readouterr().out) == 200
