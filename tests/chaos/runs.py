"""One run of a plugin in its own process, which may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from tests.sandbox.server import Sandbox
    from tests.sandbox.vendor import Vendor

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def most_kills(requests: int) -> int:
    """Return how many runs of a campaign with this many requests may be killed."""
    return max(4, requests // 60)


@dataclass(frozen=True)
class Kill:
    """A signal, and the number of requests of the run after which it is sent."""

    signum: signal.Signals
    requests: int

    @classmethod
    def drawn(cls, chance: random.Random, most_requests: int) -> Kill:
        """Draw one."""
        return cls(chance.choice(SIGNALS), chance.randint(1, max(2, most_requests)))

    @property
    def statuses(self) -> set[int]:
        """The possible exit statuses; the process may have ended before the signal."""
        own = -self.signum if self.signum == signal.SIGKILL else 128 + self.signum
        return {own, 0, 1}


@dataclass(frozen=True)
class Ended:
    """The result of a run."""

    status: int
    log: str


class Plugin:
    """A plugin as started by users.

    Args:
        name: The console script.
        config: Its settings.
        folder: Its working folder, which contains its temporary files.
        sandbox: The sandbox that it uses.
        vendor: Its vendor in the sandbox.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        folder: Path,
        sandbox: Sandbox,
        vendor: Vendor,
    ) -> None:
        self._command = [str(Path(sys.executable).with_name(name)), "--config", "config.json"]
        self._folder = folder
        self._sandbox = sandbox
        self._vendor = vendor
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        (folder / "config.json").write_text(json.dumps(config))

    def run(
        self,
        *arguments: str,
        on_line: Callable[[bytes], None],
        feed: Iterable[bytes] | None = None,
        kill: Kill | None = None,
    ) -> Ended:
        """Run to the end; `on_line` is called with every complete line of stdout."""
        process = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env={**os.environ, "TMPDIR": str(self._temporary)},
        )
        log: list[bytes] = []
        assert process.stdout is not None
        assert process.stderr is not None
        threads = [threading.Thread(target=_drain, args=(process.stderr, log))]
        if feed is not None:
            threads.append(threading.Thread(target=_feed, args=(process.stdin, feed)))
        if kill is not None:
            threads.append(threading.Thread(target=self._kill, args=(process, kill)))
        for thread in threads:
            thread.start()
        try:
            for line in process.stdout:
                if line.endswith(b"\n"):  # a killed process leaves an incomplete line
                    on_line(line)
        finally:
            if sys.exc_info()[0] is not None:
                process.kill()
            status = process.wait(timeout=60)
            for thread in threads:
                thread.join()
            process.stdout.close()
            process.stderr.close()
        ended = Ended(status, b"".join(log).decode())
        self._check(ended, kill)
        # users start the next run when no request of the last one is in progress
        self._sandbox.wait_until(
            lambda: all(request.ended is not None for request in list(self._vendor.requests))
        )
        return ended

    def _kill(self, process: subprocess.Popen[bytes], kill: Kill) -> None:
        wanted = len(self._vendor.requests) + kill.requests
        while process.poll() is None:
            with contextlib.suppress(TimeoutError):
                self._sandbox.wait_until(lambda: len(self._vendor.requests) >= wanted, timeout=0.2)
                process.send_signal(kill.signum)
                return

    def _check(self, ended: Ended, kill: Kill | None) -> None:
        assert ended.status in (kill.statuses if kill else {0, 1}), ended.log
        assert "Traceback" not in ended.log, ended.log
        assert list(self._temporary.iterdir()) == []
        if ended.status == 1:
            assert " ERROR " in ended.log.splitlines()[-1], ended.log


def _drain(source: IO[bytes], into: list[bytes]) -> None:
    into.extend(source)


def _feed(into: IO[bytes] | None, lines: Iterable[bytes]) -> None:
    assert into is not None
    with contextlib.suppress(BrokenPipeError):
        for line in lines:
            into.write(line)
    with contextlib.suppress(BrokenPipeError):
        into.close()
