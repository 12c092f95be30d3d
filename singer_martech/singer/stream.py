"""Streams that are read in units: a day's window, the result of an export's execution.

A unit counts only when it is written whole. The bookmark moves at the end of a unit and
at no other time, so a run that breaks resumes at the start of the unit it was in.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.streams import Stream

from singer_martech._compat import override
from singer_martech.errors import MartechError, Stopped
from singer_martech.singer.writer import MessageWriter

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import RecordMessage

    from singer_martech.singer.plugin import MartechTap

_T = TypeVar("_T")


@dataclass(frozen=True)
class Lines:
    """RECORD messages that are encoded already, each ended by a line feed."""

    text: bytes
    count: int


class Unit(ABC):
    """A piece of one stream, or of several that are read together.

    Attributes:
        streams: The streams it has records for.
        extracted_at: When it was received.
    """

    streams: Sequence[UnitStream]
    extracted_at: datetime.datetime

    @abstractmethod
    def chunks(
        self, as_lines: Collection[str]
    ) -> Iterator[tuple[UnitStream, Lines | Iterable[Record]]]:
        """Yield the records in pieces that fit into memory.

        Args:
            as_lines: The names of the streams that may get encoded lines; the others need
                records, because something makes theirs differ.
        """

    def records(self) -> Iterator[Record]:
        """Yield the records of a unit that is read for one stream, one by one."""
        for _, chunk in self.chunks(as_lines=()):
            if not isinstance(chunk, Lines):
                yield from chunk


@contextmanager
def failures_named(stream: str) -> Iterator[None]:
    """See that a failure within the block names a stream, if it names no setting."""
    try:
        yield
    except Stopped:
        raise
    except MartechError as error:
        if "stream '" in str(error) or "setting '" in str(error):
            raise
        message = f"stream '{stream}': {error}"
        raise MartechError(message) from error


@contextmanager
def _released(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """Close a generator when it is left, since it may hold files and threads."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


class UnitStream(Stream, ABC):
    """A stream that is read in units."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    _tap: MartechTap

    def __init__(self, tap: MartechTap, schema: dict[str, Any], name: str) -> None:
        """Make a stream of ``tap``."""
        super().__init__(tap, schema=schema, name=name)
        self._carried = False
        self._schema_written = False

    @abstractmethod
    def units(self, streams: Sequence[UnitStream]) -> Iterator[Unit]:
        """Yield the units to read in this run, in the order in which bookmarks move.

        Args:
            streams: This stream, or it and its companions.
        """

    @abstractmethod
    def unit_written(self, unit: Unit) -> None:
        """Move the bookmark past ``unit``, whose records are all written."""

    def companions(self) -> Sequence[UnitStream]:
        """Return the selected streams that are read together with this one, and itself."""
        return (self,)

    @property
    def passes_unchanged(self) -> bool:
        """Whether a record leaves as it is read, so that it may be written as a line.

        Selection, stream maps, flattening and a writer of another kind make it differ.
        """
        stream_map = self.stream_maps[0]
        return (
            len(self.stream_maps) == 1
            and type(stream_map) is SameRecordTransform
            and stream_map.stream_alias == self.name
            and not stream_map.flattening_enabled
            and all(self.mask.values())
            and self._stream_version is None
            and isinstance(self._tap.message_writer, MessageWriter)
        )

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        del context
        for unit in self.units((self,)):
            yield from unit.records()

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """There is none: a unit knows the bookmark that it leads to."""

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        # sync() announces every failure as unhandled; the reason comes as the last line
        level = logging.DEBUG if level == logging.ERROR else level
        super().log(message, *args, level=level, **kwargs)

    @override
    def _write_schema_message(self) -> None:
        if not self._schema_written:
            super()._write_schema_message()
        self._schema_written = True

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, Any]:
        del context
        if self._carried:
            self._carried = self._schema_written = False
            return
        try:
            with failures_named(self.name):
                if write_messages and self.ABORT_AT_RECORD_COUNT is None:
                    self._carry(self.companions())
                else:
                    yield from self._one_by_one(write_messages=write_messages)
        finally:
            self._schema_written = False
            self._flush()

    def _carry(self, streams: Sequence[UnitStream]) -> None:
        """Write all units of ``streams``."""
        as_lines = {stream.name for stream in streams if stream.passes_unchanged}
        for stream in streams:
            stream._carried = stream is not self  # noqa: SLF001 - streams of one kind
            stream._write_schema_message()  # noqa: SLF001
        with ExitStack() as stack:
            counters = {
                stream.name: stack.enter_context(stream.get_record_counter()) for stream in streams
            }
            stack.enter_context(self.get_sync_timer())
            for unit in stack.enter_context(_released(self.units(streams))):
                with _released(unit.chunks(as_lines)) as chunks:
                    for stream, chunk in chunks:
                        self._tap.stop.check()
                        count = stream._write_chunk(chunk, unit)  # noqa: SLF001
                        counters[stream.name].increment(count)
                self._finish(unit)
                self._write_state_message()
                self._flush()

    def _one_by_one(self, *, write_messages: bool) -> Iterator[Record]:
        """Yield this stream's records, for BATCH files, or until the limit of a test.

        The SDK writes STATE after each BATCH message; a bookmark moves here only when the
        records of its unit have been taken for the BATCH at hand or an earlier one.
        """
        count = 0
        # a test run ends with a STATE like any other, also when its limit cuts it short
        self.state_manager.is_flushed = not write_messages
        with _released(self.units((self,))) as units:
            for unit in units:
                for record in unit.records():
                    self._tap.stop.check()
                    self._check_max_record_limit(count)
                    count += 1
                    if write_messages:
                        self._write_records([record], unit)
                        yield record
                    else:
                        yield from self._mapped(record)
                self._finish(unit)
        if write_messages:
            self._write_state_message()

    def _write_chunk(self, chunk: Lines | Iterable[Record], unit: Unit) -> int:
        """Write a piece of a unit and return how many records it had."""
        writer = self._tap.message_writer
        if isinstance(chunk, Lines) and isinstance(writer, MessageWriter):
            writer.write_lines(chunk.text)
            return chunk.count
        return 0 if isinstance(chunk, Lines) else self._write_records(chunk, unit)

    def _write_records(self, records: Iterable[Record], unit: Unit) -> int:
        count = 0
        for record in records:
            count += 1
            for message in self._generate_record_messages(record):
                message.time_extracted = unit.extracted_at
                self._tap.write_message(message)
        return count

    def _mapped(self, record: Record) -> Iterator[Record]:
        """Apply to a record of a BATCH file what its SCHEMA message announced."""
        messages: Iterator[RecordMessage] = self._generate_record_messages(record)
        for message in messages:
            if message.stream == self.stream_maps[0].stream_alias:
                yield message.record

    def _finish(self, unit: Unit) -> None:
        for stream in unit.streams:
            if stream.replication_method != "FULL_TABLE":
                stream.unit_written(unit)
            stream.state_manager.is_flushed = False

    def _flush(self) -> None:
        if isinstance(self._tap.message_writer, MessageWriter):
            self._tap.message_writer.flush()
