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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_a_command_reuses_freed_blocks_instead_of_asking_the_system(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(_PLUGIN)
    start = "from singer_martech.runtime.startup import start; start('fake.Plugin')"
    run = subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    pages = 50 * 4 * 2_000_000 // os.sysconf("SC_PAGESIZE")
    assert int(run.stdout) < pages // 10
