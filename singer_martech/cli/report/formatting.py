"""Format numbers, sizes, times and keys for the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

_MINUTE = 60
_HOUR = 3600
_THOUSAND = 1000
_FEW = 10
_BRIEF = 0.1


def number(value: float) -> str:
    """Return a count or a rate: 12,345; below ten with one decimal unless it is a whole number."""
    if value < _FEW and value != int(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def short_number(value: float) -> str:
    """Return a number for an axis: 1.5k, 20M."""
    for size, sign in ((_THOUSAND**3, "G"), (_THOUSAND**2, "M"), (_THOUSAND, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"


def size(value: float) -> str:
    """Return a number of bytes: 1.4 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":  # noqa: PLR2004 - the factor of these units
            break
        value /= 1024
    return f"{value:,.0f} {unit}" if unit == "B" or value >= _FEW else f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a span of time: 13 ms, 0.8 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if 0 < seconds < _BRIEF:
        return f"{seconds * _THOUSAND:.0f} ms"
    if seconds < _FEW:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def time_of_axis(seconds: float) -> str:
    """Return a position on the time axis: 0.2 s, 30 s, 5 min, 2 h."""
    if seconds < _MINUTE:
        return f"{seconds:g} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:g} min"
    return f"{seconds / _HOUR:g} h"


def timestamp(value: datetime.datetime) -> str:
    """Return a time: 2026-11-21 14:05:09 UTC."""
    return f"{value:%Y-%m-%d %H:%M:%S} {value.tzname() or ''}".strip()


def key(value: Mapping[str, Any]) -> str:
    """Return a record's key: id = 7, day = 2026-11-21."""
    return ", ".join(
        f"{name} = {part if isinstance(part, str) else json.dumps(part)}"
        for name, part in value.items()
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a list: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
