"""The streams: ``events``, and a typed stream for each name in ``event_streams``."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.singer.stream import Chunk, ChunkedStream, EncodedRecords
from singer_martech.singer.writer import encode_records
from singer_martech.values.timestamps import instant_text, parse_iso
from tap_robotmia.columns import EXTRA, Columns, stream_name
from tap_robotmia.events import properties_of
from tap_robotmia.export_settings import ExportSettings
from tap_robotmia.exports import Exports, StreamRequest
from tap_robotmia.lines import read_object
from tap_robotmia.windows import first_day

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import date

    from singer_sdk.helpers.types import Record

    from singer_martech.singer.tap import MartechTap
    from tap_robotmia.events import Event
    from tap_robotmia.exports import ExportedWindow

REPLICATION_KEY = "time"
_BOOKMARK, _START_DATE = "replication_key_value", "start_date"


class RobotmiaStream(ChunkedStream):
    """A stream of events, read in windows, with its own bookmark."""

    event_name: str | None = None
    """The only event of the stream; None for all events."""

    def __init__(self, tap: MartechTap, schema: dict[str, Any], name: str) -> None:
        super().__init__(tap, schema, name)
        self.primary_keys = ["event_id"]
        self.replication_key = REPLICATION_KEY

    def record(self, event: Event) -> Record:
        """Return an event as a record."""
        raise NotImplementedError

    def encoded(self, events: list[Event]) -> EncodedRecords:
        """Return events as encoded records, equal to those of the SDK."""
        raise NotImplementedError

    def first_day(self) -> date:
        """Return the first day that this run exports, in the project's time zone.

        Raises:
            MartechError: The bookmark is not an instant.
        """
        settings = self._exports.settings
        bookmark = self._bookmark()
        if bookmark is None:
            return settings.start_date
        now = datetime.now(timezone.utc)
        if bookmark > now:
            self.logger.warning(
                "the bookmark %s is in the future; the run treats it as now",
                self.stream_state[_BOOKMARK],
            )
        first_start = self.stream_state.get(_START_DATE)
        if isinstance(first_start, str) and settings.start_date.isoformat() < first_start:
            self.logger.warning(
                "setting 'start_date' (%s) is earlier than at the first run (%s) and ignored; to "
                "export the days between, run once with another state",
                settings.start_date,
                first_start,
            )
        return first_day(
            settings.start_date,
            self._exports.clock.day(min(bookmark, now)),
            settings.lookback_days,
            _day(first_start),
        )

    @override
    def synced_together(self) -> Sequence[ChunkedStream]:
        return [stream for stream in self._tap.streams.values() if stream.selected]  # type: ignore[misc]

    @override
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        by_name = {stream.name: cast("RobotmiaStream", stream) for stream in streams}
        requests = [
            StreamRequest(name, stream.first_day(), stream.event_name)
            for name, stream in by_name.items()
        ]
        with closing(self._exports.windows(requests)) as exported_windows:
            for exported in exported_windows:
                yield WindowChunk(exported, [by_name[name] for name in exported.window.streams])

    @override
    def chunk_written(self, chunk: Chunk) -> None:
        end = cast("WindowChunk", chunk).bookmark
        old, state = self._bookmark(), self.stream_state
        if old is None:
            state[_START_DATE] = self._exports.settings.start_date.isoformat()
        if old is None or end > old:
            state["replication_key"] = REPLICATION_KEY
            state[_BOOKMARK] = instant_text(end)

    @cached_property
    def _exports(self) -> Exports:
        return Exports(ExportSettings.from_config(self.config), self._tap.shutdown)

    def _bookmark(self) -> datetime | None:
        state = self.stream_state
        value = state.get(_BOOKMARK)
        is_ours = state.get("replication_key", REPLICATION_KEY) == REPLICATION_KEY
        if value is None or not is_ours or self.replication_method == "FULL_TABLE":
            return None
        try:
            instant = parse_iso(value)
            self._exports.clock.day(instant)
        except (AttributeError, TypeError, OverflowError, ValueError):
            raise MartechError(
                f"the STATE's bookmark of stream '{self.name}' is not an instant such as "
                "2018-02-11T00:00:00Z; correct it, or start with an empty state"
            ) from None
        return instant


class WindowChunk(Chunk):
    """The records of an exported window."""

    def __init__(self, exported: ExportedWindow, streams: Sequence[RobotmiaStream]) -> None:
        self.streams = self._streams = streams
        self.extracted_at = exported.received_at
        self.bookmark = exported.bookmark
        self._exported = exported

    @override
    def parts(
        self, encoded_streams: Collection[str]
    ) -> Iterator[tuple[ChunkedStream, EncodedRecords | Iterable[Record]]]:
        has_typed_stream = any(stream.event_name is not None for stream in self._streams)
        for events in self._exported.event_blocks():
            by_name = _by_name(events) if has_typed_stream else {}
            for stream in self._streams:
                name = stream.event_name
                selected = events if name is None else by_name.get(name)
                if not selected:
                    continue
                if stream.name in encoded_streams:
                    yield stream, stream.encoded(selected)
                else:
                    yield stream, (stream.record(event) for event in selected)


class EventsStream(RobotmiaStream):
    """All events, with their properties in one column exactly as received."""

    name = "events"
    properties: ClassVar[th.PropertiesList] = th.PropertiesList(
        th.Property(
            "event_id",
            th.StringType,
            required=True,
            description="Identifies the event; the same in every export.",
        ),
        th.Property("event", th.CustomType({"type": "string"}), description="The event's name."),
        th.Property(
            "time",
            th.DateTimeType,
            required=True,
            description="When the event happened, in UTC.",
        ),
        th.Property("distinct_id", th.StringType, description="The user."),
        th.Property("insert_id", th.StringType, description="The property $insert_id."),
        th.Property(
            "properties",
            # without "properties" of its own, so that flattening keeps it as JSON text
            th.CustomType({"type": "object", "additionalProperties": True}),
            description="Every property exactly as received, the raw time included.",
        ),
        th.Property(
            EXTRA,
            th.CustomType({"type": ["object", "null"], "additionalProperties": True}),
            description="The keys of the line other than event and properties.",
        ),
    )

    def __init__(self, tap: MartechTap) -> None:
        super().__init__(tap, self.properties.to_dict(), self.name)

    @override
    def record(self, event: Event) -> Record:
        return {
            "event_id": event.event_id,
            "event": event.event,
            "time": event.time,
            "distinct_id": event.distinct_id,
            "insert_id": event.insert_id,
            "properties": properties_of(event),
            EXTRA: None if event.extra is None else read_object(event.extra),
        }

    @override
    def encoded(self, events: list[Event]) -> EncodedRecords:
        # an Event is encoded as the record, with the received bytes of its properties
        return EncodedRecords(encode_records(events), len(events))


class TypedEventStream(RobotmiaStream):
    """The events of one name, with a column per property."""

    def __init__(self, tap: MartechTap, event_name: str, schema: dict[str, Any]) -> None:
        super().__init__(tap, schema, stream_name(event_name))
        self.event_name = event_name

    @override
    def record(self, event: Event) -> Record:
        return self._columns.record(event)

    @override
    def encoded(self, events: list[Event]) -> EncodedRecords:
        return EncodedRecords(encode_records(self._columns.encodable(events)), len(events))

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.effective_schema)


def _by_name(events: list[Event]) -> dict[str, list[Event]]:
    by_name: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_name[event.event].append(event)
    return by_name


def _day(text: object) -> date | None:
    try:
        return parse_iso(text).date() if isinstance(text, str) else None
    except ValueError:
        return None
