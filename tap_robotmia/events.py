"""From a line of an export to an event.

A fast decoder looks at the few fields that are needed and leaves ``properties`` as the
bytes that came. What it refuses (half of a surrogate pair, NaN, a time given as text) is
read once more by the standard library before it counts as malformed.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.json import serialize_json

from singer_martech.values.json_codec import decode_object, is_utf8
from tap_robotmia.event_id import content_id, event_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_robotmia.project_time import ProjectClock

ARRIVAL_PROPERTIES = ("mp_processing_time_ms", "$mp_api_timestamp_ms")
"""True UTC milliseconds at which the vendor received the event."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_LARGEST_DIGITS = 4000
"""Python turns no longer text into an integer."""


class Event(msgspec.Struct, gc=False):
    """An event as the stream ``events`` shows it.

    Attributes:
        event_id: See :mod:`tap_robotmia.event_id`.
        event: Its name.
        time: True UTC, RFC 3339.
        distinct_id: The user; a number as its text.
        insert_id: The property ``$insert_id``; a number as its text.
        properties: All properties as received: one JSON object on one line in valid UTF-8.
    """

    event_id: str
    event: str
    time: str
    distinct_id: str | None
    insert_id: str | None
    properties: msgspec.Raw


class MalformedLine(ValueError):
    """A line is no JSON event; the text says why."""


class _Line(msgspec.Struct, gc=False):
    event: str
    properties: msgspec.Raw


class _Key(msgspec.Struct, gc=False):
    time: int | float
    distinct_id: str | int | None = None
    insert_id: str | None = msgspec.field(name="$insert_id", default=None)


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_key = msgspec.json.Decoder(_Key).decode


class EventReader:
    """Reads the lines of an export.

    Args:
        clock: Converts the events' times.
        malformed: Called with each line that is no event, as received, and the reason.
    """

    def __init__(self, clock: ProjectClock, malformed: Callable[[bytes, str], None]) -> None:
        """Read nothing yet."""
        self._clock = clock
        self._malformed = malformed

    def read(self, block: bytes) -> list[Event]:
        """Return the events of a block of whole lines."""
        events: list[Event] = []
        take, utc = events.append, self._clock.utc
        decode_line = _decode_line if _is_plain_text(block) else _refuse
        for line in block.split(b"\n"):
            try:
                head = decode_line(line)
                key = _decode_key(head.properties)
                time, insert_id = utc(key.time), key.insert_id
                if time is None or not insert_id or type(key.distinct_id) is int:
                    take(self._event(head.event, head.properties, key))
                    continue
                identity = event_id(head.event, key.distinct_id, key.time, insert_id)  # type: ignore[arg-type]
                take(
                    Event(identity, head.event, time, key.distinct_id, insert_id, head.properties)  # type: ignore[arg-type]
                )
            except (ValueError, RecursionError):
                if line and not line.isspace():
                    self._read_carefully(line, take)
        return events

    def _read_carefully(self, line: bytes, take: Callable[[Event], None]) -> None:
        try:
            take(self._event(*parse_line(line)))
        except MalformedLine as error:
            self._malformed(line, str(error))

    def _event(self, name: str, properties: msgspec.Raw, key: _Key) -> Event:
        distinct_id = None if key.distinct_id is None else str(key.distinct_id)
        try:
            time = self._clock.utc(key.time)
            if time is None:
                time = self._clock.utc_by_arrival(key.time, _arrival(properties))
        except ValueError as error:
            raise MalformedLine(str(error)) from None
        identity = (
            event_id(name, distinct_id, key.time, key.insert_id)
            if key.insert_id
            else content_id(name, bytes(properties))
        )
        return Event(identity, name, time, distinct_id, key.insert_id, properties)


def parse_line(line: bytes) -> tuple[str, msgspec.Raw, _Key]:
    """Read one line, the fast way or else the tolerant one.

    Returns:
        The event's name, its properties as JSON text, and what identifies it.

    Raises:
        MalformedLine: The line is no JSON event.
    """
    line = line.removeprefix(_BYTE_ORDER_MARK).strip()
    if _is_plain_text(line):
        try:
            head = _decode_line(line)
            return head.event, head.properties, _decode_key(head.properties)
        except (msgspec.MsgspecError, RecursionError):
            pass
    return _parse_tolerantly(line)


def properties_of(event: Event) -> dict[str, Any]:
    """Return an event's properties as Python values, numbers to the digit."""
    return read_object(bytes(event.properties))


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object without losing a digit of its numbers."""
    try:
        return decode_object(text)
    except (msgspec.MsgspecError, ArithmeticError, RecursionError):
        return _loads(text)  # type: ignore[no-any-return]


def _refuse(line: bytes) -> _Line:
    """Stand in for the fast decoder where every line needs a careful look."""
    raise ValueError(line)


def _is_plain_text(text: bytes) -> bool:
    """Whether text may be written as it is: valid UTF-8, and no carriage return.

    A carriage return is white space between the tokens of JSON, but a line end to many
    who read lines.
    """
    return b"\r" not in text and is_utf8(text)


def _parse_tolerantly(line: bytes) -> tuple[str, msgspec.Raw, _Key]:
    try:
        value = _loads(line)
    except UnicodeDecodeError:
        raise MalformedLine("it is not UTF-8") from None
    except RecursionError:
        raise MalformedLine("it is nested too deeply") from None
    except ValueError:
        raise MalformedLine("it is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedLine("it is no JSON object")
    name, properties = value.get("event"), value.get("properties")
    if not isinstance(name, str):
        raise MalformedLine("it has no event name")
    if not isinstance(properties, dict):
        raise MalformedLine("it has no properties")
    time = properties.get("time")
    if isinstance(time, str) and _NUMBER.fullmatch(time.strip()):
        time = _exact(time.strip()) if "." in time else int(time)
    if isinstance(time, bool) or not isinstance(time, (int, Decimal)):
        raise MalformedLine("it has no time")
    key = _Key(
        time=float(time) if isinstance(time, Decimal) else time,
        distinct_id=_text(properties.get("distinct_id")),
        insert_id=_text(properties.get("$insert_id")),
    )
    return name, msgspec.Raw(serialize_json(properties).encode()), key


def _loads(text: bytes) -> Any:
    return json.loads(
        text.decode("utf-8", "surrogatepass"),
        parse_float=_exact,
        parse_int=_integer,
        parse_constant=str,  # NaN and Infinity are no JSON; as text they are kept
    )


def _exact(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        return text


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _LARGEST_DIGITS else Decimal(text)


def _text(value: Any) -> str | None:
    """Return an identifier as text: a number as its digits, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return serialize_json(value)


def _arrival(properties: msgspec.Raw) -> float | None:
    """Return the earliest moment at which the event is known to have arrived."""
    values = read_object(bytes(properties))
    moments = [values.get(name) for name in ARRIVAL_PROPERTIES]
    numbers = [
        float(moment)
        for moment in moments
        if isinstance(moment, (int, Decimal)) and not isinstance(moment, bool)
    ]
    return min(numbers, default=None)
