"""Write the results as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Comparison, Figures

_BEGIN, _END = "<!-- tables of a run -->\n", "<!-- end of the tables -->"


def table(comparison: Comparison, figures: Sequence[Figures]) -> str:
    """Return a comparison as a Markdown table; ratios are those of the first row's rate."""
    if comparison.unit == "starts":
        return _start_up(comparison, figures)
    if comparison.unit == "records":
        return _loads(comparison, figures)
    first = figures[0]
    rows = [
        f"### {comparison.title}",
        "",
        f"| subject | median s | spread s | {comparison.unit}/s | first ÷ this | peak MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for each in figures:
        spread = f"{min(each.seconds):.2f} to {max(each.seconds):.2f}"
        rows.append(
            f"| {each.subject.name} | {statistics.median(each.seconds):.2f} | {spread} "
            f"| {each.rate:,.0f} | {first.rate / each.rate:.1f} | {max(each.peak_mebibytes):.0f} |"
        )
    return "\n".join([*rows, ""])


def _loads(comparison: Comparison, figures: Sequence[Figures]) -> str:
    plain = figures[-1].cpu_microseconds
    rows = [
        f"### {comparison.title}",
        "",
        "| subject | median s | CPU µs each | records/CPU s | plain ÷ this | aim | peak MiB |",
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
    """Replace the tables of a page, which are between two comments."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the tables")
    run = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{datetime.datetime.now(datetime.timezone.utc):%d %B %Y}; the median of {rounds} rounds."
    )
    path.write_text("\n".join([before + begin, run, "", *tables, end + after]), encoding="utf-8")


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
