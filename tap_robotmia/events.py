"""Read the events of an export."""

from __future__ import annotations

from codecs import BOM_UTF8
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tap_robotmia.event_id import content_id, event_id, event_ids
from tap_robotmia.lines import (
    SHORT_LINE_BYTES,
    Key,
    Line,
    MalformedLine,
    decode_key,
    decode_line,
    has_many_brackets,
    is_plain_text,
    parse_line,
    read_object,
)
from tap_robotmia.sanitize import may_need_sanitizing, sanitized, sanitized_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_robotmia.lines import ParsedLine
    from tap_robotmia.project_time import ProjectClock

ARRIVAL_PROPERTIES = ("mp_processing_time_ms", "$mp_api_timestamp_ms")
"""When the vendor received the event, in milliseconds, true UTC."""

_MAX_ARRIVAL_MS = 10**14
"""The year 5138; later arrivals are wrong."""


class Event(msgspec.Struct, gc=False):
    """A record of the stream ``events``.

    Attributes:
        event_id: See :mod:`tap_robotmia.event_id`.
        event: The event's name.
        time: True UTC, RFC 3339.
        distinct_id: The user; a number as its text.
        insert_id: The property ``$insert_id``; a number as its text.
        properties: All properties as received: one JSON object on one line in valid UTF-8.
        extra: The other keys of the line as a JSON object, or None.
    """

    event_id: str
    event: str
    time: str
    distinct_id: str | None
    insert_id: str | None
    properties: msgspec.Raw
    extra: msgspec.Raw | None = msgspec.field(name="_extra", default=None)


class _Arrivals(msgspec.Struct, gc=False):
    processed_at: Any = msgspec.field(name=ARRIVAL_PROPERTIES[0], default=None)
    received_at: Any = msgspec.field(name=ARRIVAL_PROPERTIES[1], default=None)


_UNUSUAL = Line("", msgspec.Raw())
"""In place of a line that the fast decoder rejects."""

_decode_arrivals = msgspec.json.Decoder(_Arrivals).decode


class EventReader:
    """Reads the lines of an export.

    Args:
        clock: Converts the events' times.
        malformed: Called with each malformed line, as received, and the reason.
        sanitize: Replace halves of surrogate pairs and NUL by U+FFFD.
    """

    def __init__(
        self,
        clock: ProjectClock,
        malformed: Callable[[bytes, str], None],
        *,
        sanitize: bool = False,
    ) -> None:
        self._clock = clock
        self._malformed = malformed
        self._sanitize = sanitize

    def read(self, lines: list[bytes]) -> list[Event]:
        """Return the events of a block of lines."""
        if self._are_plain(lines):
            return self._read_plain(lines)
        return [event for line in lines for event in self._read_tolerantly(line)]

    def _read_plain(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        append, utc, last_raw = events.append, self._clock.utc, None
        for line, head, key, identity in _identified(lines):
            if head is _UNUSUAL:
                events += self._read_tolerantly(line)
                continue
            try:
                raw, distinct_id, insert_id = key.time, key.distinct_id, key.insert_id
                if raw != last_raw:  # exports are sorted by time
                    time, last_raw = utc(raw), raw
                if time is None or not insert_id:
                    append(self._event(head, key))
                else:
                    append(
                        Event(identity, head.event, time, distinct_id, insert_id, head.properties)  # type: ignore[arg-type]
                    )
            except Exception:  # noqa: BLE001 - one line must not end the run
                events += self._read_tolerantly(line)
        return events

    def _are_plain(self, lines: list[bytes]) -> bool:
        """Whether the text of these lines may be written as it is."""
        text = b"".join(lines)
        return (
            is_plain_text(text)
            and not (self._sanitize and may_need_sanitizing(text))
            and not (
                max(map(len, lines), default=0) > SHORT_LINE_BYTES
                and any(map(has_many_brackets, lines))
            )
        )

    def _read_tolerantly(self, line: bytes) -> list[Event]:
        """Return the event of a line; report a malformed one."""
        if not line.removeprefix(BOM_UTF8).strip():
            return []
        try:
            parsed = parse_line(line)
            return [self._event(parsed, parsed.key, parsed.extra)]
        except MalformedLine as error:
            reason = str(error)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - one line must not end the run
            reason = f"{type(error).__name__}: {error}"
        self._malformed(line.removesuffix(b"\n"), reason)
        return []

    def _event(self, line: Line | ParsedLine, key: Key, extra: msgspec.Raw | None = None) -> Event:
        name, properties = line.event, line.properties
        distinct_id = None if key.distinct_id is None else str(key.distinct_id)
        identity = (
            event_id(name, distinct_id, key.time, key.insert_id)
            if key.insert_id
            else content_id(name, bytes(properties))
        )
        time, insert_id = self._time(key.time, properties), key.insert_id
        if not self._sanitize:
            return Event(identity, name, time, distinct_id, insert_id, properties, extra)
        return Event(
            identity,
            sanitized(name),
            time,
            sanitized(distinct_id),
            sanitized(insert_id),
            sanitized_object(properties),
            None if extra is None else sanitized_object(extra),
        )

    def _time(self, raw: float, properties: msgspec.Raw) -> str:
        try:
            time = self._clock.utc(raw)
            if time is None:
                time = self._clock.utc_by_arrival(raw, arrival(properties))
        except ValueError as error:
            raise MalformedLine(str(error)) from None
        return time


def _identified(lines: list[bytes]) -> Iterator[tuple[bytes, Line, Key, str]]:
    """Return lines with their parts and the ids of their events."""
    heads, keys = _decoded(lines)
    for key in keys:
        if type(key.distinct_id) is int:
            key.distinct_id = str(key.distinct_id)
    identities = event_ids(
        [
            (head.event, key.distinct_id, key.time, key.insert_id)
            for head, key in zip(heads, keys, strict=True)
        ]
    )
    return zip(lines, heads, keys, identities, strict=True)


def _decoded(lines: list[bytes]) -> tuple[list[Line], list[Key]]:
    """Decode lines with the fast decoder; those that it rejects are ``_UNUSUAL``."""
    try:
        heads = [decode_line(line) for line in lines]
        return heads, [decode_key(head.properties) for head in heads]
    except Exception:  # noqa: BLE001, S110 - the loop below finds out which line it was
        pass
    heads, keys = [], []
    for line in lines:
        try:
            head = decode_line(line)
            key = decode_key(head.properties)
        except Exception:  # noqa: BLE001 - one line must not end the run
            head, key = _UNUSUAL, Key(0)
        heads.append(head)
        keys.append(key)
    return heads, keys


def properties_of(event: Event) -> dict[str, Any]:
    """Return an event's properties as Python values with exact numbers."""
    return read_object(event.properties)


def arrival(properties: msgspec.Raw) -> float | None:
    """Return the earliest known arrival of an event in epoch milliseconds, or None."""
    try:
        values = _decode_arrivals(properties)
        instants = (values.processed_at, values.received_at)
    except (msgspec.MsgspecError, ArithmeticError, RecursionError):
        found = read_object(properties)
        instants = tuple(found.get(name) for name in ARRIVAL_PROPERTIES)  # type: ignore[assignment]
    numbers = [
        float(instant)
        for instant in instants
        if isinstance(instant, (int, float, Decimal))
        and not isinstance(instant, bool)
        and 0 <= instant < _MAX_ARRIVAL_MS
    ]
    return min(numbers, default=None)
