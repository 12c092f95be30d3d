"""Counts and suggestions in messages."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 day, 2 days."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def similar(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most similar to ``name``, if any is similar enough."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name most similar to ``name``, or empty text."""
    suggestion = similar(name, known)
    return "" if suggestion is None else f"; did you mean '{suggestion}'?"
