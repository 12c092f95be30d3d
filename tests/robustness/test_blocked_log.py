"""A log that nobody reads, or that cannot be written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from singer_martech.runtime.shutdown import EXIT_SECONDS
from tests.robustness.plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox


def fill(pipe: int) -> None:
    """Fill a pipe, through a description of its own, whose writes do not block."""
    descriptor = os.open(f"/dev/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while os.write(descriptor, b"x" * size):
                pass
    os.close(descriptor)


@contextlib.contextmanager
def started(
    plugin: Plugin, sandbox: Sandbox, log: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a plugin's command with its input; end it, if it still runs."""
    config = Path(f"{plugin.name}.json")
    config.write_text(json.dumps(plugin.settings(sandbox)), encoding="utf-8")
    source = Path(f"{plugin.name}.jsonl")
    source.write_bytes(plugin.input)
    command = [str(Path(sys.executable).with_name(plugin.name)), "--config", str(config)]
    with (
        source.open() as lines,
        subprocess.Popen(
            command, stdin=lines, stdout=subprocess.DEVNULL, stderr=log, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_a_signal_ends_a_run_whose_log_is_not_read(sandbox: Sandbox) -> None:
    _, log = pipe = os.pipe()
    for vendor in sandbox.vendors:
        sandbox.faults.add(vendor, hold=True, times=None)
    with contextlib.ExitStack() as stack:
        for descriptor in pipe:
            stack.callback(os.close, descriptor)
        processes = [stack.enter_context(started(each, sandbox, log)) for each in PLUGINS]
        for plugin in PLUGINS:
            sandbox.wait_for_requests(plugin.vendor)
        sandbox.wait_for_requests("mediarithmics", count=2)
        fill(log)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        sandbox.faults.clear()
        statuses = [process.wait(EXIT_SECONDS + 20) for process in processes]
    assert statuses == [128 + signal.SIGTERM] * len(PLUGINS)


#: The file of a log on a full disk, next to standard error.
LOGGING = """
version: 1
handlers:
  file: {class: logging.FileHandler, filename: /dev/full}
  stderr: {class: logging.StreamHandler}
root: {level: INFO, handlers: [file, stderr]}
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not Linux")
def test_a_log_that_cannot_be_written_changes_nothing(plugin: Plugin, sandbox: Sandbox) -> None:
    Path("logging.yml").write_text(LOGGING, encoding="utf-8")
    with Path("log").open("w+b") as log:
        environment = {**os.environ, "SINGER_SDK_LOG_CONFIG": "logging.yml"}
        with started(plugin, sandbox, log.fileno(), environment) as process:
            assert process.wait(60) == 0
        log.seek(0)
        lines = log.read().decode()
    assert "Meltano SDK" in lines
    assert "Traceback" not in lines
    assert "Logging error" not in lines


#: The configuration of a log, and the module of its formatter, for which no memory is left.
LOGGING_WITHOUT_MEMORY = """
version: 1
formatters: {plain: {(): unformatted.Formatter}}
handlers: {stderr: {class: logging.StreamHandler, formatter: plain}}
root: {level: INFO, handlers: [stderr]}
"""
FORMATTER = """
class Formatter:
    def format(self, record):
        raise MemoryError
"""


def test_an_error_without_memory_for_its_line_is_a_constant_line(plugin: Plugin) -> None:
    Path("logging.yml").write_text(LOGGING_WITHOUT_MEMORY, encoding="utf-8")
    Path("unformatted.py").write_text(FORMATTER, encoding="utf-8")
    environment = {**os.environ, "SINGER_SDK_LOG_CONFIG": "logging.yml", "PYTHONPATH": "."}
    run = subprocess.run(
        [str(Path(sys.executable).with_name(plugin.name)), "--config", "missing.json"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("| ERROR | out of memory: ")
    assert run.stderr.count("\n") == 1
