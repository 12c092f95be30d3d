from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from singer_martech.errors import Stopped
from singer_martech.runtime.shutdown import ShutdownSignal

#: Writes to a pipe that nobody reads.
BLOCKED = """
import os
from singer_martech.runtime.shutdown import ShutdownSignal
ShutdownSignal().install(exit_seconds=0.1)
while True:
    os.write(1, b"x" * 65536)
"""
#: Ends in order after a signal.
ORDERLY = """
import os, signal, sys
from singer_martech.errors import Stopped
from singer_martech.runtime.shutdown import ShutdownSignal
shutdown = ShutdownSignal()
shutdown.install()
os.kill(os.getpid(), signal.SIGTERM)
try:
    shutdown.wait(30)
except Stopped as error:
    print(error, end="")
    sys.exit(3)
"""


def test_a_request_ends_all_present_and_future_waits() -> None:
    for _ in range(100):
        shutdown = ShutdownSignal()
        ended: list[int] = []
        waiting = threading.Barrier(4)

        def wait(
            shutdown: ShutdownSignal = shutdown,
            ended: list[int] = ended,
            go: threading.Barrier = waiting,
        ) -> None:
            go.wait()
            try:
                shutdown.wait(30)
            except Stopped as error:
                ended.append(error.signum)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        waiting.wait()
        shutdown.request(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert ended == [signal.SIGTERM] * 3
        with pytest.raises(Stopped):
            shutdown.wait(30)


def test_a_wait_without_a_request_lasts_its_full_time() -> None:
    began = time.monotonic()
    ShutdownSignal().wait(0.05)
    assert time.monotonic() - began >= 0.05
    ShutdownSignal().wait(-1)


def test_a_wait_can_exceed_the_system_limit() -> None:
    shutdown = ShutdownSignal()
    shutdown.request(signal.SIGTERM)
    with pytest.raises(Stopped):
        shutdown.wait(1e300)


def test_callbacks_are_called_on_a_request() -> None:
    shutdown = ShutdownSignal()
    told: list[bool] = []
    shutdown.on_request(lambda: told.append(shutdown.is_set))
    shutdown.check()
    shutdown.request(signal.SIGINT)
    assert told == [True]
    with pytest.raises(Stopped, match="stopped by SIGINT"):
        shutdown.check()


def test_a_write_that_blocks_after_a_signal_ends_with_the_process() -> None:
    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=write) as process:
        os.close(write)
        assert os.read(read, 1) == b"x"  # so the handler is installed
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 128 + signal.SIGINT
        finally:
            process.kill()
    os.close(read)


def test_a_run_that_ends_in_time_is_not_cut() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ORDERLY], stdout=subprocess.PIPE, check=False, timeout=20
    )
    assert (ended.returncode, ended.stdout) == (3, b"stopped by SIGTERM")
