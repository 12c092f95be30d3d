"""The project's `meltano.yml` in a separate folder, run by the real Meltano."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kit.processes import inherited, output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.sandbox.server import Sandbox

ROOT = Path(__file__).parents[2]

MELTANO = Path(sys.executable).with_name("meltano")

#: Files of this project that a project folder needs.
_FILES = ("meltano.yml", "requirements", "warehouse")

#: The vendor of the sandbox for each plugin.
_VENDORS = {
    "TAP_ROBOTMIA": "robotmia",
    "TAP_MEDIARITHMICS": "mediarithmics",
    "TARGET_MONA": "mona",
    "TARGET_MONETATE": "monetate",
    "TARGET_MEDIARITHMICS": "mediarithmics",
}

#: What the plugin of a vendor has no setting for.
_NOT_SETTINGS = {("TARGET_MEDIARITHMICS", "organisation_id")}

_BLOCK_BEGINS = re.compile(r"Running job with name '[^:']*:(?P<tap>.+)-to-(?P<target>.+?)' and ")
_SUMMARY = re.compile(r"summary: (?P<json>\{.*\})")
_SECONDS_TO_END = 20


@dataclass
class Block:
    """The run of one tap into one target.

    Attributes:
        tap: The tap's name.
        target: The target's name.
        extracted: Records of each stream, as the tap counted them.
        summaries: The summary line of each stream.
        seconds: Its duration, or None if it did not end.
        succeeded: Whether it succeeded.
    """

    tap: str
    target: str
    extracted: dict[str, int] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float | None = None
    succeeded: bool = False

    def __str__(self) -> str:
        return f"{self.tap} → {self.target}"


@dataclass
class Run:
    """A finished `meltano run`."""

    status: int
    blocks: list[Block]
    log: str

    @property
    def block(self) -> Block:
        """The only block."""
        (block,) = self.blocks
        return block


class MeltanoProject:
    """A folder with a copy of the project's `meltano.yml`.

    Neither the `.env` of this project nor settings in the environment are used.

    Args:
        folder: The folder; an existing one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, folder / name)

    @property
    def warehouse(self) -> Path:
        """The DuckDB database that `target-duckdb` writes."""
        return self.folder / "warehouse.duckdb"

    def run(
        self,
        *tasks: str,
        settings: Mapping[str, str],
        on_progress: Callable[[str], object] = lambda _: None,
    ) -> Run:
        """Run tasks or jobs, and return when Meltano and its processes have ended.

        Args:
            tasks: What to run, as on the command line.
            settings: Environment variables, such as from `sandbox_settings`.
            on_progress: Called with a line for each installation, and for each begin and end of
                a block.
        """
        command = [str(MELTANO), "--log-format", "json", "run", *tasks]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        lines: list[str] = []
        blocks: list[Block] = []
        try:
            for line in process.stdout or ():
                lines.append(line)
                progress = _note(line, blocks)
                if progress:
                    on_progress(progress)
            status = process.wait()
        finally:
            _end(process)
        return Run(status, blocks, "".join(lines))

    def state(self, block: Block) -> dict[str, Any]:
        """Return the state of a block from Meltano."""
        state_id = f"sandbox:{block.tap}-to-{block.target}"
        command = (MELTANO, "state", "get", state_id)
        found = output_of(*command, folder=self.folder, environment=self._environment({}))
        state: dict[str, Any] = json.loads(found)["singer_state"]
        return state

    @staticmethod
    def _environment(settings: Mapping[str, str]) -> dict[str, str]:
        return {
            **inherited("TAP_", "TARGET_", "MELTANO_"),
            "PATH": f"{MELTANO.parent}{os.pathsep}{os.environ['PATH']}",
            **settings,
        }


def sandbox_settings(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment variables that point the plugins to a sandbox."""
    described = sandbox.description()
    return {
        f"{plugin}_{name.upper()}": str(value)
        for plugin, vendor in _VENDORS.items()
        for name, value in described[vendor].items()
        if (plugin, name) not in _NOT_SETTINGS
    }


def _note(line: str, blocks: list[Block]) -> str | None:
    """Update the blocks from a line of Meltano's log; return the line to show, if any."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    event = str(entry.get("event"))
    begins = _BLOCK_BEGINS.match(event)
    if begins:
        blocks.append(Block(begins["tap"], begins["target"]))
        return f"{blocks[-1]} …"
    if event == "Block run completed":
        blocks[-1].succeeded = bool(entry["success"])
        blocks[-1].seconds = entry["duration_seconds"]
        ended = "done" if blocks[-1].succeeded else "FAILED"
        return f"{blocks[-1]} {ended} after {blocks[-1].seconds:.1f} s"
    if event.startswith("Installing "):
        return event
    if "metric_info" in entry and entry.get("producer"):
        _count(entry["metric_info"], blocks[-1])
    elif summary := _SUMMARY.search(event):
        summary_line = json.loads(summary["json"])
        blocks[-1].summaries[summary_line["stream"]] = summary_line
    return None


def _count(metric: dict[str, Any], block: Block) -> None:
    if metric.get("metric") == "record_count":
        stream = metric["tags"]["stream"]
        block.extracted[stream] = block.extracted.get(stream, 0) + int(metric["value"])


def _end(process: subprocess.Popen[str]) -> None:
    """End Meltano and its processes, if they still run."""
    if process.poll() is None:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signum)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)
    if process.stdout:
        process.stdout.close()
