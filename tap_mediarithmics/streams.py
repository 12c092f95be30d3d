"""The tap's streams: one for each export that is read, and two about exports themselves."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.singer.stream import Chunk, ChunkedStream, error_context
from tap_mediarithmics import timestamps
from tap_mediarithmics.bookmarks import (
    EXECUTION_DATE,
    MaxValue,
    after_execution,
    execution_entry,
    now,
)
from tap_mediarithmics.coercion import kind_of
from tap_mediarithmics.export_config import ADDED_COLUMNS
from tap_mediarithmics.modes import Cursor, new_executions
from tap_mediarithmics.record_decoder import EXTRA, NotAnObject, RecordDecoder
from tap_mediarithmics.remedies import unknown_keys
from tap_mediarithmics.result_chunk import ResultChunk
from tap_mediarithmics.result_files import ResultFiles
from tap_mediarithmics.result_schema import any_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from singer_sdk.helpers.types import Record

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Export
    from singer_martech.singer.plugin import MartechTap
    from singer_martech.singer.stream import EncodedRecords
    from tap_mediarithmics.context import OrganisationContext
    from tap_mediarithmics.export_source import ExportSource

logger = logging.getLogger(__name__)

_TEXT = {"type": ["string", "null"]}
_INTEGER = {"type": ["integer", "null"]}
_BOOLEAN = {"type": ["boolean", "null"]}
_INSTANT = {"type": ["string", "null"], "format": "date-time"}
_OBJECT = {"type": ["object", "null"]}
_WEEK = 7 * 24 * 3600 * 1000


class ResultStream(ChunkedStream):
    """The lines of an export's results; a unit is the result of one execution."""

    def __init__(self, tap: MartechTap, source: ExportSource, context: OrganisationContext) -> None:
        """Make a stream; its columns are found out when they are needed."""
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
        # a catalog that was discovered before decides; then nobody has to be asked again
        return self._input_schema or self._discovered_schema

    @cached_property
    def record_decoder(self) -> RecordDecoder:
        """What reads this stream's lines."""
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
        config = self._source.config
        start = None
        if config.is_incremental:
            start = self.max_value().start(
                self._context.start, config.lookback_seconds, config.start_format
            )
        after = after_execution(self._bookmark, self._context.start)
        with error_context(self.name):
            for execution in self._source.executions(after, start):
                self._show_losses(execution)
                export = self._source.export
                if export is not None:
                    files = ResultFiles(self._context.exports, export.id, execution, self._inspect)
                    yield ResultChunk(
                        self, files, self.record_decoder, self.max_value(execution), execution
                    )

    def _show_losses(self, execution: Execution) -> None:
        """Log the tasks that failed within an execution that succeeded.

        Raises:
            MartechError: They are more than the stream allows.
        """
        failed = execution.tasks("erroneous") or 0
        if not failed:
            return
        total = execution.tasks("num") or failed + (execution.tasks("completed") or 0)
        ratio = failed / total
        line = (
            f"execution {execution.id}: {failed} of {total} tasks failed "
            f"({ratio:.2%}), so lines may be missing from its result"
        )
        allowed = self._source.config.error_allowance
        if allowed is not None and ratio > allowed:
            message = (
                f"stream '{self.name}': {line}; that is more than max_error_ratio ({allowed:g}); "
                "run the export again, or raise max_error_ratio"
            )
            raise MartechError(message)
        logger.warning("stream %s: %s", self.name, line)

    @override
    def chunk_written(self, chunk: Chunk) -> None:
        if isinstance(chunk, ResultChunk):
            chunk.max_value.write(self.stream_state)
            self.stream_state["execution"] = execution_entry(chunk.execution)


class _ObjectsChunk(Chunk):
    """A few objects of the API itself."""

    def __init__(self, stream: ChunkedStream, records: Iterable[Record], entry: Any = None) -> None:
        self.streams = (stream,)
        self.extracted_at = now()
        self.entry = entry
        self._records = records

    @override
    def parts(
        self, encoded_streams: Collection[str]
    ) -> Iterator[tuple[ChunkedStream, EncodedRecords | Iterable[Record]]]:
        yield self.streams[0], self._records


class _ObjectStream(ChunkedStream):
    """A stream of the API's own objects, with fixed columns."""

    selected_by_default = False
    columns: dict[str, Any]

    def __init__(self, tap: MartechTap, context: OrganisationContext) -> None:
        """Make the stream."""
        properties = {**self.columns, EXTRA: _OBJECT}
        super().__init__(tap, schema={"type": "object", "properties": properties}, name=self.name)
        self.primary_keys = ("id",)
        self._context = context
        self._reader = RecordDecoder(self.columns)


class ExportsStream(_ObjectStream):
    """The definitions of the organisation's exports."""

    name = "exports"
    columns = {  # noqa: RUF012 - as the SDK has it
        "id": {"type": "string"},
        "name": _TEXT,
        "type": _TEXT,
        "organisation_id": _TEXT,
        "datamart_id": _TEXT,
        "query_id": _TEXT,
        "output_format": _TEXT,
    }

    @override
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        exports = self._context.all_exports
        yield _ObjectsChunk(self, [self._reader.from_object(each.fields) for each in exports])

    @override
    def chunk_written(self, chunk: Chunk) -> None:
        """Keep no bookmark: the table is read whole each time."""


class ExportExecutionsStream(_ObjectStream):
    """The executions of all exports; a unit is what is new of one export.

    An execution that has not ended is read again by later runs, so its bookmark, kept for
    each export, stays before it (for a week: what has not ended by then never will).
    """

    name = "export_executions"
    columns = {  # noqa: RUF012 - as the SDK has it
        "id": {"type": "string"},
        "export_id": {"type": "string"},
        "status": _TEXT,
        "creation_date": {"type": "string", "format": "date-time"},
        "start_date": _INSTANT,
        "end_date": _INSTANT,
        "duration": _INTEGER,
        "organisation_id": _TEXT,
        "user_id": _TEXT,
        "job_type": _TEXT,
        "num_tasks": _INTEGER,
        "completed_tasks": _INTEGER,
        "erroneous_tasks": _INTEGER,
        "retry_count": _INTEGER,
        "is_retryable": _BOOLEAN,
        "cancel_status": _TEXT,
        "permalink_uri": _TEXT,
        "parameters": _OBJECT,
        "result": _OBJECT,
        "error": _TEXT,
        "debug": _TEXT,
    }

    def __init__(self, tap: MartechTap, context: OrganisationContext) -> None:
        """Make the stream."""
        super().__init__(tap, context)
        self.replication_key = "creation_date"

    @override
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        for export in self._context.all_exports:
            pages = new_executions(self._context.exports, export.id, self._after(export))
            executions = sorted(
                (execution for page in pages for execution in page),
                key=lambda execution: execution.position,
            )
            if executions:
                records = [self._record(export, execution) for execution in executions]
                yield _ObjectsChunk(self, records, (export.id, _last_settled(executions)))

    def _after(self, export: Export) -> Cursor:
        if self.replication_method == "FULL_TABLE":
            return Cursor(start=self._context.start)
        entries = self.stream_state.get("exports")
        if isinstance(entries, dict):
            entry = {"execution": entries.get(export.id)}
            return after_execution(entry, self._context.start)
        return after_execution(self.stream_state, self._context.start, "creation_date")

    def _record(self, export: Export, execution: Execution) -> Record:
        return self._reader.from_object({**execution.fields, "export_id": export.id})

    @override
    def chunk_written(self, chunk: Chunk) -> None:
        if not isinstance(chunk, _ObjectsChunk) or chunk.entry is None:
            return
        export_id, settled = chunk.entry
        state = self.stream_state
        state["replication_key"] = self.replication_key
        entries = state.get("exports")
        if not isinstance(entries, dict):
            entries = {}
        if settled is not None:
            entries[export_id] = execution_entry(settled)
            newest = timestamps.date_time(settled.created)
            state["replication_key_value"] = max(state.get("replication_key_value", ""), newest)
        state["exports"] = entries


def _last_settled(executions: Sequence[Execution]) -> Execution | None:
    """Return the newest execution before the oldest that may still change."""
    oldest_running = timestamps.milliseconds(now()) - _WEEK
    settled = None
    for execution in executions:
        if not execution.has_ended and execution.created > oldest_running:
            break
        settled = execution
    return settled
