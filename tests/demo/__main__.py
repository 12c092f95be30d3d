"""Run every pipeline against the sandbox and show what was loaded: `make demo`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.demo.signals import Interrupted, raise_on_signals
from tests.pipelines.meltano import ROOT, MeltanoProject, sandbox_settings
from tests.pipelines.pipelines import PIPELINES
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from tests.pipelines.meltano import Block, Run
    from tests.pipelines.pipelines import Pipeline

#: All files of the demo; `make clean` removes it.
FOLDER = ROOT / ".demo"

_LEAST_WIDTH = 110
_LOG_LINES_OF_A_FAILURE = 20
_LINES_OF_A_SAMPLE = 3
_INDENT = "    "


@dataclass
class Row:
    """One row of the table."""

    pipeline: Pipeline
    block: Block
    before: int
    records: list[dict[str, Any]]


def main() -> int:
    """Run the demo; 0 when all pipelines succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="folder for all files of the demo"
    )
    folder = parser.parse_args().folder.resolve()
    console = Console(width=max(_LEAST_WIDTH, shutil.get_terminal_size().columns), highlight=False)
    raise_on_signals()
    try:
        return _demo(console, folder)
    except Interrupted as interrupted:
        console.print(f"\nStopped by {interrupted}; the sandbox and all pipelines have ended.")
        return 128 + interrupted.signum


def _demo(console: Console, folder: Path) -> int:
    project = MeltanoProject(folder)
    database = folder / "sandbox.sqlite"
    again = database.exists()
    with Sandbox(database=database) as sandbox:
        before = {item.job: len(item.loaded(sandbox, project)) for item in PIPELINES}
        console.print(f"The sandbox of the four APIs listens at {sandbox.url}")
        console.print("meltano run demo")
        run = project.run(
            "demo",
            settings=sandbox_settings(sandbox),
            on_progress=lambda progress: console.print(f"  {progress}"),
        )
        lines = [
            Row(item, block, before[item.job], item.loaded(sandbox, project))
            for item in PIPELINES
            for block in run.blocks
            if (block.tap, block.target) == (item.tap, item.target)
        ]
    log = folder / "meltano.log"
    log.write_text(run.log, encoding="utf-8")
    console.print()
    console.print(_table(lines))
    if run.status:
        _print_log_end(console, run)
        console.print(f"\nmeltano run demo failed with status {run.status}; its log: {log}")
        return 1
    _show_samples(console, lines)
    _print_conclusion(console, lines, again=again)
    where = os.path.relpath(folder)
    console.print(
        f"Results: {where}/warehouse.duckdb, sandbox.sqlite and meltano.log. "
        "`make clean` starts over.",
        soft_wrap=True,
    )
    return 0


def _table(lines: list[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("Pipeline", "Extracted", "Loaded into"):
        table.add_column(heading)
    for heading in ("New", "Total", "Seconds"):
        table.add_column(heading, justify="right")
    for line in lines:
        block = line.block
        extracted = [f"{stream} {count:,}" for stream, count in sorted(block.extracted.items())]
        table.add_row(
            line.pipeline.job,
            ", ".join(extracted) or "nothing",
            line.pipeline.destination,
            f"{len(line.records) - line.before:,}",
            f"{len(line.records):,}",
            "" if block.seconds is None else f"{block.seconds:.1f}",
        )
    return table


def _show_samples(console: Console, lines: list[Row]) -> None:
    console.print("One record of each, as loaded", style="bold")
    for line in lines:
        if line.records:
            record = {
                name: value
                for name, value in line.records[-1].items()
                if value is not None and not name.startswith("_sdc_")
            }
            shown = json.dumps(record, ensure_ascii=False, default=str)
            excerpt = textwrap.wrap(
                shown,
                console.width - len(_INDENT),
                max_lines=_LINES_OF_A_SAMPLE,
                placeholder=" …",
                break_on_hyphens=False,
            )
            console.print(f"  {line.pipeline.destination}")
            console.print(Text(textwrap.indent("\n".join(excerpt), _INDENT)), style="dim")


def _print_conclusion(console: Console, lines: list[Row], *, again: bool) -> None:
    new = sum(len(line.records) - line.before for line in lines)
    events = next((line for line in lines if line.pipeline.target == "target-duckdb"), None)
    console.print()
    if again:
        console.print(
            f"Every pipeline resumed where the last run ended: {new:,} new records were loaded.\n"
            "tap-robotmia exports its last five days again in each run, for events that arrive "
            "late;\nthe targets merge them by event_id.",
            soft_wrap=True,
        )
        return
    console.print(f"{new:,} new records were loaded.")
    repeated = sum(events.block.extracted.values()) - len(events.records) if events else 0
    if repeated:
        console.print(
            f"{repeated:,} lines of robotmia's export repeat an event; each event was loaded once, "
            "by its event_id.",
            soft_wrap=True,
        )
    console.print("Run `make demo` again: each pipeline resumes where it ended.")


def _print_log_end(console: Console, run: Run) -> None:
    console.print("\nThe end of the log", style="bold")
    for line in run.log.splitlines()[-_LOG_LINES_OF_A_FAILURE:]:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"event": line}
        name = entry.get("name") or "meltano"
        console.print(Text(f"  {name}: {entry.get('event')}"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
