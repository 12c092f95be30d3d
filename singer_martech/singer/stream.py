"""Streams read in chunks, such as a window of days or the result of an execution.

The bookmark moves only when a chunk is completely written, so an interrupted run resumes at the
start of its last chunk.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import CustomStreamMap, SameRecordTransform
from singer_sdk.streams import Stream

from singer_martech._compat import override
from singer_martech.errors import MartechError, Stopped
from singer_martech.singer.batch_writer import BatchWriter
from singer_martech.singer.stream_maps import check_magnitudes
from singer_martech.singer.writer import MessageWriter, encode_records

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.metrics import Counter
    from singer_sdk.singerlib import RecordMessage

    from singer_martech.singer.tap import MartechTap

_T = TypeVar("_T")


@dataclass(frozen=True)
class EncodedRecords:
    """Records as JSON, each ended by a line feed, and their number."""

    text: bytes
    count: int


class Chunk(ABC):
    """A part of one stream, or of several streams that are read together.

    Attributes:
        streams: The streams whose records it contains.
        extracted_at: The time at which it was received.
    """

    streams: Sequence[ChunkedStream]
    extracted_at: datetime.datetime

    @abstractmethod
    def parts(
        self, encoded_streams: Collection[str]
    ) -> Iterator[tuple[ChunkedStream, EncodedRecords | Iterable[Record]]]:
        """Yield the records in parts that fit in memory.

        Args:
            encoded_streams: The names of the streams that accept encoded records. The others need
                them decoded, because selection or stream maps change them.
        """

    def records(self) -> Iterator[Record]:
        """Yield the records of a chunk of one stream, one by one."""
        for _, part in self.parts(encoded_streams=()):
            if not isinstance(part, EncodedRecords):
                yield from part


@contextmanager
def error_context(stream: str) -> Iterator[None]:
    """Add the stream's name to an error that names neither a stream nor a setting."""
    try:
        yield
    except Stopped:
        raise
    except MartechError as error:
        if "stream '" in str(error) or "setting '" in str(error):
            raise
        raise MartechError(f"stream '{stream}': {error}") from error


@contextmanager
def _released(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """Close a generator at the end, to release its files and threads."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


class ChunkedStream(Stream, ABC):
    """A stream that is read in chunks."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    _tap: MartechTap

    def __init__(self, tap: MartechTap, schema: dict[str, Any], name: str) -> None:
        super().__init__(tap, schema=schema, name=name)
        self._synced_by_group = False
        self._schema_written = False

    @abstractmethod
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        """Yield the chunks to read in this run, in the order in which bookmarks move.

        Args:
            streams: The streams to read: this one, or those of :meth:`synced_together`.
        """

    @abstractmethod
    def chunk_written(self, chunk: Chunk) -> None:
        """Move the bookmark past ``chunk``, which is completely written."""

    def synced_together(self) -> Sequence[ChunkedStream]:
        """Return this stream and the selected streams that are read together with it."""
        return (self,)

    @property
    def passes_unchanged(self) -> bool:
        """Whether records are written as read, so that they may be encoded in bulk.

        Selection, stream maps, flattening and another message writer prevent that.
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
        for chunk in self.chunks((self,)):
            yield from chunk.records()

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Return None: each chunk has its own bookmark."""

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        # sync() logs every failure as unhandled; the command logs the reason
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
        del context, write_messages
        if self._synced_by_group:
            self._synced_by_group = self._schema_written = False
            return
        try:
            with error_context(self.name):
                if self.ABORT_AT_RECORD_COUNT is None:
                    self._sync_group(self.synced_together())
                else:
                    yield from self._one_by_one()
        finally:
            self._schema_written = False
            self._flush()

    @override
    def _sync_batches(self, batch_config: BatchConfig, context: Context | None = None) -> None:
        del batch_config
        for _ in self._sync_records(context):
            pass

    def _sync_group(self, streams: Sequence[ChunkedStream]) -> None:
        """Write all chunks of ``streams``."""
        encoded_streams = self._begin(streams)
        with ExitStack() as stack:
            counters = {
                stream.name: stack.enter_context(stream.get_record_counter()) for stream in streams
            }
            stack.enter_context(self.get_sync_timer())
            batches = self._batch_writer(stack)
            for chunk in stack.enter_context(_released(self.chunks(streams))):
                self._write_chunk(chunk, encoded_streams, counters, batches)

    def _begin(self, streams: Sequence[ChunkedStream]) -> set[str]:
        """Write the SCHEMA messages; return the streams that accept encoded records."""
        encoded_streams = {stream.name for stream in streams if stream.passes_unchanged}
        for stream in streams:
            stream._synced_by_group = stream is not self  # noqa: SLF001 - streams of one kind
            stream._write_schema_message()  # noqa: SLF001
        return encoded_streams

    def _write_chunk(
        self,
        chunk: Chunk,
        encoded_streams: Collection[str],
        counters: Mapping[str, Counter],
        batches: BatchWriter | None,
    ) -> None:
        with _released(chunk.parts(encoded_streams)) as parts:
            for stream, part in parts:
                self._tap.shutdown.check()
                count = stream._write_part(part, chunk, batches)  # noqa: SLF001
                counters[stream.name].increment(count)
        if batches is not None:
            batches.announce()  # STATE must not precede the records
        self._finish(chunk)
        self._write_state_message()
        self._flush()

    def _batch_writer(self, stack: ExitStack) -> BatchWriter | None:
        settings = self.config.get("batch_config")
        if not settings:
            return None
        writer = BatchWriter(self._tap.name, settings, self._tap.write_message)
        stack.callback(writer.close)
        return writer

    def _one_by_one(self) -> Iterator[Record]:
        """Write this stream's records until a connection test has enough of them."""
        count = 0
        self.state_manager.is_flushed = True  # the SDK writes a STATE at the limit
        with _released(self.chunks((self,))) as chunks:
            for chunk in chunks:
                for record in chunk.records():
                    self._tap.shutdown.check()
                    self._check_max_record_limit(count)
                    count += 1
                    self._write_records([record], chunk)
                    yield record
                self._finish(chunk)
        self._write_state_message()

    def _write_part(
        self,
        part: EncodedRecords | Iterable[Record],
        chunk: Chunk,
        batches: BatchWriter | None = None,
    ) -> int:
        """Write a part of a chunk and return its number of records."""
        writer = self._tap.message_writer
        if not isinstance(part, EncodedRecords):
            return self._write_records(part, chunk, batches)
        if batches is not None:
            batches.write(self.name, part.text, part.count)
        elif isinstance(writer, MessageWriter):
            writer.write_records(self.name, part.text, chunk.extracted_at)
        return part.count

    def _write_records(
        self, records: Iterable[Record], chunk: Chunk, batches: BatchWriter | None = None
    ) -> int:
        count = 0
        for record in records:
            count += 1
            for message in self._generate_record_messages(record):
                if batches is not None:
                    batches.write(
                        message.stream, encode_records([message.record]), 1, message.version
                    )
                else:
                    message.time_extracted = chunk.extracted_at
                    self._tap.write_message(message)
        return count

    @override
    def _generate_record_messages(self, record: Record) -> Generator[RecordMessage, None, None]:
        if not any(isinstance(each, CustomStreamMap) for each in self.stream_maps):
            yield from super()._generate_record_messages(record)
            return
        try:
            check_magnitudes(record)
            yield from super()._generate_record_messages(record)
        except Exception as error:  # an expression of the user may fail in any way
            raise MartechError(
                f"setting 'stream_maps': stream '{self.name}': a record cannot be mapped "
                f"({type(error).__name__}: {error}); correct the expression, or remove it"
            ) from error

    def _finish(self, chunk: Chunk) -> None:
        for stream in chunk.streams:
            if stream.replication_method != "FULL_TABLE":
                stream.chunk_written(chunk)
            stream.state_manager.is_flushed = False

    def _flush(self) -> None:
        if isinstance(self._tap.message_writer, MessageWriter):
            self._tap.message_writer.flush()
