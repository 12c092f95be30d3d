"""Runs of a plugin, each in its own process, which may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.chaos.fork_server import ForkServer
from tests.chaos.gateway import HOST, Gateway
from tests.chaos.injector import is_own, without_closed_generators
from tests.robustness.plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from typing_extensions import Self

    from tests.chaos.conditions import Conditions
    from tests.sandbox.server import Sandbox
    from tests.sandbox.vendor import Vendor

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
REQUESTS_PER_KILL = 10
"""The average number of requests of a run after which it is killed."""
_OUTPUT_LOST = 120
"""The status of Python if it cannot flush its output at the end."""
_NO_THREAD_DATA = 127
"""The status of a process if its C library cannot allocate the data of a thread."""
_VERSION = "Meltano SDK v"
"""What the first line of a log contains."""
_OUTCOMES = (" ERROR ", "summary: ", "METRIC: ")
"""What the log of a run that is over contains."""
_NO_MEMORY = ("MemoryError", "Exception ignored in thread started by")
MOST_SECONDS = 600
_LOOP_SECONDS = 100
"""A run that used more CPU time does not wait for anything; all others use some seconds."""
LOOPING = re.compile(r"\nCurrent thread [^\n]*\n  File \"([^\n]*)\", line ")
"""Where the busiest thread was, in the stacks that a stuck run writes."""
FAKE_CLOCK = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""The library of the Debian package libfaketime; without it, the clock is not changed."""


@dataclass(frozen=True)
class Kill:
    """A signal, and the number of requests of the run after which it is sent."""

    signum: signal.Signals
    requests: int

    @classmethod
    def drawn(cls, chance: random.Random, conditions: Conditions) -> Kill:
        """Draw one for a run under some conditions."""
        # A process killed while libfaketime holds its semaphore would stop all later ones.
        signals = SIGNALS[:2] if conditions.clock else SIGNALS
        return cls(chance.choice(signals), chance.randrange(1, 2 * REQUESTS_PER_KILL))

    @property
    def statuses(self) -> set[int]:
        """The possible exit statuses; the process may have ended before the signal."""
        # Python's own end restores the default reaction to a signal.
        return {-self.signum, 128 + self.signum, 0, 1}


@dataclass(frozen=True)
class Ended:
    """The result of a run."""

    status: int
    log: str
    cpu_seconds: float
    is_stuck: bool

    def is_endless_loop(self, conditions: Conditions) -> bool:
        """Whether Python looped forever without memory in code that is not ours.

        Up to Python 3.13, long functions with error handlers do so (CPython issue 132508).
        """
        looping = LOOPING.search(self.log)
        return (
            self.is_stuck
            and "memory" in conditions.job
            and self.cpu_seconds > _LOOP_SECONDS
            and looping is not None
            and not is_own(looping[1])
        )


class Runs:
    """Runs one plugin repeatedly; a context manager.

    Args:
        name: The console script.
        folder: The parent of the runs' working folders, each with its temporary files.
        sandbox: The sandbox that the plugin uses.
        vendor: Its vendor in the sandbox.
        seed: The seed of the gateway's faults.
    """

    def __init__(
        self, name: str, folder: Path, sandbox: Sandbox, vendor: Vendor, seed: object
    ) -> None:
        (self._plugin,) = (plugin for plugin in PLUGINS if plugin.name == name)
        self._folder = folder
        self._sandbox = sandbox
        self._vendor = vendor
        self._gateway = Gateway(sandbox.url, random.Random(f"gateway {name} {seed}"), folder)
        self._clock = folder / "clock"
        self._servers: dict[bool, ForkServer] = {}
        self.count = 0
        self.kills = 0
        self._endless_loops = 0

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._gateway.__exit__(*exception)
        for server in self._servers.values():
            server.close()

    def run(
        self,
        config: Mapping[str, Any],
        conditions: Conditions,
        *,
        on_line: Callable[[bytes], None],
        feed: Iterable[bytes] | None = None,
        state: Mapping[str, Any] | None = None,
        kill: Kill | None = None,
    ) -> Ended:
        """Run to the end; `on_line` is called with every complete line of stdout."""
        folder = self._folder / f"run {self.count}"
        self.count += 1
        arguments = ["--config", "config.json"]
        (folder / "temporary").mkdir(parents=True)
        files: dict[str, Any] = {"config": self._addressed(config, conditions)}
        if state is not None:
            files["state"] = state
            arguments += ["--state", "state.json"]
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        environment = {"TMPDIR": str(folder / "temporary"), **self._gateway.environment()}
        self._gateway.fault_probability = conditions.gateway_faults
        job = {"folder": str(folder), "arguments": arguments, "environment": environment}
        process = self._server(conditions)
        before = len(self._vendor.requests)
        with contextlib.ExitStack() as streams:
            ours, theirs = _pipes(streams)
            process.start([each.fileno() for each in theirs], {**job, **conditions.job})
            for each in theirs:
                each.close()
            actions = self._actions(process, conditions, kill)
            ended = self._read(process, ours, on_line, feed, actions)
        assert list((folder / "temporary").iterdir()) == []
        if ended.is_endless_loop(conditions):
            self._endless_loops += 1
        else:
            self._check(ended, conditions, kill)
        # users start the next run when no request of the last one is in progress
        self._sandbox.wait_until(
            lambda: all(request.ended is not None for request in self._vendor.requests[before:])
        )
        return ended

    def _read(
        self,
        process: ForkServer,
        streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
        on_line: Callable[[bytes], None],
        feed: Iterable[bytes] | None,
        actions: Mapping[int, Callable[[], object]],
    ) -> Ended:
        stdin, stdout, stderr = streams
        log: list[bytes] = []
        over = threading.Event()
        watchdog = threading.Timer(MOST_SECONDS, process.send_signal, [signal.SIGABRT])
        threads = [
            watchdog,
            threading.Thread(target=_drain, args=(stderr, log)),
            threading.Thread(target=_feed, args=(stdin, feed or ())),
        ]
        threads += [
            threading.Thread(target=self._after, args=(requests, action, over))
            for requests, action in actions.items()
        ]
        for thread in threads:
            thread.start()
        try:
            for line in stdout:
                if line.endswith(b"\n"):  # a killed process leaves an incomplete line
                    on_line(line)
        finally:
            if sys.exc_info()[0] is not None:
                process.send_signal(signal.SIGKILL)
            status, cpu_seconds = process.wait()
            is_stuck = watchdog.finished.is_set()
            watchdog.cancel()
            over.set()
            for thread in threads:
                thread.join()
        return Ended(status, b"".join(log).decode(), cpu_seconds, is_stuck)

    def _actions(
        self, process: ForkServer, conditions: Conditions, kill: Kill | None
    ) -> dict[int, Callable[[], object]]:
        """Return what to do during the run, by the number of its requests before."""
        actions: dict[int, Callable[[], object]] = {
            requests: partial(self._set_clock, seconds)
            for requests, seconds in conditions.clock.items()
        }
        if kill is not None:
            actions[kill.requests] = partial(self._kill, process, kill)
        return actions

    def _addressed(self, config: Mapping[str, Any], conditions: Conditions) -> dict[str, Any]:
        """Return the settings with the address of the gateway, if it is used."""
        if not conditions.uses_gateway:
            return dict(config)
        url = f"https://{HOST}" if conditions.kind == "proxy" else self._gateway.url
        return {
            name: value.replace(self._sandbox.url, url) if name.endswith("_url") else value
            for name, value in config.items()
        }

    def _server(self, conditions: Conditions) -> ForkServer:
        is_clock_fake = bool(conditions.clock) and FAKE_CLOCK is not None
        if is_clock_fake:
            self._set_clock(0)
        if is_clock_fake not in self._servers:
            environment = {
                "LD_PRELOAD": str(FAKE_CLOCK),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
            server = ForkServer(self._plugin, environment if is_clock_fake else None)
            self._servers[is_clock_fake] = server
        return self._servers[is_clock_fake]

    def _set_clock(self, seconds: int) -> None:
        new = self._clock.with_suffix(f".{threading.get_ident()}")
        new.write_text(f"{seconds:+}s\n", encoding="ascii")
        new.replace(self._clock)

    def __str__(self) -> str:
        """Describe the kills and requests so far."""
        requests = self._vendor.requests
        faults = sum(request.fault is not None for request in requests)
        described = f"{self.kills} kills, {len(requests)} requests, {faults} of them with a fault"
        if self._endless_loops:
            described += f", {self._endless_loops} endless loops of Python without memory"
        return described

    def _kill(self, process: ForkServer, kill: Kill) -> None:
        process.send_signal(kill.signum)
        self.kills += 1

    def _after(self, requests: int, action: Callable[[], object], over: threading.Event) -> None:
        """Act after this many requests of a run, unless it is over before."""
        wanted = len(self._vendor.requests) + requests
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                self._sandbox.wait_until(lambda: len(self._vendor.requests) >= wanted, timeout=0.2)
                action()
                return

    @staticmethod
    def _check(ended: Ended, conditions: Conditions, kill: Kill | None) -> None:
        told = f"{conditions}, {kill}\n{ended.log}"
        assert not ended.is_stuck, f"did not end within {MOST_SECONDS} s: {told}"
        statuses = kill.statuses if kill else {0, 1}
        if "memory" in conditions.job:
            # Without memory, libraries in Rust abort, OpenSSL recurses beyond its stack, and the C
            # library ends the process.
            statuses |= {-signal.SIGABRT, -signal.SIGSEGV, _OUTPUT_LOST, _NO_THREAD_DATA}
        assert ended.status in statuses, f"{ended.status}: {told}"
        if ended.status in {-signal.SIGTERM, -signal.SIGINT}:
            # it had logged nothing but its version, and so not begun, or was over
            logged = [line for line in ended.log.splitlines() if _VERSION not in line]
            assert not logged or any(mark in ended.log for mark in _OUTCOMES), told
        if "memory" in conditions.job and any(mark in ended.log for mark in _NO_MEMORY):
            return  # the interpreter itself had no memory to write a log line, or to start a thread
        assert "Traceback" not in without_closed_generators(ended.log), told
        if ended.status == 1:
            assert " ERROR " in ended.log.splitlines()[-1], told


def _pipes(
    stack: contextlib.ExitStack,
) -> tuple[tuple[IO[bytes], IO[bytes], IO[bytes]], list[IO[bytes]]]:
    """Return our ends of a process's standard streams, and its own ends."""

    def pipe() -> Iterator[IO[bytes]]:
        for descriptor, mode in zip(os.pipe(), ("rb", "wb"), strict=True):
            yield stack.enter_context(os.fdopen(descriptor, mode))

    (stdin, feed), (out, stdout), (log, stderr) = pipe(), pipe(), pipe()
    return (feed, out, log), [stdin, stdout, stderr]


def _drain(source: IO[bytes], into: list[bytes]) -> None:
    into.extend(source)


def _feed(into: IO[bytes], lines: Iterable[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        for line in lines:
            into.write(line)
    with contextlib.suppress(BrokenPipeError):
        into.close()
