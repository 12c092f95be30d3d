"""Complete a back-fill: check that every shard is complete, and compute the job's bookmark.

The bookmark is the time of the plan, or the end of the last day if that is earlier: every shard
exported its days after the plan was made. The look-back of the job then covers the days that
may still get late events, regardless of how long the shards took.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from singer_martech.errors import MartechError
from singer_martech.values.timestamps import parse_iso
from singer_martech.values.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from singer_martech.cli.backfill.shard import Shard

    Bookmarks = dict[str, dict[str, Any]]

_VALUE, _START = "replication_key_value", "start_date"


def complete(
    shards: Sequence[Shard], states: Mapping[str, Any], lookback_days: int
) -> dict[str, Any]:
    """Return the job's state after the back-fill, in the form of `meltano state import`.

    A later bookmark of the job stays as it is.

    Args:
        shards: The whole plan, oldest first.
        states: The output of `meltano state export`.
        lookback_days: The setting of the job.

    Returns:
        The state by its id; empty if nothing changes.

    Raises:
        MartechError: Shards are not complete, or the job would skip days.
    """
    bookmarks = {shard.name: _bookmarks(_state(states, shard.state_id)) for shard in shards}
    open_shards = list(_open_shards(shards, bookmarks))
    if open_shards:
        raise MartechError(
            f"{len(open_shards)} of {counted(len(shards), 'shard')} not complete, so the bookmark "
            f"stays as it is: {'; '.join(open_shards)}"
        )
    state_id = shards[0].job_state_id
    state = _state(states, state_id)
    before = _bookmarks(state)
    after = {**before, **_merged(shards, bookmarks, before, lookback_days)}
    if after == before:
        return {}
    state = {**state, "bookmarks": after}
    return {state_id: {"completed": {"singer_state": state}, "partial": {}}}


def _open_shards(shards: Sequence[Shard], bookmarks: Mapping[str, Bookmarks]) -> Iterator[str]:
    """Yield what is missing, for each shard that is not complete."""
    everywhere = sorted({stream for found in bookmarks.values() for stream in found})
    for shard in shards:
        if bookmarks[shard.name]:
            yield from _open_streams(shard, shard.streams or everywhere, bookmarks[shard.name])
        else:
            yield f"{shard.name} has no state at {shard.state_id}"


def _open_streams(shard: Shard, expected: Iterable[str], found: Bookmarks) -> Iterator[str]:
    for stream in expected:
        value = found.get(stream, {}).get(_VALUE)
        if value is None:
            yield f"{shard.name} has no bookmark of stream '{stream}'"
        elif shard.until and not _later_or_same(value, shard.until):
            yield f"{shard.name} has stream '{stream}' only up to {value}, not {shard.until}"


def _merged(
    shards: Sequence[Shard],
    bookmarks: Mapping[str, Bookmarks],
    before: Bookmarks,
    lookback_days: int,
) -> Bookmarks:
    """Return the bookmarks that the job gets."""
    first, last = shards[0], shards[-1]
    if last.until is None or first.first_day is None:
        return {
            stream: _later(before.get(stream, {}), bookmarks[shard.name][stream])
            for shard in shards
            for stream in shard.streams
        }
    # the first shard's bookmark holds the first day of the back-fill
    return {
        stream: _continued(
            stream, before.get(stream, {}), {**bookmark, _VALUE: last.until}, first, lookback_days
        )
        for stream, bookmark in bookmarks[first.name].items()
    }


def _later(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the later bookmark; the old one if both are equal."""
    return old if _VALUE in old and _later_or_same(old[_VALUE], new[_VALUE]) else new


def _continued(
    stream: str, old: dict[str, Any], new: dict[str, Any], first: Shard, lookback_days: int
) -> dict[str, Any]:
    """Return a bookmark that covers the job's days and those of the back-fill."""
    if _later(old, new) is old:
        return old
    if _VALUE not in old:
        return new
    needed = _day(old[_VALUE], first) - timedelta(days=lookback_days)
    if first.first_day is not None and first.first_day > needed:
        raise MartechError(
            f"{first.job_state_id} has stream '{stream}' up to {old[_VALUE]} and would continue "
            f"with {needed}, but the back-fill begins with {first.first_day}, so days between "
            f"would be skipped; run the job first, or back-fill from {needed}"
        )
    starts = [bookmark[_START] for bookmark in (old, new) if bookmark.get(_START)]
    return {**new, **({_START: min(starts)} if starts else {})}


def _day(bookmark: Any, shard: Shard) -> date:
    return _instant(bookmark).astimezone(ZoneInfo(shard.time_zone or "UTC")).date()


def _later_or_same(value: Any, other: Any) -> bool:
    """Compare two bookmarks: as instants, as numbers, else as text."""
    try:
        return _instant(value) >= _instant(other)
    except ValueError:
        pass
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value >= other
    return str(value) >= str(other)


def _instant(value: Any) -> datetime:
    """Parse an instant."""
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - callers catch one error
    return parse_iso(value)


def _state(states: Mapping[str, Any], state_id: str) -> dict[str, Any]:
    """Return a state as the next run gets it: the partial one merged into the complete one."""
    kept = states.get(state_id) or {}
    merged: dict[str, Any] = {}
    for part in ("completed", "partial"):
        merged = _merge(merged, (kept.get(part) or {}).get("singer_state") or {})
    return merged


def _merge(base: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merge(base[key], value)
        for key, value in newer.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **newer, **both}


def _bookmarks(state: Mapping[str, Any]) -> Bookmarks:
    found = state.get("bookmarks") or {}
    return {stream: bookmark for stream, bookmark in found.items() if bookmark}
