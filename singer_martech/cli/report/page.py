"""The page itself: one HTML file that needs nothing but a browser."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from singer_martech.cli.report import charts, formatting
from singer_martech.cli.report.runs import merged_reasons, outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_martech.cli.report.charts import Chart
    from singer_martech.cli.report.runs import Run

_MOST_DRAWN = 60
_MOST_COMPARED = 120
_MAX_REASONS = 200


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page."""

    kind: str
    name: str
    value: str
    note: str


def render(runs: Sequence[Run]) -> str:
    """Return the page.

    Whatever the summaries hold is data: it is escaped wherever it stands.

    Args:
        runs: The earliest first; at least one.
    """
    real = [run for run in runs if not run.dry_run]
    newest_first = runs[::-1]
    shown = newest_first[:_MOST_DRAWN]
    reasons = merged_reasons(real)
    compared = real[-_MOST_COMPARED:]
    return _template().render(
        title=_title(runs),
        lead=_lead(runs),
        style=Markup(_file("style.css")),  # noqa: S704 - the file is ours
        width=charts.WIDTH,
        tiles=_tiles(real, dry_runs=len(runs) - len(real)),
        runs=newest_first,
        shown=shown,
        overview=charts.over_runs(compared) if compared else None,
        overview_caption=(
            "The earliest run on the left"
            if len(compared) == len(real)
            else f"The newest {len(compared)} runs, the earliest of them on the left"
        ),
        reasons=reasons[:_MAX_REASONS],
        most_rejected=reasons[0].count if reasons else 1,
        other_reasons=sum(run.rejects_for_other_reasons for run in real)
        + sum(reason.count for reason in reasons[_MAX_REASONS:]),
        charts=[_chart(run) for run in shown],
        stream_charts=[_stream_charts(run) for run in shown],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(
        {
            "number": formatting.number,
            "size": formatting.size,
            "duration": formatting.duration,
            "moment": formatting.moment,
            "key": formatting.key,
        }
    )
    return environment.from_string(_file("page.html.jinja"))


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _title(runs: Sequence[Run]) -> str:
    targets = sorted({run.target for run in runs})
    return f"{'A run' if len(runs) == 1 else f'{len(runs)} runs'} of {formatting.listed(targets)}"


def _lead(runs: Sequence[Run]) -> str:
    first, last = runs[0].started_at, max(run.ended_at for run in runs)
    return f"{formatting.moment(first)} to {formatting.moment(last)}"


def _tiles(runs: Sequence[Run], *, dry_runs: int) -> list[Tile]:
    ended = outcomes(runs)
    said = [f"{count} {outcome}" for outcome, count in ended.most_common()]
    if dry_runs:
        said.append(f"and {dry_runs} dry run{'s' if dry_runs > 1 else ''}")
    delivered = sum(run.delivered for run in runs)
    rejected = sum(run.rejected for run in runs)
    retries = sum(run.retries for run in runs)
    seconds = sum(run.seconds for run in runs)
    sent = sum(run.bytes for run in runs)
    requests = sum(run.requests for run in runs)
    tiles = [
        Tile(
            "outcomes",
            "Runs",
            formatting.number(len(runs)),
            ", ".join(said) or "none",
        ),
        Tile(
            "delivered",
            "Delivered",
            formatting.number(delivered),
            f"records, {formatting.size(sent)}",
        ),
        Tile("rejected", "Rejected", formatting.number(rejected), _share(rejected, delivered)),
        Tile(
            "retried",
            "Retried",
            formatting.number(retries),
            f"of {formatting.number(requests)} requests",
        ),
        Tile(
            "rate",
            "Throughput",
            formatting.number(delivered / seconds if seconds else 0),
            "records a second",
        ),
    ]
    undelivered = sum(run.undelivered for run in runs)
    if undelivered:
        tiles.append(
            Tile("open", "Undelivered", formatting.number(undelivered), "read when their run ended")
        )
    return tiles


def _share(rejected: int, delivered: int) -> str:
    if not rejected:
        return "records"
    share = 100 * rejected / (rejected + delivered)
    return "records, under 0.1 %" if share < 0.1 else f"records, {share:.1f} %"  # noqa: PLR2004 - what is shown


def _chart(run: Run) -> Chart | None:
    return charts.over_time(run.timeline, run.seconds)


def _stream_charts(run: Run) -> list[tuple[str, Chart]]:
    if len(run.streams) < 2:  # noqa: PLR2004 - one stream is the whole run
        return []
    drawn = [
        (stream.stream, charts.over_time(stream.timeline, run.seconds)) for stream in run.streams
    ]
    return [(name, chart) for name, chart in drawn if chart is not None]
