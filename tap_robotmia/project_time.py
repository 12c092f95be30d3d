"""Convert a project's wall clock and days to UTC.

The export gives ``time`` as the project's wall clock, counted as if it were UTC epoch
seconds (vendor page: Exporting Raw Event Data). Daylight saving time:

- In the ambiguous hour at its end, the later of the two possible instants is used, unless it is
  after the event's arrival. Without an arrival stamp, the earlier one is used.
- A time in the missing hour at its start is converted with the offset before the change.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from singer_martech.values.timestamps import end_of_day

if TYPE_CHECKING:
    from datetime import date, tzinfo

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock has no zone

MILLISECONDS_FROM = 100_000_000_000
"""Larger raw times are milliseconds; as seconds they would be after the year 5000."""

_SPAN = 900
_MICROSECONDS = 1_000_000
_OUTSIDE = "its time is outside the years 1 to 9999"
_MAX_CACHED = 50_000
_SECONDS = tuple(f"{second:02d}.000000Z" for second in range(60))


class UnknownZone(ValueError):
    """The name is not an IANA time zone."""


def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone ``name``.

    Raises:
        UnknownZone: There is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnknownZone(name) from None


class ProjectClock:
    """Converts a project's times.

    Args:
        zone: The project's time zone.
        already_utc: The raw times are true UTC, and only days are in the zone.
    """

    def __init__(self, zone: tzinfo, *, already_utc: bool = False) -> None:
        self.zone = zone
        self._already_utc = already_utc
        self._offsets: dict[int, int | None] = {}
        self._minutes: dict[int, str] = {}

    def utc(self, raw: float) -> str | None:
        """Return the instant of a raw time as RFC 3339 text with microseconds.

        Returns:
            The text, or None for an ambiguous time: then use ``utc_by_arrival``.

        Raises:
            ValueError: The time is outside the years 1 to 9999.
        """
        if type(raw) is int and -MILLISECONDS_FROM < raw < MILLISECONDS_FROM:
            seconds, micro = raw, 0
        else:
            seconds, micro = _seconds_and_microseconds(raw)
        span = seconds // _SPAN
        offset = self._offsets[span] if span in self._offsets else self._offset_of_span(span)
        if offset is None:
            earlier, later = self._offsets_at(seconds)
            if earlier > later:
                return None
            offset = earlier
        return self._text(seconds - offset, micro)

    def utc_by_arrival(self, raw: float, arrived_at_ms: float | None) -> str:
        """Return the instant of a raw time that may be ambiguous.

        Args:
            raw: The event's ``time``.
            arrived_at_ms: When the vendor received the event, in epoch milliseconds, or None.

        Raises:
            ValueError: The time is outside the years 1 to 9999.
        """
        seconds, micro = _seconds_and_microseconds(raw)
        earlier, later = self._offsets_at(seconds)
        if earlier > later and arrived_at_ms is not None:
            later_instant_ms = (seconds - later) * 1000 + micro / 1000
            if later_instant_ms <= arrived_at_ms:
                return self._text(seconds - later, micro)
        return self._text(seconds - earlier, micro)

    @property
    def event_zone(self) -> tzinfo:
        """The zone of the events' raw times."""
        return UTC if self._already_utc else self.zone

    def day(self, instant: datetime) -> date:
        """Return the project's day at an instant."""
        return instant.astimezone(self.zone).date()

    def end_of(self, day: date) -> datetime:
        """Return the first instant after a project's day, in UTC."""
        return end_of_day(day, self.zone)

    def _offset_of_span(self, span: int) -> int | None:
        """Return the offset in a quarter of an hour of wall clock; None if it changes within it."""
        first = span * _SPAN
        offsets = {*self._offsets_at(first), *self._offsets_at(first + _SPAN - 1)}
        offset = offsets.pop() if len(offsets) == 1 else None
        if len(self._offsets) >= _MAX_CACHED:
            self._offsets.clear()
        self._offsets[span] = offset
        return offset

    def _offsets_at(self, seconds: int) -> tuple[int, int]:
        """Return the offsets before and after a change; they are equal if there is none."""
        if self._already_utc:
            return 0, 0
        try:
            wall = EPOCH + timedelta(seconds=seconds)
            before = wall.replace(tzinfo=self.zone, fold=0).utcoffset() or timedelta()
            after = wall.replace(tzinfo=self.zone, fold=1).utcoffset() or timedelta()
        except OverflowError:
            raise ValueError(_OUTSIDE) from None
        return before // timedelta(seconds=1), after // timedelta(seconds=1)

    def _text(self, seconds: int, micro: int) -> str:
        minute, second = divmod(seconds, 60)
        text = self._minutes.get(minute) or self._text_of_minute(minute)
        return text + (_SECONDS[second] if micro == 0 else f"{second:02d}.{micro:06d}Z")

    def _text_of_minute(self, minute: int) -> str:
        try:
            text = f"{EPOCH + timedelta(minutes=minute):%H:%M:}"
            text = f"{(EPOCH + timedelta(minutes=minute)).date().isoformat()}T{text}"
        except OverflowError:
            raise ValueError(_OUTSIDE) from None
        if len(self._minutes) >= _MAX_CACHED:
            self._minutes.clear()
        self._minutes[minute] = text
        return text


def _seconds_and_microseconds(raw: float) -> tuple[int, int]:
    """Split a raw time, in seconds or milliseconds, into whole seconds and microseconds."""
    in_milliseconds = abs(raw) >= MILLISECONDS_FROM
    if isinstance(raw, int):
        if not in_milliseconds:
            return raw, 0
        seconds, milliseconds = divmod(raw, 1000)
        return seconds, milliseconds * 1000
    microseconds = raw * (1000 if in_milliseconds else _MICROSECONDS)
    if not math.isfinite(microseconds):
        raise ValueError(_OUTSIDE)
    return divmod(round(microseconds), _MICROSECONDS)
