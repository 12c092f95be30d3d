"""The data that robotmia exports: generated or given events, and complete bodies for a day."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tests.sandbox.robotmia_events import event_from, with_keys
from tests.sandbox.robotmia_shop import shop_day
from tests.sandbox.robotmia_where import parse_where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.robotmia_events import Event

#: Maximum number of cached compressed bodies.
_KEPT_BODIES = 64


@dataclass(frozen=True)
class Export:
    """The parameters of an export: days, both inclusive, and event names."""

    first: date
    last: date
    names: tuple[str, ...] | None = None
    where: str | None = None

    @property
    def days(self) -> Iterator[date]:
        """The days in order."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)


class EventData:
    """The events of one project, by project-local day."""

    def __init__(self, vendor: Robotmia) -> None:
        self._vendor = vendor
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Return to generated events only."""
        self._generated = True
        self._given: dict[date, list[Event]] = {}
        self._whole: dict[date, bytes] = {}
        self._version = object()
        self._bodies: dict[Any, bytes] = {}

    def set_events(self, events: Iterable[Event | dict[str, Any] | str | bytes]) -> None:
        """Set the events."""
        self.clear()
        self._generated = False
        for event in events:
            self.add(event_from(event))

    def add(self, event: Event) -> None:
        """Add an event."""
        self._given.setdefault(self._day_of(event.time), []).append(event)
        self._version = object()

    def set_body(self, day: date, body: bytes, *, gzipped: bool) -> None:
        """Set the body for a day, regardless of an export's event names."""
        self._whole[day] = body if gzipped else gzip.compress(body, compresslevel=1)
        self._version = object()

    def _day_of(self, time: float) -> date:
        # Some lines of tests have their time in milliseconds.
        seconds = time / 1000 if time > 10**11 else time
        zone = ZoneInfo(self._vendor.project_timezone) if self._vendor.utc_times else timezone.utc
        return datetime.fromtimestamp(seconds, zone).date()

    def day(self, day: date) -> list[Event]:
        """Return the events of a day that have arrived by now, sorted by raw time."""
        vendor = self._vendor
        found = list(self._given.get(day, ()))
        first = vendor.today - timedelta(days=vendor.history_days - 1)
        if self._generated and first <= day <= vendor.today:
            generated = shop_day(
                vendor.sandbox.seed,
                vendor.project_timezone,
                day,
                vendor.events_per_day,
                utc=vendor.utc_times,
            )
            extra = vendor.extra_keys
            found += [with_keys(event, extra) for event in generated] if extra else generated
        now = vendor.now.timestamp()
        arrived = [event for event in found if event.arrives_at <= now]
        return sorted(arrived, key=lambda event: event.time)

    def body(self, export: Export) -> bytes:
        """Return the response to an export as gzip; empty bytes without events.

        Raises:
            ValueError: The filter is invalid.
        """
        keeps = parse_where(export.where) if export.where else None
        chosen: list[list[Event] | bytes] = []
        for day in export.days:
            if day in self._whole:
                chosen.append(self._whole[day])
                continue
            chosen.append(
                [
                    event
                    for event in self.day(day)
                    if (export.names is None or event.name in export.names)
                    and (keeps is None or keeps(event.properties))
                ],
            )
        # Arrived events only increase, so the counts identify a state.
        counts = tuple(len(part) for part in chosen)
        vendor = self._vendor
        state = (
            self._version,
            vendor.project_timezone,
            vendor.events_per_day,
            vendor.utc_times,
            json.dumps(vendor.extra_keys),
        )
        with self._lock:
            return self._compressed((export, counts, state), chosen)

    def _compressed(self, key: Any, chosen: list[list[Event] | bytes]) -> bytes:
        if key not in self._bodies:
            while len(self._bodies) >= _KEPT_BODIES:
                del self._bodies[next(iter(self._bodies))]
            self._bodies[key] = _joined(chosen)
        return self._bodies[key]


def _joined(parts: list[list[Event] | bytes]) -> bytes:
    filled = [part for part in parts if part]
    if len(filled) == 1 and isinstance(filled[0], bytes):
        return filled[0]
    text = b"".join(
        gzip.decompress(part)
        if isinstance(part, bytes)
        else b"".join(event.line + b"\n" for event in part)
        for part in filled
    )
    return gzip.compress(text, compresslevel=1) if text else b""
