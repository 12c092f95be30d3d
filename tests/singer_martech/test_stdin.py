from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from singer_martech.singer.stdin import StdinReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe to read from, and the end to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def thread() -> threading.Thread:
    (found,) = [each for each in threading.enumerate() if each.name == "input"]
    return found


def test_all_available_input_is_one_block(pipe: tuple[int, int]) -> None:
    output, given = pipe
    with StdinReader(output) as ahead:
        os.write(given, b"a\nb")
        assert ahead.block(20) == b"a\nb"
        assert ahead.block(0.01) is None
        for text in (b"c\n", b"d\n"):
            os.write(given, text)
        came = b""
        while len(came) < len(b"c\nd\n"):
            came += ahead.block(20) or b""
        assert came == b"c\nd\n"
        reading = thread()
    os.write(given, b"e\n")  # ends the wait; then the reader stops
    reading.join(20)
    assert not reading.is_alive()


def test_the_end_is_returned_last_and_repeatedly(tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "input").write_bytes(content)
    descriptor = os.open(tmp_path / "input", os.O_RDONLY)
    with StdinReader(descriptor) as ahead:
        reading = thread()
        blocks = list(iter(lambda: ahead.block(20), b""))
        assert ahead.block(20) == b""
    assert b"".join(block for block in blocks if block) == content
    reading.join(20)
    assert not reading.is_alive()
    os.close(descriptor)


def test_reading_ahead_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"x" * 20_000_000)
    descriptor = os.open(tmp_path / "input", os.O_RDONLY)
    with StdinReader(descriptor) as ahead:
        reading = thread()
        reading.join(0.5)
        assert reading.is_alive()
        assert os.lseek(descriptor, 0, os.SEEK_CUR) <= 5_000_000
        assert ahead.block(20)
    reading.join(20)
    assert not reading.is_alive()
    os.close(descriptor)


def test_a_read_error_is_raised_after_all_blocks(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with StdinReader(descriptor) as ahead:
        for _ in range(2):
            with pytest.raises(IsADirectoryError):
                ahead.block(20)
    os.close(descriptor)


def test_a_non_blocking_pipe_is_awaited(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[0], False)
    with StdinReader(pipe[0]) as ahead:
        assert ahead.block(0.05) is None
        os.write(pipe[1], b"x\n")
        assert ahead.block(20) == b"x\n"
    os.write(pipe[1], b"y")


def test_any_failure_of_the_thread_is_raised(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr("singer_martech.singer.stdin.os.read", read)
    with StdinReader(pipe[0]) as ahead, pytest.raises(MemoryError):
        ahead.block(20)


def test_wake_ends_a_wait(pipe: tuple[int, int]) -> None:
    with StdinReader(pipe[0]) as ahead:
        waker = threading.Timer(0.01, ahead.wake)
        waker.start()
        assert ahead.block(60) is None
        os.write(pipe[1], b"x")
    waker.join()
