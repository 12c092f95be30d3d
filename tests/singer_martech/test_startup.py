"""The entry point of the commands."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PLUGIN = """
import resource

def work():
    blocks = [b"x" * 2_000_000 for _ in range(4)]

class Plugin:
    @staticmethod
    def cli():
        work()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(50):
            work()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


_PIPES = """
import fcntl

class Plugin:
    @staticmethod
    def cli():
        print(*(fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) for descriptor in (0, 1)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of a fixed size")
def test_the_pipes_of_a_command_hold_a_megabyte(tmp_path: Path) -> None:
    assert _output_of(_PIPES, tmp_path).split() == ["1048576", "1048576"]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_a_command_reuses_freed_blocks_instead_of_asking_the_system(tmp_path: Path) -> None:
    pages = 50 * 4 * 2_000_000 // os.sysconf("SC_PAGESIZE")
    assert int(_output_of(_PLUGIN, tmp_path)) < pages // 10


def _output_of(plugin: str, folder: Path) -> str:
    """Run the command of a plugin with pipes, and return what it prints."""
    (folder / "fake.py").write_text(plugin)
    start = "from singer_martech.runtime.startup import start; start('fake.Plugin')"
    run = subprocess.run(
        [sys.executable, "-c", start],
        input="",
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return run.stdout
