"""Write the results as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Comparison, Figures


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
        "| subject | records | median s | CPU µs each | records/CPU s | plain ÷ this | peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in figures:
        cpu = each.cpu_microseconds
        median = statistics.median(each.seconds)
        rows.append(
            f"| {each.subject.name} | {each.subject.units:,} | {median:.2f} | {cpu:.1f} "
            f"| {1e6 / cpu:,.0f} | {plain / cpu:.1f} | {max(each.peak_mebibytes):.0f} |"
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
