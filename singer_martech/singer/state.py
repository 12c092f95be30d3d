"""Read a STATE in the formats of other programs."""

from __future__ import annotations

from typing import Any

from singer_martech.errors import MartechError

_WRAPPERS = ("completed", "singer_state", "value")
"""Keys that wrap a STATE in Meltano's state files and in STATE messages."""
_KNOWN = frozenset({"bookmarks", "currently_syncing"})


def unwrap_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return the STATE of a tap from a STATE message or the output of ``meltano state get``.

    Args:
        state: The given object. An empty one is the STATE before the first run.

    Raises:
        MartechError: It is not the STATE of a Singer tap, so every bookmark would be lost.
    """
    partial = state.get("partial")
    if "bookmarks" in state or not isinstance(partial, dict) or not partial:
        return _unwrapped(state)
    # of runs that ended early; Meltano, too, merges it into the STATE of complete runs
    completed, partial = _unwrapped(state.get("completed", {})), _unwrapped(partial)
    bookmarks = dict(completed.get("bookmarks") or {})
    for stream, bookmark in (partial.get("bookmarks") or {}).items():
        bookmarks[stream] = {**bookmarks.get(stream, {}), **bookmark}
    return {**completed, **partial, "bookmarks": bookmarks}


def _unwrapped(state: Any) -> dict[str, Any]:
    inner = state
    while isinstance(inner, dict) and "bookmarks" not in inner:
        wrapper = next((name for name in _WRAPPERS if name in inner), None)
        if wrapper is None:
            break
        inner = inner[wrapper]
    if not isinstance(inner, dict):
        raise MartechError("the STATE is not one of a Singer tap: it must be an object")
    if inner and not _KNOWN & inner.keys():
        names = ", ".join(f"'{name}'" for name in inner)
        raise MartechError(
            f"the STATE is not one of a Singer tap: it has {names}, but no 'bookmarks'"
        )
    bookmarks = inner.get("bookmarks") or {}
    if not isinstance(bookmarks, dict) or not all(
        isinstance(bookmark, dict) for bookmark in bookmarks.values()
    ):
        raise MartechError(
            "the STATE is not one of a Singer tap: 'bookmarks' must hold an object per stream"
        )
    return inner
