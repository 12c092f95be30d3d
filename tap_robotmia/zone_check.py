"""Detect a wrong ``project_timezone`` by the arrival stamps of events.

The vendor stamps an event with the true UTC time of its arrival. Events happen before they
arrive, apart from the clock errors of some devices. A wrong zone shifts all events by the
multiple of a quarter of an hour. If they are shifted forward, most seem to happen after their
arrival. If they are shifted back, most of those that arrive at once seem to arrive late by the
same time.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from singer_martech.values.timestamps import parse_iso
from tap_robotmia.events import arrival
from tap_robotmia.project_time import UTC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from tap_robotmia.events import Event

_CLOCK_ERROR = timedelta(minutes=10)
_LARGEST_SHIFT = timedelta(hours=26)
"""From UTC-12 to UTC+14. A larger shift comes from a device with a wrong clock."""

_MIN_SHARE = 0.5
_QUARTER_SECONDS = 900
_MIN_LATE = 20
"""Fewer events may have the same delay by chance."""

_MAX_SAMPLE = 1000
_MAX_LISTED = 8
_AREAS = ("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
_LISTED_FIRST = (
    "UTC",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/Athens",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
)


class _Sample(NamedTuple):
    wall: datetime
    """The wall clock of the project, without a zone."""
    arrived_at: datetime


class ZoneCheck:
    """Counts events that seem to happen after their arrival, or to arrive with the same delay.

    Args:
        zone: The zone by which the events' times were converted to UTC.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._stamped = 0
        self._ahead = 0
        self._quarters: Counter[int] = Counter()
        self._samples: list[_Sample] = []
        self._late_samples: list[_Sample] = []

    def add(self, events: Iterable[Event]) -> None:
        """Check some events; those without an arrival stamp are ignored."""
        for event in events:
            arrived_ms = arrival(event.properties)
            try:
                arrived_at = datetime.fromtimestamp((arrived_ms or 0) / 1000, UTC)
                time = parse_iso(event.time)
                wall = time.astimezone(self._zone).replace(tzinfo=None)
            except (OverflowError, ValueError, OSError):
                continue
            if arrived_ms is not None:
                self._count(_Sample(wall, arrived_at), arrived_at - time)

    def _count(self, sample: _Sample, delay: timedelta) -> None:
        self._stamped += 1
        if _CLOCK_ERROR < -delay <= _LARGEST_SHIFT:
            self._ahead += 1
            if len(self._samples) < _MAX_SAMPLE:
                self._samples.append(sample)
        elif timedelta() <= delay <= _LARGEST_SHIFT:
            self._quarters[round(delay.total_seconds() / _QUARTER_SECONDS)] += 1
            if len(self._late_samples) < _MAX_SAMPLE:
                self._late_samples.append(sample)

    def problem(self) -> str | None:
        """Return the problem with the zone, or None."""
        if self._ahead > self._stamped * _MIN_SHARE:
            return self._problem(self._ahead, "happen after they arrived", self._samples)
        ((quarters, late),) = self._quarters.most_common(1) or [(0, 0)]
        if quarters > 1 and late >= _MIN_LATE and late > self._stamped * _MIN_SHARE:
            hours = quarters * _QUARTER_SECONDS / 3600
            return self._problem(
                late, f"arrive {hours:g} h after they happened", self._late_samples
            )
        return None

    def _problem(self, count: int, observation: str, samples: Sequence[_Sample]) -> str:
        zones = _fitting_zones(samples)
        fitting = ", ".join(zones[:_MAX_LISTED]) or "none"
        more = f" and {len(zones) - _MAX_LISTED} more" if len(zones) > _MAX_LISTED else ""
        return (
            f"{count} of {self._stamped} events seem to {observation}: check settings "
            f"'project_timezone' and 'timestamps'; time zones that would fit: {fitting}{more}"
        )


def _fitting_zones(samples: Sequence[_Sample]) -> list[str]:
    """Return the zones in which the events arrive soonest after they happen."""
    samples = samples[:: max(1, len(samples) // 100)]
    delays: dict[str, timedelta] = {}
    for name in available_timezones():
        if name != "UTC" and name.partition("/")[0] not in _AREAS:
            continue
        zone = ZoneInfo(name)
        waits = [arrived_at - wall.replace(tzinfo=zone) for wall, arrived_at in samples]
        ahead = sum(wait < -_CLOCK_ERROR for wait in waits)
        if ahead <= len(samples) // 20:
            delays[name] = sum(waits, timedelta())
    least = min(delays.values(), default=timedelta())
    order = {name: place for place, name in enumerate(_LISTED_FIRST)}
    fitting = (name for name, delay in delays.items() if delay == least)
    return sorted(fitting, key=lambda name: (order.get(name, len(order)), name))
