"""A document import as a destination: one execution for each batch."""

from __future__ import annotations

import logging
import threading
from typing import IO, TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.batch_result import UnidentifiedRejects
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from singer_martech.delivery.spooled_batch import SpooledBatch, SpooledRecords
from singer_martech.errors import MartechError
from singer_martech.http.errors import HttpError, NotFound
from singer_martech.mediarithmics.import_results import ImportResult
from singer_martech.mediarithmics.imports import CSV
from singer_martech.runtime.redaction import redacted_head
from target_mediarithmics import csv_rows
from target_mediarithmics.error_file import failed_lines, head_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.imports import Definition, DocumentImport, DocumentImports
    from singer_martech.mediarithmics.uploads import Uploads

logger = logging.getLogger(__name__)

_PREVIEW_BYTES = 12_000
_MAX_IDENTIFIERS = 10
_SHOWN_CHARACTERS = 300


class ImportDestination(Destination):
    """One document import, shared by all streams that are loaded into it.

    Args:
        imports: The datamart's imports.
        uploads: Sends executions and waits for them.
        wanted: The definition; the first upload creates the import if there is none.
        found: The import, if it exists.
        columns: The columns of a CSV import.
        max_rows: See :class:`singer_martech.delivery.destination.Destination`.
        max_bytes: See there.
        wait: Whether an execution must succeed before its documents count as delivered.
    """

    def __init__(  # noqa: PLR0913 - each is a separate part
        self,
        imports: DocumentImports,
        uploads: Uploads,
        *,
        wanted: Definition,
        found: DocumentImport | None,
        columns: Sequence[str] | None,
        max_rows: int,
        max_bytes: int,
        wait: bool,
    ) -> None:
        self._imports = imports
        self._uploads = uploads
        self._wanted = wanted
        self._import = found
        self._create_lock = threading.Lock()
        self._bisector = Bisector("'document_type' and 'mime_type' of the mapping in 'streams'")
        self._wait = wait
        self.name = str(found) if found else f"document import '{wanted.name}' (not created yet)"
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self._columns = columns
        self._header = csv_rows.header(columns) if columns is not None else b""
        self.envelope_bytes = len(self._header)

    @property
    def import_name(self) -> str:
        """The name of the import, which stays the same when its columns change."""
        return self._wanted.name

    def is_same_import(self, found: DocumentImport | None, wanted: Definition) -> bool:
        """Whether this destination loads an import that exists, or is to be created."""
        if found is not None and self._import is not None:
            return found.id == self._import.id
        return wanted.name == self._wanted.name

    def accepts(self, wanted: Definition, columns: Sequence[str] | None) -> bool:
        """Whether documents of such a stream can share its executions."""
        return (self._wanted.document_type, self._wanted.mime_type, self._columns) == (
            wanted.document_type,
            wanted.mime_type,
            columns,
        )

    @override
    def open_batch(self) -> Batch:
        return SpooledBatch(self, self._header)

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        size, parts = 0, [self._header]
        for record in records:
            parts.append(record.body + b"\n")
            size += len(parts[-1])
            if size > _PREVIEW_BYTES:
                break
        body = b"".join(parts).decode("utf-8", "replace")
        return f"POST an execution of {self.name}, {self._wanted.document_type}: {body}"

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        with self._create_lock:
            if self._import is None:
                self._import = self._imports.find_or_create(self._wanted)
                self.name = str(self._import)
        into = self._import

        def post(records: Sequence[PendingRecord], *, idempotent: bool) -> None:
            del idempotent  # uploads handle this: they look for a lost upload before they repeat it
            if not isinstance(records, SpooledRecords):
                raise TypeError(type(records).__name__)
            self.upload(into, records, batch_result)

        self._bisector.send(batch, batch_result, post)

    def upload(
        self, into: DocumentImport, records: SpooledRecords, batch_result: BatchResult
    ) -> None:
        """Upload documents and, if ``wait`` is set, wait for their execution.

        Raises:
            BodyRejected: The upload was rejected for its content.
            PartialRejection: The execution succeeded, but not for all lines.
            MartechError: The run cannot continue.
        """
        execution = self._create_execution(into, records, batch_result)
        if not self._wait:
            return
        try:
            execution = self._uploads.wait(into, execution)
        except HttpError as error:
            # this concerns the execution; the documents were accepted and must not be sent again
            message = f"{error}; execution {execution.id} of {into} continues at the vendor"
            raise MartechError(message) from error
        result = ImportResult.of(execution)
        _warn(into, execution, result, len(records))
        if result.failure:
            raise self._partial_rejection(into, execution, result, records)

    def _create_execution(
        self, into: DocumentImport, records: SpooledRecords, batch_result: BatchResult
    ) -> Execution:
        rows = len(records)
        # whether the vendor counts a header as a line is not documented
        counts = {rows, rows + 1} if self._wanted.mime_type == CSV else {rows}
        try:
            with records.open_body() as body:
                return self._uploads.upload(into, body, counts, batch_result.stats)
        except NotFound as error:
            raise MartechError(
                f"{error}; {into} does not exist any more: check 'document_import_id' or "
                "'document_import_name' in 'streams'"
            ) from error

    def _partial_rejection(
        self,
        into: DocumentImport,
        execution: Execution,
        result: ImportResult,
        records: SpooledRecords,
    ) -> PartialRejection:
        """Match failed lines to records; lines that the error file does not name are counted."""
        count = min(result.failure or 0, len(records))
        file = self._error_file(into, execution, result)
        found: dict[int, str] = {}
        if file is not None:
            found = failed_lines(file, records, count, has_header=bool(self._header))
        label = f"execution {execution.id} of {into}"
        reasons = {index: f"{reason} ({label})" for index, reason in found.items()}
        message = f"{label}: {count} of {len(records)} lines failed"
        unknown = count - len(found)
        if not unknown:
            if file is not None:
                file.close()
            return PartialRejection(message, reasons, None)
        detail = "there is no error file"
        if file is not None:
            detail = f"the error file begins: {head_of_file(file)}"
        reason = f"{label} does not say which {unknown} of its {len(records)} lines failed"
        unidentified = UnidentifiedRejects(unknown, reason, detail, execution.id, file)
        return PartialRejection(message, reasons, None, unidentified)

    def _error_file(
        self, into: DocumentImport, execution: Execution, result: ImportResult
    ) -> IO[bytes] | None:
        if result.error_file_uri is None:
            return None
        try:
            return self._uploads.error_file(execution, result.error_file_uri)
        except HttpError as error:
            logger.warning("%s; the failed lines of %s are unknown", error, into)
            return None


def _warn(into: DocumentImport, execution: Execution, result: ImportResult, rows: int) -> None:
    """Log the warnings of a successful execution."""
    label = f"execution {execution.id} of {into}"
    if result.failure is None:
        logger.warning("%s succeeded, but does not say how many lines failed", label)
    elif result.success is not None and result.success + result.failure < rows:
        logger.warning("%s counts %d of %d lines", label, result.success + result.failure, rows)
    if result.suspicious:
        logger.warning(
            "%s has a possible issue on identifiers; the most frequent: %s",
            label,
            _most_frequent(result.top_identifiers),
        )


def _most_frequent(identifiers: object) -> str:
    if isinstance(identifiers, dict):
        entries = list(identifiers.items())[:_MAX_IDENTIFIERS]
        identifiers = ", ".join(f"{name}: {count}" for name, count in entries)
    return redacted_head(str(identifiers), _SHOWN_CHARACTERS)
