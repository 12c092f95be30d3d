"""The streams of results: one for each export that is read."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.singer.stream import ChunkedStream, error_context
from tap_mediarithmics.bookmarks import (
    EXECUTION_DATE,
    MaxValue,
    after_execution,
    execution_entry,
)
from tap_mediarithmics.coercion import kind_of
from tap_mediarithmics.export_config import ADDED_COLUMNS
from tap_mediarithmics.record_decoder import EXTRA, NotAnObject, RecordDecoder
from tap_mediarithmics.remedies import unknown_keys
from tap_mediarithmics.result_chunk import ResultChunk
from tap_mediarithmics.result_files import ResultFiles
from tap_mediarithmics.result_schema import any_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.singer.stream import Chunk
    from singer_martech.singer.tap import MartechTap
    from tap_mediarithmics.context import OrganisationContext
    from tap_mediarithmics.export_source import ExportSource

logger = logging.getLogger(__name__)

_OBJECT = {"type": ["object", "null"]}


class ResultStream(ChunkedStream):
    """The lines of an export's results. A chunk is the result of one execution."""

    def __init__(self, tap: MartechTap, source: ExportSource, context: OrganisationContext) -> None:
        """Create the stream. Its columns are discovered when they are needed."""
        self._source = source
        self._context = context
        self._warnings: set[str] = set()
        config = source.config
        super().__init__(tap, schema={}, name=config.stream)
        self.primary_keys = config.primary_keys or ("_execution_id", "_line")
        self.bookmark_key = config.replication_key or EXECUTION_DATE
        self.replication_key = self.bookmark_key

    @cached_property
    def _discovered_schema(self) -> dict[str, Any]:
        with error_context(self.name):
            found = self._source.columns()
            if found:
                self._warn_of_unknown_keys(found)
        return self._schema_with(found)

    def _schema_with(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of records with these columns, the keys and those of the tap."""
        columns = {
            name: schema for name, schema in found.items() if name not in {*ADDED_COLUMNS, EXTRA}
        }
        for key in (*self.primary_keys, self.bookmark_key):
            if key not in ADDED_COLUMNS:
                columns.setdefault(key, any_json())
        columns["_execution_id"] = {"type": "string"}
        columns[EXECUTION_DATE] = {"type": "string", "format": "date-time"}
        columns["_line"] = {"type": "integer"}
        columns[EXTRA] = _OBJECT
        return {"type": "object", "properties": columns}

    def _inspect(self, lines: list[bytes]) -> None:
        """Look for the keys in the first lines of a result."""
        names: set[str] = set()
        for line in lines:
            with suppress(NotAnObject):
                names.update(self.record_decoder.fields(line))
        columns = self.effective_schema.get("properties", {})
        typed = {name for name, schema in columns.items() if schema != any_json()}
        if names:
            self._warn_of_unknown_keys(names | typed)

    def _warn_of_unknown_keys(self, columns: Collection[str]) -> None:
        for line in unknown_keys(self._source.config, columns):
            if line not in self._warnings:
                logger.warning("%s", line)
            self._warnings.add(line)

    @property
    @override
    def schema(self) -> dict[str, Any]:
        # The catalog of an earlier discovery takes precedence, and saves the requests.
        return self._input_schema or self._discovered_schema

    @cached_property
    def record_decoder(self) -> RecordDecoder:
        """The decoder of this stream's lines."""
        columns = self.effective_schema.get("properties", {})
        return RecordDecoder(
            {name: schema for name, schema in columns.items() if name not in ADDED_COLUMNS}
        )

    def max_value(self, execution: Execution | None = None) -> MaxValue:
        """Return the bookmark, to be raised by the values of an execution's result."""
        columns = self.effective_schema.get("properties", {})
        kind = kind_of(columns.get(self.bookmark_key, {}))
        latest = None if execution is None else execution.created
        return MaxValue(self.name, self.bookmark_key, kind, self._bookmark, latest)

    @property
    def _bookmark(self) -> dict[str, Any]:
        return {} if self.replication_method == "FULL_TABLE" else self.stream_state

    @override
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        start = self._start()
        after = after_execution(self._bookmark, self._context.start)
        with error_context(self.name):
            for execution in self._source.executions(after, start):
                self._report_failed_tasks(execution)
                export = self._source.export
                if export is not None:
                    yield self._chunk(export.id, execution)

    def _start(self) -> str | None:
        """Return what replaces ``{start}`` in the query, or None without it."""
        config = self._source.config
        if not config.is_incremental:
            return None
        return self.max_value().start(
            self._context.start, config.lookback_seconds, config.start_format
        )

    def _chunk(self, export_id: str, execution: Execution) -> ResultChunk:
        files = ResultFiles(self._context.exports, export_id, execution, self._inspect)
        return ResultChunk(self, files, self.record_decoder, self.max_value(execution), execution)

    def _report_failed_tasks(self, execution: Execution) -> None:
        """Log the failed tasks of an execution that succeeded."""
        failed = execution.tasks("erroneous") or 0
        if not failed:
            return
        total = execution.tasks("num") or failed + (execution.tasks("completed") or 0)
        ratio = failed / total
        line = (
            f"execution {execution.id}: {failed} of {total} task{'s' if total != 1 else ''} failed "
            f"({ratio:.2%}), so lines may be missing from its result"
        )
        allowed = self._source.config.error_allowance
        if allowed is not None and ratio > allowed:
            raise MartechError(
                f"stream '{self.name}': {line}; that is more than max_error_ratio ({allowed:g}); "
                "run the export again, or raise max_error_ratio"
            )
        logger.warning("stream %s: %s", self.name, line)

    @override
    def chunk_written(self, chunk: Chunk) -> None:
        if isinstance(chunk, ResultChunk):
            chunk.max_value.write(self.stream_state)
            self.stream_state["execution"] = execution_entry(chunk.execution)
