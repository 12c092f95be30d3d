from __future__ import annotations

import signal
import threading
import time

import pytest

from singer_martech.errors import Stopped
from singer_martech.runtime.shutdown import Stop


def test_every_wait_ends_at_once_and_for_good() -> None:
    for _ in range(100):
        stop = Stop()
        ended: list[int] = []
        waiting = threading.Barrier(4)

        def wait(
            stop: Stop = stop, ended: list[int] = ended, go: threading.Barrier = waiting
        ) -> None:
            go.wait()
            try:
                stop.wait(30)
            except Stopped as error:
                ended.append(error.signum)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        waiting.wait()
        stop.request(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert ended == [signal.SIGTERM] * 3
        with pytest.raises(Stopped):
            stop.wait(30)


def test_a_wait_without_a_request_takes_its_time() -> None:
    began = time.monotonic()
    Stop().wait(0.05)
    assert time.monotonic() - began >= 0.05
    Stop().wait(-1)


def test_a_wait_may_be_longer_than_the_system_can_count() -> None:
    stop = Stop()
    stop.request(signal.SIGTERM)
    with pytest.raises(Stopped):
        stop.wait(1e300)


def test_whoever_wants_to_know_is_told() -> None:
    stop = Stop()
    told: list[bool] = []
    stop.on_request(lambda: told.append(stop.is_set))
    stop.check()
    stop.request(signal.SIGINT)
    assert told == [True]
    with pytest.raises(Stopped, match="stopped by SIGINT"):
        stop.check()
