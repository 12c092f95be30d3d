"""Look for wrong settings in the events of a run, for warnings at its end and for ``--check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.values.wording import similar
from tap_robotmia.zone_check import ZoneCheck

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

    from tap_robotmia.events import Event

CHECKED_PER_WINDOW = 1000
"""Events per window whose arrival is compared: a wrong zone shifts all events."""

_MAX_SEEN = 10_000


class Observations:
    """Looks for wrong settings in the events of a run.

    Args:
        names: The event names in the settings.
        zone: The zone by which the events' times were converted to UTC.

    Attributes:
        has_events: Whether there was an event.
    """

    def __init__(self, names: Collection[str], zone: tzinfo) -> None:
        self.zone_check = ZoneCheck(zone)
        self._names = names
        self._missing = set(names)
        self._seen: set[str] = set()
        self.has_events = False

    def add(self, events: list[Event], already_read: int) -> None:
        """Check a block of events, which follows this many others of its window."""
        self.has_events = self.has_events or bool(events)
        if already_read < CHECKED_PER_WINDOW:
            self.zone_check.add(events[: CHECKED_PER_WINDOW - already_read])
        if self._missing:
            seen = {event.event for event in events}
            if len(self._seen) < _MAX_SEEN:
                self._seen |= seen
            self._missing -= seen

    @property
    def missing(self) -> list[str]:
        """The names without an event so far, in the order of the settings."""
        return [name for name in self._names if name in self._missing]

    def similar_to(self, name: str) -> str:
        """Return a question about the name that was probably meant, or nothing."""
        spelled = {seen.casefold(): seen for seen in sorted(self._seen)}
        match = similar(name.casefold(), spelled)
        return "" if match is None else f"; did you mean '{spelled[match]}'?"
