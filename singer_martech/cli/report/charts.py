"""The geometry of bar charts; the page draws them."""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.cli.report import formatting
from singer_martech.values.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.cli.report.runs import Run, Timeline

    _CountAt = Callable[[Sequence[float], Sequence[int], float], float]

WIDTH = 960
"""The width of every chart, in the units of its view box."""

_LEFT = 56
_RIGHT = 14
_PLOT = WIDTH - _LEFT - _RIGHT
_TITLE_HEIGHT = 26
_MOST_BARS = 48
_MOST_X_TICKS = 8
_GAP = 2
_CLOSE_SECONDS = 3600
_WIDEST_BAR = 60
_TIME_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3600 for hours in (1, 2, 4, 6, 12, 24, 48, 96, 168)),
)


@dataclass(frozen=True)
class Bar:
    """One bar and its tooltip."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Tick:
    """A label at a position of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One quantity over the common horizontal axis.

    Attributes:
        kind: ``delivered``, ``rejected`` or ``retried``; selects the colour.
        title: The meaning of its height.
        top: Position of the title.
        bars: From left to right.
        ticks: The horizontal lines, from bottom to top.
    """

    kind: str
    title: str
    top: float
    bars: list[Bar]
    ticks: list[Tick]


@dataclass(frozen=True)
class Chart:
    """Panels above each other; empty ones are left out.

    Attributes:
        height: Height of the whole chart.
        panels: From top to bottom.
        x_ticks: The labels below the last panel.
        description: A text alternative.
    """

    height: float
    panels: list[Panel]
    x_ticks: list[Tick]
    description: str
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


@dataclass(frozen=True)
class _Quantity:
    kind: str
    title: str
    values: Sequence[float]
    height: int
    unit: str


def over_time(timeline: Timeline, seconds: float, *, is_dry_run: bool = False) -> Chart | None:
    """Draw counts over the time of a run.

    Returns:
        The chart, or None if all counts are 0.
    """
    seconds = max(seconds, 0.001)
    bins = max(1, min(_MOST_BARS, len(timeline.seconds) - 1))
    width = seconds / bins

    def per_bin(counts: Sequence[int], count_at: _CountAt) -> list[float]:
        edges = [count_at(timeline.seconds, counts, index * width) for index in range(bins)]
        return [after - before for before, after in itertools.pairwise([*edges, counts[-1]])]

    def span(index: int) -> str:
        start, end = formatting.duration(index * width), formatting.duration((index + 1) * width)
        return f"from {start} to {end}"

    quantities = _quantities(
        f"{'Would deliver' if is_dry_run else 'Delivered'}, records per second",
        [count / width for count in per_bin(timeline.delivered, _between_points)],
        per_bin(timeline.rejected, _at_last_point),
        per_bin(timeline.retries, _at_last_point),
        delivered_as="records a second",
    )
    return _chart(quantities, span, _time_ticks(seconds), f"over {formatting.duration(seconds)}")


def over_runs(runs: Sequence[Run]) -> Chart | None:
    """Draw the counts of runs side by side.

    Returns:
        The chart, or None if all counts are 0.
    """
    quantities = _quantities(
        "Delivered, records",
        [run.delivered for run in runs],
        [run.total("rejected") for run in runs],
        [run.retries for run in runs],
        delivered_as="delivered",
    )
    step = max(1, math.ceil(len(runs) / _MOST_X_TICKS))
    span = (runs[-1].started_at - runs[0].started_at).total_seconds()
    form = "%H:%M:%S" if span < _CLOSE_SECONDS else "%m-%d %H:%M"
    ticks = [
        Tick(_LEFT + (index + 0.5) * _PLOT / len(runs), run.started_at.strftime(form))
        for index, run in enumerate(runs)
        if index % step == 0
    ]

    def name(index: int) -> str:
        return f"{runs[index].target}, {formatting.timestamp(runs[index].started_at)}"

    return _chart(quantities, name, ticks, f"in {counted(len(runs), 'run')}")


def _quantities(
    title: str,
    delivered: Sequence[float],
    rejected: Sequence[float],
    retried: Sequence[float],
    *,
    delivered_as: str,
) -> list[_Quantity]:
    return [
        _Quantity("delivered", title, delivered, 120, delivered_as),
        _Quantity("rejected", "Rejected, records", rejected, 52, "rejected"),
        _Quantity("retried", "Retried, requests", retried, 52, "retried"),
    ]


def _chart(
    quantities: Sequence[_Quantity], name: Callable[[int], str], x_ticks: list[Tick], scope: str
) -> Chart | None:
    panels: list[Panel] = []
    descriptions: list[str] = []
    top = 0.0
    for quantity in quantities:
        peak = max(quantity.values, default=0)
        if peak <= 0:
            continue
        panels.append(_panel(quantity, name, top))
        descriptions.append(f"{quantity.title}: at most {formatting.number(peak)}")
        top += _TITLE_HEIGHT + quantity.height + 14
    if not panels:
        return None
    return Chart(top + 14, panels, x_ticks, f"{'; '.join(descriptions)}, {scope}.")


def _panel(quantity: _Quantity, name: Callable[[int], str], top: float) -> Panel:
    ceiling = _ceiling(max(quantity.values))
    base = top + _TITLE_HEIGHT + quantity.height
    slot = _PLOT / len(quantity.values)
    width = min(_WIDEST_BAR, max(1.0, slot - _GAP)) if len(quantity.values) > 1 else _WIDEST_BAR
    bars = []
    for index, value in enumerate(quantity.values):
        if value <= 0:
            continue
        height = max(1.5, value / ceiling * quantity.height)
        x = _LEFT + (index + 0.5) * slot - width / 2
        text = f"{name(index)}: {formatting.number(value)} {quantity.unit}"
        bars.append(Bar(round(x, 2), round(base - height, 2), width, round(height, 2), text))
    levels = (0, ceiling / 2, ceiling) if quantity.kind == "delivered" else (0, ceiling)
    ticks = [
        Tick(base - level / ceiling * quantity.height, formatting.short_number(level))
        for level in levels
    ]
    return Panel(quantity.kind, quantity.title, top, bars, ticks)


def _ceiling(peak: float) -> float:
    """Return the next round number."""
    power = 10.0 ** math.floor(math.log10(peak))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= peak * 0.999999)


def _time_ticks(seconds: float) -> list[Tick]:
    step = next(
        (step for step in _TIME_STEPS if seconds / step <= _MOST_X_TICKS),
        math.ceil(seconds / _MOST_X_TICKS / _TIME_STEPS[-1]) * _TIME_STEPS[-1],
    )
    return [
        Tick(
            _LEFT + index * step / seconds * _PLOT, formatting.time_of_axis(round(index * step, 2))
        )
        for index in range(int(seconds / step) + 1)
    ]


def _between_points(seconds: Sequence[float], counts: Sequence[int], second: float) -> float:
    """Return a count at a second, interpolated between two points."""
    after = bisect.bisect_left(seconds, second)
    if after >= len(seconds):
        return float(counts[-1])
    if after == 0 or seconds[after] == second:
        return float(counts[after])
    share = (second - seconds[after - 1]) / (seconds[after] - seconds[after - 1])
    return counts[after - 1] + share * (counts[after] - counts[after - 1])


def _at_last_point(seconds: Sequence[float], counts: Sequence[int], second: float) -> float:
    """Return the count of the last point at or before a second."""
    return float(counts[max(bisect.bisect_right(seconds, second) - 1, 0)])
