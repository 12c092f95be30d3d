"""The result of one execution as a chunk of records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.singer.stream import Chunk, EncodedRecords, error_context
from singer_martech.singer.writer import encode_record
from tap_mediarithmics import timestamps
from tap_mediarithmics.bookmarks import EXECUTION_DATE, now
from tap_mediarithmics.record_decoder import NotAnObject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from singer_sdk.helpers.types import Record

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.singer.stream import ChunkedStream
    from tap_mediarithmics.bookmarks import MaxValue
    from tap_mediarithmics.record_decoder import RecordDecoder
    from tap_mediarithmics.result_files import ResultFiles


class ResultChunk(Chunk):
    """The result of one execution. It is completely on disk before its first record is read."""

    def __init__(
        self,
        stream: ChunkedStream,
        files: ResultFiles,
        decoder: RecordDecoder,
        max_value: MaxValue,
        execution: Execution,
    ) -> None:
        self.streams = (stream,)
        self.execution = execution
        self.extracted_at = now()
        self.max_value = max_value
        self._stream = stream
        self._files = files
        self._decoder = decoder
        self._added = {
            "_execution_id": execution.id,
            EXECUTION_DATE: timestamps.date_time(execution.created),
        }
        self._key = None if max_value.key in self._added else max_value.key
        self._line = 0

    @override
    def parts(
        self, encoded_streams: Collection[str]
    ) -> Iterator[tuple[ChunkedStream, EncodedRecords | Iterable[Record]]]:
        try:
            yield from self._downloaded_parts(encoded_streams)
            if self._key is None:
                self.max_value.add(self._added[self.max_value.key])
            self.max_value.warn_of_ignored()
        finally:
            self._files.close()

    def _downloaded_parts(
        self, encoded_streams: Collection[str]
    ) -> Iterator[tuple[ChunkedStream, EncodedRecords | Iterable[Record]]]:
        with error_context(self._stream.name):
            self._files.download()
            self.extracted_at = now()
            for lines in self._files.blocks():
                if self._stream.name in encoded_streams:
                    yield self._stream, self._encoded(lines)
                else:
                    yield self._stream, self._records(lines)

    def _records(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            self._line += 1
            if line and not line.isspace():
                yield self._record(line)

    def _record(self, line: bytes) -> Record:
        try:
            record = self._decoder.record(line)
        except NotAnObject as error:
            raise MartechError(
                f"stream '{self._stream.name}': line {self._line} of the result of {self._files} "
                f"cannot be read: {error}; none of its lines count as read"
            ) from error
        if self._key is not None:
            self.max_value.add(record.get(self._key))
        return {**record, **self._added, "_line": self._line}

    def _encoded(self, lines: list[bytes]) -> EncodedRecords:
        """Encode lines as records."""
        added = b"".join(b"%s:%s," % (_json(k), _json(v)) for k, v in self._added.items())
        added += b'"_line":'
        key = self._key
        rewrite = self._decoder.rewrite
        records = []
        for line in lines:
            self._line += 1
            rewritten = rewrite(line, key)
            if rewritten is not None:
                fields, value = rewritten
                if value is not None:
                    self.max_value.add(value)
                fields = fields[:-1] + b"," if len(fields) > len(b"{}") else b"{"
                records.append(b"%s%s%d}\n" % (fields, added, self._line))
            elif line and not line.isspace():
                records.append(encode_record(self._record(line)) + b"\n")
        return EncodedRecords(b"".join(records), len(records))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
