"""Run commands and measure each as a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """A command to measure.

    Attributes:
        name: Its name in the table.
        command: The command line.
        units: The number of events, records or lines that it processes.
        stdin: Its input file, or None.
        environment: Variables in addition to those of this process.
        folder: Its working folder, or None.
    """

    name: str
    command: Sequence[str]
    units: int
    stdin: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass
class Figures:
    """The measurements of a subject, one entry per round."""

    subject: Subject
    seconds: list[float] = field(default_factory=list)
    peak_mebibytes: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Units per second, by the median time."""
        return self.subject.units / statistics.median(self.seconds)

    def as_dict(self) -> dict[str, object]:
        """Return the figures for the JSON file."""
        return {
            "subject": self.subject.name,
            "units": self.subject.units,
            "seconds": [round(value, 3) for value in self.seconds],
            "units_per_second": round(self.rate),
            "peak_mebibytes": round(max(self.peak_mebibytes), 1),
        }


class BenchFailed(Exception):
    """A measured command failed."""


def run(subject: Subject, log: Path) -> tuple[float, float]:
    """Run a subject once.

    Returns:
        Seconds from start to end, and the peak memory, in MiB, of its largest process.

    Raises:
        BenchFailed: It did not exit with 0.
    """
    environment = {**os.environ, **subject.environment}
    with (
        log.open("wb") as messages,
        open(subject.stdin or os.devnull, "rb") as source,  # noqa: PTH123 - may be the null device
    ):
        started = time.monotonic()
        process = subprocess.Popen(
            subject.command,
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env=environment,
            cwd=subject.folder,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise BenchFailed(f"{subject.name} exited with {process.returncode}:\n{tail}")
    return seconds, usage.ru_maxrss / 1024


def compare(subjects: Sequence[Subject], rounds: int, log: Path) -> list[Figures]:
    """Run all subjects in turn, several times, so that slow periods affect all alike."""
    figures = [Figures(subject) for subject in subjects]
    for _ in range(rounds):
        for each in figures:
            seconds, peak = run(each.subject, log)
            each.seconds.append(seconds)
            each.peak_mebibytes.append(peak)
    return figures
