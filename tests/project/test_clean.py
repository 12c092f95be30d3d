"""`make clean` leaves a running sandbox alone."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tools.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def clean(folder: Path, pid: int) -> set[str]:
    """Run `make clean` with a demo's files and a sandbox's process id; return what is left."""
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    demo = folder / ".demo"
    demo.mkdir()
    for name in ("sandbox.env", "warehouse.duckdb"):
        (demo / name).touch()
    (demo / "sandbox.pid").write_text(str(pid))
    subprocess.run(["make", "clean"], cwd=folder, check=True, capture_output=True)
    return {path.name for path in demo.iterdir()} if demo.exists() else set()


def test_the_settings_of_a_running_sandbox_stay(tmp_path: Path) -> None:
    assert clean(tmp_path, os.getpid()) == {"sandbox.env", "sandbox.pid"}


def test_the_files_of_a_dead_sandbox_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert clean(tmp_path, ended.pid) == set()
