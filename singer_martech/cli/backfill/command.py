"""The command ``singer-martech-shards``."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timezone
from typing import IO, TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from singer_martech.cli.backfill.complete import complete
from singer_martech.cli.backfill.plan import (
    Days,
    only_writer,
    plan_days,
    plan_days_each,
    plan_streams,
)
from singer_martech.cli.backfill.shard import Job, read_shards
from singer_martech.cli.backfill.shared_state import require_shared_state
from singer_martech.cli.command import CliGroup
from singer_martech.errors import MartechError
from singer_martech.singer.command import require_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_martech.cli.backfill.shard import Shard


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a day such as 2026-01-31") from None


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        message = f"'{text}' is not an IANA time zone such as America/Los_Angeles"
        raise click.BadParameter(message) from None


def _job_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--writers",
            type=click.Choice(["auto", "one", "many"]),
            default="auto",
            show_default=True,
            help="Number of runs that the loader accepts at once; with one, there is one shard.",
        ),
        click.option(
            "--name",
            default="back-fill",
            show_default=True,
            help="Name of the back-fill; a new name starts a new one.",
        ),
        click.option(
            "--environment",
            required=True,
            envvar="MELTANO_ENVIRONMENT",
            show_envvar=True,
            help="The Meltano environment of the job.",
        ),
        click.option("--target", required=True, help="The loader."),
        click.option("--tap", required=True, help="The extractor."),
    ):
        command = option(command)
    return command


@click.group(cls=CliGroup)
@click.version_option(package_name="singer-martech")
def main() -> None:
    """Split a back-fill into shards for a scheduler, and set the bookmark of the regular job.

    This command runs no tap. A plan is JSON lines: the scheduler runs the command of each line
    with its environment variables, in the folder of the Meltano project.
    """


@main.group()
def plan() -> None:
    """Print the shards of a back-fill as JSON lines.

    All workers must share the states: Meltano needs a shared state backend or database.
    """


@plan.command()
@_job_options
@click.option("--first", type=_day, required=True, metavar="DAY", help="The first day.")
@click.option(
    "--last", type=_day, metavar="DAY", help="The last day, inclusive; the default is today."
)
@click.option("--zone", type=_zone, metavar="ZONE", required=True, help="The project's time zone.")
@click.option("--shards", type=click.IntRange(1), help="Number of shards.")
@click.option("--days", type=click.IntRange(1), help="Days per shard, instead of --shards.")
@click.option(
    "--window-days",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Days per request.",
)
def days(*, shards: int | None, days: int | None, writers: str, **options: Any) -> None:
    """Split days into shards, for taps with start_date and end_date."""
    if (shards is None) == (days is None):
        raise click.UsageError("give either --shards or --days")

    job = Job(*(options.pop(name) for name in ("tap", "target", "environment", "name")))
    all_days = Days.until(now=datetime.now(timezone.utc), **options)
    reason = only_writer(job.target, writers)
    if days is None or reason:
        _print_plan(plan_days(job, all_days, shards=1 if reason else shards or 1), job, reason)
    else:
        _print_plan(plan_days_each(job, all_days, days), job, reason)


@plan.command()
@_job_options
@click.option("--stream", "streams", multiple=True, required=True, help="A stream; repeatable.")
def streams(*, streams: tuple[str, ...], writers: str, **options: str) -> None:
    """Plan a shard for each stream."""
    job = Job(**options)
    reason = only_writer(job.target, writers)
    _print_plan(plan_streams(job, streams, one_shard=reason is not None), job, reason)


def _print_plan(shards: Iterable[Shard], job: Job, reason: str | None) -> None:
    require_output()
    require_shared_state()
    if reason:
        click.echo(f"{job.target} gets one shard: {reason}", err=True)
    for shard in shards:
        click.echo(shard.line())


@main.command("hand-over")
@click.argument("plan", type=click.File("r", encoding="utf-8"), metavar="PLAN")
@click.option(
    "--lookback-days",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="The setting lookback_days of the regular job.",
)
def hand_over_command(plan: IO[str], lookback_days: int) -> None:
    """Check that all shards are complete, and print the state of the regular job.

    PLAN is a file with all lines of the plan. Standard input is the output of `meltano state
    export`; standard output is for `meltano state import`.
    """
    require_output()
    after = complete(read_shards(plan), _states(sys.stdin), lookback_days)
    click.echo(json.dumps(after))
    for state_id in after:
        click.echo(f"{state_id} continues where the back-fill ends", err=True)


def _states(lines: Iterable[str]) -> dict[str, Any]:
    try:
        states = json.loads("".join(lines))
    except ValueError:
        states = None
    if not isinstance(states, dict):
        raise MartechError("standard input is not the output of `meltano state export`")
    return states
