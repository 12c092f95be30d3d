"""Write the results as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.measure import Comparison, Figures

_BEGIN, _END = "<!-- tables of make bench-page -->\n", "<!-- end of the tables -->"


def table(comparison: Comparison, figures: Sequence[Figures]) -> str:
    """Return a comparison as a Markdown table; ratios are those of the first row's rate."""
    if comparison.unit == "starts":
        return _start_up(comparison, figures)
    if comparison.unit == "records":
        return _loads(comparison, figures)
    first, unit = figures[0], comparison.unit
    rows = [
        f"### {comparison.title}",
        "",
        f"| subject | {unit} | median s | spread s | CPU µs each | {unit}/s | first ÷ this | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in figures:
        spread = f"{min(each.seconds):.2f} to {max(each.seconds):.2f}"
        rows.append(
            f"| {each.subject.name} | {each.subject.units:,} "
            f"| {statistics.median(each.seconds):.2f} | {spread} | {each.cpu_microseconds:.1f} "
            f"| {each.rate:,.0f} | {first.rate / each.rate:.1f} | {max(each.peak_mebibytes):.0f} |"
        )
    return "\n".join([*rows, ""])


def _loads(comparison: Comparison, figures: Sequence[Figures]) -> str:
    plain = figures[-1].cpu_microseconds
    rows = [
        f"### {comparison.title}",
        "",
        "| subject | median s | CPU µs each | records/CPU s | last ÷ this | aim | peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in figures:
        cpu = each.cpu_microseconds
        median = statistics.median(each.seconds)
        rows.append(
            f"| {each.subject.name} | {median:.2f} | {cpu:.1f} | {1e6 / cpu:,.0f} "
            f"| {plain / cpu:.1f} | {each.subject.aim or ''} | {max(each.peak_mebibytes):.0f} |"
        )
    return "\n".join([*rows, ""])


def _start_up(comparison: Comparison, figures: Sequence[Figures]) -> str:
    base = statistics.median(figures[0].seconds)
    rows = [
        f"### {comparison.title}",
        "",
        "| subject | median s | times the bare import |",
        "|---|---:|---:|",
    ]
    for each in figures:
        median = statistics.median(each.seconds)
        rows.append(f"| {each.subject.name} | {median:.3f} | {median / base:.2f} |")
    return "\n".join([*rows, ""])


def renew_page(path: Path, rounds: int, tables: Sequence[str]) -> None:
    """Renew tables of a page; those of comparisons that did not run stay as they are.

    Args:
        path: The page. Its tables are between two comments.
        rounds: How many rounds were run.
        tables: The tables of this run, each with its heading.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    present, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the tables")
    label = "one round" if rounds == 1 else f"the median of {rounds} rounds"
    today = datetime.datetime.now(datetime.timezone.utc)
    run = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{today:%d %B %Y}, {label}."
    )
    sections = {each.partition("\n")[0]: each for each in present.split("### ")[1:]}
    for table in tables:
        heading, _, body = table.removeprefix("### ").partition("\n")
        sections[_kept_heading(heading, sections)] = f"{heading}\n\n{run}\n{body.rstrip()}\n\n"
    text = "".join(f"### {section}" for section in sections.values())
    path.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def _kept_heading(heading: str, present: Mapping[str, str]) -> str:
    """Return the heading of the same table on the page, which may hold other numbers."""
    start = heading.partition(":")[0]
    return next((each for each in present if each.partition(":")[0] == start), heading)


def write_json(path: Path, measured: Sequence[tuple[Comparison, Sequence[Figures]]]) -> None:
    """Write all results and a description of the machine."""
    content: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "comparisons": [
            {"title": comparison.title, "figures": [each.as_dict() for each in figures]}
            for comparison, figures in measured
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
