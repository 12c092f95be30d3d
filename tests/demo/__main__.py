"""Run every pipeline against the sandbox and show what landed: `make demo`."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.demo.signals import Interrupted, raise_at_signals
from tests.pipelines.landed import PIPELINES
from tests.pipelines.meltano import ROOT, MeltanoProject, sandbox_settings
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from tests.pipelines.landed import Pipeline
    from tests.pipelines.meltano import Block, Run

#: All that the demo leaves; `make clean` removes it.
FOLDER = ROOT / ".demo"

_LEAST_WIDTH = 110
_LOG_LINES_OF_A_FAILURE = 20


@dataclass
class Line:
    """One pipeline in the table."""

    pipeline: Pipeline
    block: Block
    before: int
    records: list[dict[str, Any]]


def main() -> int:
    """Run the demo; 0 when all pipelines succeeded."""
    console = Console(width=max(_LEAST_WIDTH, shutil.get_terminal_size().columns), highlight=False)
    again = FOLDER.exists()
    raise_at_signals()
    try:
        return _demo(console, again=again)
    except Interrupted as interrupted:
        console.print(f"\nStopped by {interrupted}; the sandbox has ended.")
        return 128 + interrupted.signum


def _demo(console: Console, *, again: bool) -> int:
    project = MeltanoProject(FOLDER)
    with Sandbox(database=FOLDER / "sandbox.sqlite") as sandbox:
        before = {item.job: len(item.landed(sandbox, project)) for item in PIPELINES}
        console.print(f"The sandbox of the four APIs listens at {sandbox.url}")
        console.print("meltano run demo")
        run = project.run(
            "demo",
            settings=sandbox_settings(sandbox),
            on_progress=lambda block: _say(console, block),
        )
        lines = [
            Line(item, block, before[item.job], item.landed(sandbox, project))
            for item in PIPELINES
            for block in run.blocks
            if (block.tap, block.target) == (item.tap, item.target)
        ]
    log = FOLDER / "meltano.log"
    log.write_text(run.log, encoding="utf-8")
    console.print()
    console.print(_table(lines))
    if run.status:
        _explain(console, run)
        console.print(f"\nmeltano run demo failed with status {run.status}; its log: {_short(log)}")
        return 1
    _show_samples(console, lines)
    _conclude(console, lines, again=again)
    return 0


def _say(console: Console, block: Block) -> None:
    name = f"  {block.tap} → {block.target}"
    if block.seconds is None:
        console.print(f"{name} …")
    else:
        ended = "done" if block.succeeded else "FAILED"
        console.print(f"{name} {ended} after {block.seconds:.1f} s")


def _table(lines: list[Line]) -> Table:
    table = Table(title="What the pipelines did", title_justify="left", title_style="bold")
    for heading in ("Pipeline", "Extracted", "Landed in"):
        table.add_column(heading)
    for heading in ("New", "Now there", "Seconds"):
        table.add_column(heading, justify="right")
    for line in lines:
        block = line.block
        extracted = [f"{stream} {count:,}" for stream, count in sorted(block.extracted.items())]
        table.add_row(
            line.pipeline.job,
            ", ".join(extracted) or "nothing",
            line.pipeline.place,
            f"{len(line.records) - line.before:,}",
            f"{len(line.records):,}",
            "" if block.seconds is None else f"{block.seconds:.1f}",
        )
    return table


def _show_samples(console: Console, lines: list[Line]) -> None:
    console.print("\nThe last record of each place", style="bold")
    for line in lines:
        if line.records:
            console.print(f"  {line.pipeline.place}")
            shown = json.dumps(line.records[-1], ensure_ascii=False, default=str)
            sample = Text(f"    {shown}", no_wrap=True, overflow="ellipsis")
            console.print(sample, style="dim")


def _conclude(console: Console, lines: list[Line], *, again: bool) -> None:
    new = sum(len(line.records) - line.before for line in lines)
    console.print()
    if again:
        console.print(
            f"This was not the first run: every pipeline went on where the last one ended, and "
            f"{new:,} new records landed.\n"
            "tap-robotmia reads its last 5 days again each time, for events that arrive late; "
            "their event_id makes the repetition harmless.",
        )
    else:
        console.print(
            f"{new:,} records landed. Run `make demo` again: each pipeline goes on where it ended.",
        )
    console.print(
        f"To look around: {_short(FOLDER)}/warehouse.duckdb, {_short(FOLDER)}/sandbox.sqlite, "
        f"{_short(FOLDER)}/meltano.log. `make clean` starts over.",
    )


def _explain(console: Console, run: Run) -> None:
    console.print("\nThe end of the log", style="bold")
    for line in run.log.splitlines()[-_LOG_LINES_OF_A_FAILURE:]:
        try:
            said = json.loads(line)
        except ValueError:
            said = {"event": line}
        who = said.get("name") or "meltano"
        console.print(Text(f"  {who}: {said.get('event')}"), soft_wrap=True)


def _short(path: Any) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
