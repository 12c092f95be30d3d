"""Render the page: one HTML file without scripts or external resources."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from singer_martech.cli.report import charts, formatting
from singer_martech.cli.report.runs import merged_reasons
from singer_martech.values.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_martech.cli.report.charts import Chart
    from singer_martech.cli.report.runs import Run

_MOST_DRAWN = 60
_MOST_COMPARED = 120
_MAX_REASONS = 200
_MOST_CHOICES = 100


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page."""

    kind: str
    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Filter:
    """A selection of one target or stream that hides the others, with style rules only.

    Attributes:
        kind: ``target`` or ``stream``.
        numbers: The number of each name in the markup.
    """

    kind: str
    numbers: dict[str, int]

    def rules(self) -> Iterator[str]:
        """Yield the style rules."""
        for number in self.numbers.values():
            yield (
                f'main:has(#{self.kind} option[value="{number}"]:checked) '
                f'[data-{self.kind}]:not([data-{self.kind}~="{number}"]) {{ display: none; }}'
            )


def render(runs: Sequence[Run], problems: Sequence[str] = ()) -> str:
    """Return the page.

    All text from the summaries is escaped.
    """
    real = [run for run in runs if not run.dry_run]
    newest_first = runs[::-1]
    shown = newest_first[:_MOST_DRAWN]
    reasons = merged_reasons(real)
    compared = real[-_MOST_COMPARED:]
    filters = _filters(runs)
    return _template().render(
        title=_title(runs),
        lead=_lead(runs),
        problems=problems,
        # the rules hold numbers only
        style=Markup(  # noqa: S704
            "\n".join([_file("style.css"), *(rule for each in filters for rule in each.rules())])
        ),
        filters=filters,
        numbers={each.kind: each.numbers for each in filters},
        width=charts.WIDTH,
        tiles=_tiles(real, [run for run in runs if run.dry_run]),
        runs=newest_first,
        has_pipelines=any(run.pipeline for run in runs),
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
        charts=[
            charts.over_time(run.timeline, run.seconds, is_dry_run=run.dry_run) for run in shown
        ],
        stream_charts=[_stream_charts(run) for run in shown],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(
        {
            "number": formatting.number,
            "size": formatting.size,
            "duration": formatting.duration,
            "timestamp": formatting.timestamp,
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
    return f"{formatting.timestamp(first)} to {formatting.timestamp(last)}"


def _filters(runs: Sequence[Run]) -> list[Filter]:
    """Return the selections that have more than one name."""
    names = {
        "target": sorted({run.target for run in runs}),
        "stream": sorted(
            {each.stream for run in runs for each in run.streams}
            | {each.stream for run in runs for each in run.rejects}
        ),
    }
    return [
        Filter(kind, {name: number for number, name in enumerate(found[:_MOST_CHOICES], 1)})
        for kind, found in names.items()
        if len(found) > 1
    ]


def _tiles(runs: Sequence[Run], dry_runs: Sequence[Run]) -> list[Tile]:
    ended = [
        f"{count} {outcome}"
        for outcome, count in Counter(run.outcome for run in runs).most_common()
    ]
    if dry_runs:
        ended.append(f"{'and ' if ended else ''}{counted(len(dry_runs), 'dry run')}")
    delivered = sum(run.delivered for run in runs)
    rejected = sum(run.total("rejected") for run in runs)
    retries = sum(run.retries for run in runs)
    seconds = sum(run.seconds for run in runs)
    sent = sum(run.bytes for run in runs)
    requests = sum(run.requests for run in runs)
    number, size = formatting.number, formatting.size
    rate = delivered / seconds if seconds else 0
    tiles = [
        Tile("outcomes", "Runs", number(len(runs)), ", ".join(ended)),
        Tile("delivered", "Delivered", number(delivered), f"records, {size(sent)}"),
        Tile("rejected", "Rejected", number(rejected), _share(rejected, delivered)),
        Tile("retried", "Retried", number(retries), f"of {number(requests)} requests"),
        Tile("rate", "Throughput", number(rate), "records a second"),
    ]
    unchanged = sum(run.total("unchanged") for run in runs)
    if unchanged:
        tiles.append(Tile("unchanged", "Unchanged", number(unchanged), "not sent again"))
    if dry_runs:
        would_deliver = sum(run.total("would_deliver") for run in dry_runs)
        note = f"in {counted(len(dry_runs), 'dry run')}"
        tiles.append(Tile("would", "Would deliver", number(would_deliver), note))
    undelivered = sum(run.total("undelivered") for run in runs)
    if undelivered:
        tiles.append(Tile("open", "Undelivered", number(undelivered), "read, but not settled"))
    return tiles


def _share(rejected: int, delivered: int) -> str:
    if not rejected:
        return "records"
    share = 100 * rejected / (rejected + delivered)
    return "records, under 0.1 %" if share < 0.1 else f"records, {share:.1f} %"  # noqa: PLR2004 - as shown


def _stream_charts(run: Run) -> list[tuple[str, Chart]]:
    if len(run.streams) < 2:  # noqa: PLR2004 - one stream is the whole run
        return []
    by_stream = [
        (stream.stream, charts.over_time(stream.timeline, run.seconds, is_dry_run=run.dry_run))
        for stream in run.streams
    ]
    return [(name, chart) for name, chart in by_stream if chart is not None]
