"""Split a back-fill into shards, by days or by streams."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from singer_martech.cli.backfill.shard import file_name
from singer_martech.errors import MartechError
from singer_martech.values.timestamps import end_of_day, instant_text
from singer_martech.values.wording import counted

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
"""Loaders that accept only one writer, with the reason."""


@dataclass(frozen=True)
class Days:
    """The days of a back-fill.

    Attributes:
        first: The first day, in the project's time zone.
        last: The last day, inclusive.
        zone: The project's time zone.
        planned_at: Time of the plan.
        window_days: Days per request.
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
        """Return the days up to ``last``, or up to today in the project's time zone.

        Raises:
            MartechError: The first day comes after the last one.
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
        """Number of requests that they take."""
        return -(-((self.last - self.first).days + 1) // self.window_days)


def plan_days(job: Job, days: Days, *, shards: int = 1) -> list[Shard]:
    """Split days into at most ``shards`` shards of about equal size, oldest first.

    For taps with the settings start_date, end_date, lookback_days, window_days and
    project_timezone. Only the last shard may end with a partial window.
    """
    shards = min(shards, days.windows)
    size, larger = divmod(days.windows, shards)
    return _cut(job, days, [size + (number < larger) for number in range(shards)])


def plan_days_each(job: Job, days: Days, days_each: int) -> list[Shard]:
    """Split days into shards of a given size; see ``plan_days``.

    Raises:
        MartechError: The size is not a multiple of the window.
    """
    size, rest = divmod(days_each, days.window_days)
    if rest:
        raise MartechError(
            f"a shard of {counted(days_each, 'day')} is not a whole number of windows of "
            f"{counted(days.window_days, 'day')}"
        )
    return _cut(job, days, [size] * -(-days.windows // size))


def _cut(job: Job, days: Days, sizes: Iterable[int]) -> list[Shard]:
    """Split days into shards with these numbers of windows."""
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
            # A retry need not export finished windows again: the look-back of the job covers
            # the days that may still get events (complete.py).
            job.setting("lookback_days"): "0",
        },
        first_day=days.first,
        last_day=days.last,
        time_zone=days.zone.key,
        until=instant_text(min(end_of_day(days.last, days.zone), days.planned_at)),
    )


def plan_streams(job: Job, streams: Sequence[str], *, one_shard: bool = False) -> list[Shard]:
    """Plan a shard for each stream, or one for all of them.

    Raises:
        MartechError: A name is not that of one stream, or two would share a shard.
    """
    for stream in streams:
        if not stream.strip() or set(stream) & set("*?[]!"):
            raise MartechError(f"'{stream}' is not the name of a stream: name each stream in full")
    if len({file_name(stream) for stream in streams}) < len(streams):
        raise MartechError("two streams have the same name, or names that give the same folder")
    parts = [tuple(streams)] if one_shard else [(stream,) for stream in streams]
    return [
        job.shard(
            part[0] if len(part) == 1 else f"{len(part)}-streams",
            # Meltano's pattern for all columns of a stream
            {
                job.setting("_select"): json.dumps(
                    [each.replace(".", r"\.") + ".*" for each in part]
                )
            },
            streams=part,
        )
        for part in parts
    ]


def only_writer(target: str, writers: str) -> str | None:
    """Return why a loader gets only one shard, or None if it accepts several."""
    if writers == "auto":
        return ONE_WRITER.get(target)
    return "--writers is one" if writers == "one" else None
