"""Run the target as a command against the sandbox."""

from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from target_mona.target import TargetMona
from tests.kit.singer import Run, as_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.kit.singer import Line
    from tests.sandbox.mona import Mona
    from tests.sandbox.server import Sandbox

COMMAND = Path(sys.executable).with_name("target-mona")


@pytest.fixture
def mona(sandbox: Sandbox) -> Mona:
    return sandbox.mona


@pytest.fixture
def config(mona: Mona, tmp_path: Path) -> dict[str, Any]:
    """The settings of a run, which a test may change."""
    return {**mona.credentials(), "reject_path": str(tmp_path / "rejects")}


@contextmanager
def _streams(given: IO[str]) -> Iterator[list[str]]:
    """Write the input of the command, and read its output and its log until it ends."""
    result: list[str] = []
    output, log = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before = sys.stdin, sys.stdout, sys.stderr
    hooks = sys.excepthook, threading.excepthook
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root = logging.getLogger()
    logging_before = root.handlers[:], root.level
    sys.stdin, sys.stdout, sys.stderr = given, output, log
    try:
        yield result
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        sys.excepthook, threading.excepthook = hooks
        root.handlers, root.level = logging_before
        logging.captureWarnings(capture=False)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for stream in (output, log):
            stream.flush()
            result.append(_contents(stream))


def _contents(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


class Target:
    """The command, with settings and an environment.

    Args:
        config: The settings.
        folder: Where it runs.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.reject_path = Path(config["reject_path"])
        self._processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, *lines: Line, **settings: Any) -> Run:
        """Run the command with these messages in this process, because starting one takes long."""
        (self.folder / "input").write_bytes(as_bytes(lines))
        arguments = ["--config", str(self._write_config(settings))]
        with (self.folder / "input").open(encoding="utf-8") as given, _streams(given) as streams:
            try:
                TargetMona.cli.main(arguments, prog_name="target-mona")
            except SystemExit as end:
                status = end.code
            except Exception as error:  # noqa: BLE001 - the interpreter would do the same
                sys.excepthook(type(error), error, error.__traceback__)
                status = 1
        assert isinstance(status, int)
        output, log = streams
        return Run(status, output, log, self.reject_path)

    def _write_config(self, settings: Mapping[str, Any]) -> Path:
        path = self.folder / f"config-{len(self._processes)}.json"
        path.write_text(json.dumps({**self.config, **settings}))
        return path

    def start(self, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a run in a separate process whose input is a pipe."""
        path = self._write_config(settings)
        process = subprocess.Popen(
            [COMMAND, "--config", path],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def command(
        self, *arguments: str, lines: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run with any arguments and environment."""
        result = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            input=lines,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        output, log = result.stdout.decode(), result.stderr.decode()
        return Run(result.returncode, output, log, self.reject_path)

    def close(self) -> None:
        """End running processes."""
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def target(config: dict[str, Any], tmp_path: Path) -> Iterator[Target]:
    target = Target(config, tmp_path)
    yield target
    target.close()


@pytest.fixture
def messages(mona: Mona) -> Callable[[], list[dict[str, Any]]]:
    """The messages that Mona accepted, in order."""
    return lambda: [each["message"] for each in mona.messages()]
