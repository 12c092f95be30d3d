"""The streams about exports themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.singer.stream import Chunk, ChunkedStream
from singer_martech.values.timestamps import epoch_ms
from tap_mediarithmics import timestamps
from tap_mediarithmics.bookmarks import after_execution, execution_entry, now
from tap_mediarithmics.modes import Cursor, new_executions
from tap_mediarithmics.record_decoder import EXTRA, RecordDecoder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from singer_sdk.helpers.types import Record

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Export
    from singer_martech.singer.stream import EncodedRecords
    from singer_martech.singer.tap import MartechTap
    from tap_mediarithmics.context import OrganisationContext

_TEXT = {"type": ["string", "null"]}
_INTEGER = {"type": ["integer", "null"]}
_BOOLEAN = {"type": ["boolean", "null"]}
_DATE_TIME = {"type": ["string", "null"], "format": "date-time"}
_OBJECT = {"type": ["object", "null"]}
_WEEK = 7 * 24 * 3600 * 1000


class _ObjectsChunk(Chunk):
    """Objects of the API, read at once."""

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
        """Keep no bookmark: all exports are read each time."""


class ExportExecutionsStream(_ObjectStream):
    """The executions of all exports. A chunk holds the new executions of one export.

    An execution that has not ended is read again by later runs: the bookmark of its export
    stays before it, for at most a week.
    """

    name = "export_executions"
    columns = {  # noqa: RUF012 - as the SDK has it
        "id": {"type": "string"},
        "export_id": {"type": "string"},
        "status": _TEXT,
        "creation_date": {"type": "string", "format": "date-time"},
        "start_date": _DATE_TIME,
        "end_date": _DATE_TIME,
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
        super().__init__(tap, context)
        self.replication_key = "creation_date"

    @override
    def chunks(self, streams: Sequence[ChunkedStream]) -> Iterator[Chunk]:
        for export in self._context.all_exports:
            executions = new_executions(self._context.exports, export.id, self._after(export))
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
    oldest_running = epoch_ms(now()) - _WEEK
    settled = None
    for execution in executions:
        if not execution.has_ended and execution.created > oldest_running:
            break
        settled = execution
    return settled
