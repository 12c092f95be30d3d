"""Writing to standard output with a slow or missing reader."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import contextmanager, redirect_stdout
from typing import IO, TYPE_CHECKING

import pytest

from singer_martech._compat import override
from singer_martech.errors import Stopped
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.singer import writer
from singer_martech.singer.writer import end_writes_on, write_output

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = b"0123456789abcdef\n" * 100_000
"""More than fits in a pipe."""


@pytest.fixture
def shutdown(monkeypatch: pytest.MonkeyPatch) -> ShutdownSignal:
    monkeypatch.setattr(writer, "_shutdown", None)  # also restored at the end of the test
    shutdown = ShutdownSignal()
    end_writes_on(shutdown)
    return shutdown


@contextmanager
def piped() -> Iterator[tuple[IO[str], IO[bytes]]]:
    """Replace standard output with a pipe and return its reading end."""
    read, write = os.pipe()
    with (
        open(read, "rb") as reader,  # noqa: PTH123
        open(write, "w", encoding="utf-8") as stdout,  # noqa: PTH123
        redirect_stdout(stdout),
    ):
        yield stdout, reader


class LateReader(threading.Thread):
    """Reads what was written, but not at once."""

    def __init__(self, reader: IO[bytes]) -> None:
        super().__init__()
        self.reader = reader
        self.received = b""

    @override
    def run(self) -> None:
        select.select([], [], [], 0.05)
        self.received = self.reader.read(len(LINES))


def test_a_signal_ends_a_write_to_a_pipe_without_reader(shutdown: ShutdownSignal) -> None:
    with piped() as (stdout, reader):
        threading.Timer(0.01, shutdown.request, (signal.SIGTERM,)).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            write_output(LINES, grace_seconds=0.05)
        assert time.monotonic() - began < 10
        assert os.get_blocking(stdout.fileno())
        os.read(reader.fileno(), len(LINES))
        with pytest.raises(Stopped):  # further output would be read as the rest of the line
            write_output(b"{}\n")


@pytest.mark.parametrize("is_blocking", [False, True])
def test_a_reader_within_the_grace_time_gets_every_line(
    shutdown: ShutdownSignal, *, is_blocking: bool
) -> None:
    shutdown.request(signal.SIGTERM)
    with piped() as (stdout, output):
        os.set_blocking(stdout.fileno(), is_blocking)
        reader = LateReader(output)
        reader.start()
        write_output(LINES)
        reader.join(20)
        assert reader.received == LINES
        assert os.get_blocking(stdout.fileno()) == is_blocking
