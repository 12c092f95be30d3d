"""The end of a back-fill: every shard is complete, and the job goes on from there.

From where: a bookmark promises that all before it was exported at its moment or later. What a
shard exported, it exported after the plan was made. So the job goes on from the moment of the
plan, or from the end of the last day where that is earlier. Then its own look-back reads again
just the days that may get late events, as after any run of its own, whichever shard had them
and however long the shards took.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from singer_martech.errors import MartechError
from singer_martech.values.timestamps import parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from singer_martech.cli.backfill.shard import Shard

    Bookmarks = dict[str, dict[str, Any]]

_VALUE, _START = "replication_key_value", "start_date"


def hand_over(
    shards: Sequence[Shard], states: Mapping[str, Any], lookback_days: int
) -> dict[str, Any]:
    """Return the job's state after the back-fill, in the form of `meltano state import`.

    A bookmark of the job that is further already stays as it is.

    Args:
        shards: The whole plan, oldest first.
        states: What `meltano state export` says.
        lookback_days: The setting of the job that goes on.

    Returns:
        The state under its id; nothing when it is right already.

    Raises:
        MartechError: Shards are not complete, or the job would leave out days.
    """
    bookmarks = {shard.name: _bookmarks(_state(states, shard.state_id)) for shard in shards}
    open_shards = list(_open_shards(shards, bookmarks))
    if open_shards:
        raise MartechError(
            f"{len(open_shards)} of {len(shards)} shards are not complete, so nothing was handed "
            f"over: {'; '.join(open_shards)}"
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
    """Say of each shard that is not complete what is missing."""
    everywhere = sorted({stream for found in bookmarks.values() for stream in found})
    for shard in shards:
        found = bookmarks[shard.name]
        expected = shard.streams or everywhere
        if not found:
            yield f"{shard.name} has no state at {shard.state_id}"
            continue
        for stream in expected:
            value = found.get(stream, {}).get(_VALUE)
            if value is None:
                yield f"{shard.name} has no bookmark of stream '{stream}'"
            elif shard.until and not _later_or_same(value, shard.until):
                yield f"{shard.name} has stream '{stream}' up to {value} only, not {shard.until}"


def _merged(
    shards: Sequence[Shard],
    bookmarks: Mapping[str, Bookmarks],
    before: Bookmarks,
    lookback_days: int,
) -> Bookmarks:
    """Return the bookmarks that the back-fill gives to the job."""
    first, last = shards[0], shards[-1]
    if last.until is None or first.first_day is None:
        return {
            stream: _further(before.get(stream, {}), bookmarks[shard.name][stream])
            for shard in shards
            for stream in shard.streams
        }
    # The first shard's bookmark knows the day with which all of this begins.
    return {
        stream: _continued(
            stream, before.get(stream, {}), {**bookmark, _VALUE: last.until}, first, lookback_days
        )
        for stream, bookmark in bookmarks[first.name].items()
    }


def _further(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the bookmark that is further; the job's own where both are the same."""
    return old if _VALUE in old and _later_or_same(old[_VALUE], new[_VALUE]) else new


def _continued(
    stream: str, old: dict[str, Any], new: dict[str, Any], first: Shard, lookback_days: int
) -> dict[str, Any]:
    """Return a bookmark that covers the job's days and those of the back-fill."""
    if _further(old, new) is old:
        return old
    if _VALUE not in old:
        return new
    needed = _day(old[_VALUE], first) - timedelta(days=lookback_days)
    if first.first_day is not None and first.first_day > needed:
        raise MartechError(
            f"{first.job_state_id} has stream '{stream}' up to {old[_VALUE]} and would go on with "
            f"{needed}, but the back-fill begins with {first.first_day}; it was left as it is, so "
            f"that no day is passed over: run it, or back-fill from {needed}"
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
    """Read an instant.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - the caller asks whether it is an instant
    return parse_iso(value)


def _state(states: Mapping[str, Any], state_id: str) -> dict[str, Any]:
    """Return a state as the next run would get it: what is partial upon what is complete."""
    kept = states.get(state_id) or {}
    merged: dict[str, Any] = {}
    for part in ("completed", "partial"):
        merged = _upon(merged, (kept.get(part) or {}).get("singer_state") or {})
    return merged


def _upon(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _upon(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}


def _bookmarks(state: Mapping[str, Any]) -> Bookmarks:
    found = state.get("bookmarks") or {}
    return {stream: bookmark for stream, bookmark in found.items() if bookmark}
