"""A back-fill cut into shards: by days, or by streams."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from singer_martech.cli.backfill.shard import end_of, file_name, instant_text
from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    from singer_martech.cli.backfill.shard import Job, Shard

ONE_WRITER = {
    "target-csv": "two runs would write into one file",
    "target-duckdb": "a DuckDB file is open to one process at a time",
    "target-jsonl": "two runs would write into one file",
    "target-sqlite": "an SQLite file is written by one process at a time",
}
"""Loaders that take one writer only, and why."""


@dataclass(frozen=True)
class Days:
    """The days of a project that are back-filled.

    Attributes:
        first: The first day, in the project's time zone.
        last: The last day, inclusive.
        zone: The project's time zone.
        planned_at: When the plan is made.
        window_days: How many days one request asks for.
    """

    first: date
    last: date
    zone: ZoneInfo
    planned_at: datetime
    window_days: int = 1

    @classmethod
    def until(
        cls, last: date | None, first: date, zone: ZoneInfo, now: datetime, window_days: int = 1
    ) -> Days:
        """Take days up to a last one, or up to today in the project's time zone.

        Raises:
            MartechError: There is no such day.
        """
        today = now.astimezone(zone).date()
        last = min(last or today, today)
        if first > last:
            raise MartechError(
                f"the first day ({first}) comes after the last one ({last}); today is {today} in "
                f"{zone.key}"
            )
        return cls(first, last, zone, now, window_days)

    @property
    def windows(self) -> int:
        """How many requests they take."""
        return -(-((self.last - self.first).days + 1) // self.window_days)


def plan_days(job: Job, days: Days, *, shards: int = 1) -> list[Shard]:
    """Cut days into shards of about one size, oldest first, without a gap or an overlap.

    For taps with the settings start_date, end_date, lookback_days, window_days and
    project_timezone. A shard has whole windows; only the last one may end with a part of one.

    Args:
        job: What is back-filled.
        days: Its days.
        shards: How many shards; there are fewer when there are fewer windows.
    """
    shards = min(shards, days.windows)
    size, larger = divmod(days.windows, shards)
    return _cut(job, days, [size + (number < larger) for number in range(shards)])


def plan_days_each(job: Job, days: Days, days_each: int) -> list[Shard]:
    """Cut days into shards of so many days each; see ``plan_days``.

    Raises:
        MartechError: These are no whole windows.
    """
    size, rest = divmod(days_each, days.window_days)
    if rest:
        raise MartechError(
            f"a shard of {days_each} days is no whole number of windows of {days.window_days} days"
        )
    return _cut(job, days, [size] * -(-days.windows // size))


def _cut(job: Job, days: Days, sizes: Iterable[int]) -> list[Shard]:
    """Cut days into shards of so many windows."""
    shards, first = [], days.first
    for size in sizes:
        last = min(first + timedelta(days=size * days.window_days - 1), days.last)
        shards.append(_shard(job, replace(days, first=first, last=last)))
        first = last + timedelta(days=1)
    return shards


def _shard(job: Job, days: Days) -> Shard:
    return job.shard(
        f"{days.first}-to-{days.last}",
        {
            job.setting("start_date"): days.first.isoformat(),
            job.setting("end_date"): days.last.isoformat(),
            job.setting("project_timezone"): days.zone.key,
            job.setting("window_days"): str(days.window_days),
            # What a try of this shard has exported, it exported after the plan was made: the next
            # try need not do it again. Days that may still get events are read again by the job
            # that goes on, because it goes on from the moment of the plan (hand_over.py).
            job.setting("lookback_days"): "0",
        },
        first_day=days.first,
        last_day=days.last,
        time_zone=days.zone.key,
        until=instant_text(min(end_of(days.last, days.zone), days.planned_at)),
    )


def plan_streams(job: Job, streams: Sequence[str], *, one_shard: bool = False) -> list[Shard]:
    """Make a shard of each stream, or one of all of them.

    Raises:
        MartechError: A stream has no name that can be selected, or two make one shard.
    """
    for stream in streams:
        if not stream.strip() or set(stream) & set("*?[]!"):
            raise MartechError(f"'{stream}' is no name of a stream: name each stream in full")
    if len({file_name(stream) for stream in streams}) < len(streams):
        raise MartechError("two streams have the same name, or names that make the same folder")
    parts = [tuple(streams)] if one_shard else [(stream,) for stream in streams]
    return [
        job.shard(
            part[0] if len(part) == 1 else f"{len(part)}-streams",
            {job.setting("_select"): json.dumps([_everything_of(stream) for stream in part])},
            streams=part,
        )
        for part in parts
    ]


def _everything_of(stream: str) -> str:
    """Return Meltano's pattern for all columns of a stream."""
    return stream.replace(".", r"\.") + ".*"


def only_writer(target: str, writers: str) -> str | None:
    """Return why a loader is given one shard only; None where it takes several.

    Args:
        target: The loader.
        writers: ``one`` or ``many`` where the user knows, else ``auto``.
    """
    if writers == "auto":
        return ONE_WRITER.get(target)
    return "so it was asked for" if writers == "one" else None
