"""Run commands and measure each as a process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


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
        aim: The ratio to the plain sink that it should reach, or None.
    """

    name: str
    command: Sequence[str]
    units: int
    stdin: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    aim: float | None = None


class Comparison(NamedTuple):
    """Subjects that do the same work; ratios are relative to the first, of loads to the last.

    Attributes:
        prepare: Called before they are measured.
    """

    title: str
    unit: str
    subjects: Sequence[Subject]
    prepare: Callable[[], None] = lambda: None


@dataclass
class Figures:
    """The measurements of a subject, one entry per round."""

    subject: Subject
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mebibytes: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Units per second, by the median time."""
        return self.subject.units / statistics.median(self.seconds)

    @property
    def cpu_microseconds(self) -> float:
        """CPU time per unit, of all threads, by the median."""
        return statistics.median(self.cpu_seconds) / self.subject.units * 1e6

    def as_dict(self) -> dict[str, object]:
        """Return the figures for the JSON file."""
        return {
            "subject": self.subject.name,
            "units": self.subject.units,
            "seconds": [round(value, 3) for value in self.seconds],
            "cpu_seconds": [round(value, 3) for value in self.cpu_seconds],
            "units_per_second": round(self.rate),
            "peak_mebibytes": round(max(self.peak_mebibytes), 1),
        }


def tool(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).parent / name)


def config_file(folder: Path, config: Mapping[str, Any]) -> str:
    """Write a configuration file into a folder and return its path."""
    text = json.dumps(config, sort_keys=True)
    path = folder / f"config-{abs(hash(text))}.json"
    path.write_text(text)
    return str(path)


class BenchFailed(Exception):
    """A measured command failed."""


class Run(NamedTuple):
    """What one run of a subject took.

    Attributes:
        seconds: From start to end.
        cpu_seconds: CPU time of all its threads and of the processes it waited for.
        peak_mebibytes: The peak memory of its largest process.
    """

    seconds: float
    cpu_seconds: float
    peak_mebibytes: float


def run(subject: Subject, log: Path) -> Run:
    """Run a subject once.

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
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(subjects: Sequence[Subject], rounds: int, log: Path) -> list[Figures]:
    """Run all subjects in turn, several times, so that slow periods affect all alike."""
    figures = [Figures(subject) for subject in subjects]
    for _ in range(rounds):
        for each in figures:
            taken = run(each.subject, log)
            each.seconds.append(taken.seconds)
            each.cpu_seconds.append(taken.cpu_seconds)
            each.peak_mebibytes.append(taken.peak_mebibytes)
    return figures
