"""`make demo`, as a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.pipelines.meltano import ROOT
from tests.pipelines.pipelines import PIPELINES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(400)]


def demo(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.demo", "--folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of processes that run in a folder or name it."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            where = process.cwd()
        except psutil.Error:
            continue
        if process.pid != os.getpid() and str(folder) in f"{command} {where}":
            found.append(command)
    return found


def new_records(output: str) -> dict[str, int]:
    """Return the column New of the table, by pipeline."""
    cells = re.findall(r"^ *(\S+-to-\S+) .*? ([\d,]+) +[\d,]+ +[\d.]+ *$", output, re.MULTILINE)
    return {job: int(new.replace(",", "")) for job, new in cells}


def test_the_demo_shows_what_was_loaded_and_resumes_where_it_ended(tmp_path: Path) -> None:
    jobs = {pipeline.job for pipeline in PIPELINES}
    first = demo(tmp_path)
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert new_records(output).keys() == jobs
    assert all(new > 0 for new in new_records(output).values())
    for pipeline in PIPELINES:
        assert output.count(pipeline.destination) == 2

    second = demo(tmp_path)
    output, _ = second.communicate()
    assert second.returncode == 0, output
    assert new_records(output).keys() == jobs
    # The sandbox generates events all the time, so one may be new.
    assert all(new < 10 for new in new_records(output).values())
    assert re.search(r"resumed where the last run ended: \d+ new records", output)
    assert processes_in(tmp_path) == []


def test_a_signal_ends_the_demo_and_its_processes(tmp_path: Path) -> None:
    running = demo(tmp_path)
    assert running.stdout
    for line in running.stdout:
        if "target-mona …" in line:
            break
    running.send_signal(signal.SIGTERM)
    output = running.stdout.read()
    assert running.wait() == 128 + signal.SIGTERM
    running.stdout.close()
    assert "Stopped by SIGTERM" in output
    assert processes_in(tmp_path) == []


def test_a_failed_pipeline_fails_the_demo_with_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAP_ROBOTMIA_WINDOW_DAYS=0\n", encoding="utf-8")
    failed = demo(tmp_path)
    output, _ = failed.communicate()
    assert failed.returncode == 1
    _, _, end_of_log = output.partition("The end of the log")
    assert "setting 'window_days' must be at least 1" in end_of_log
    assert processes_in(tmp_path) == []
