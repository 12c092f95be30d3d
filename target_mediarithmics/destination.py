"""A document import as the way for documents: an execution for each batch."""

from __future__ import annotations

import logging
import threading
from typing import IO, TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.delivery.batch_result import UnidentifiedRejects
from singer_martech.delivery.destination import Destination
from singer_martech.delivery.spooled_batch import SpooledBatch
from singer_martech.http.errors import BodyRejected, HttpError
from singer_martech.mediarithmics.import_results import ImportResult
from singer_martech.mediarithmics.imports import CSV
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

_MAX_INITIAL_REJECTIONS = 8
_PREVIEW_BYTES = 12_000


class ImportDestination(Destination):
    """One document import; all streams that it takes share it.

    Args:
        imports: The datamart's imports.
        uploads: Sends and follows executions.
        wanted: What the import is; it is created with the first upload if need be.
        found: The import, if it exists.
        columns: Of a CSV import, the columns.
        max_rows: See :class:`singer_martech.delivery.batch.Destination`.
        max_bytes: Likewise.
        wait: Whether an execution must succeed before its documents count as delivered.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
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
        """Send nothing yet."""
        self._imports = imports
        self._uploads = uploads
        self._wanted = wanted
        self._import = found
        self._creating = threading.Lock()
        self._wait = wait
        self.name = str(found) if found else f"document import '{wanted.name}' (not created yet)"
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self._columns = columns
        self._head = csv_rows.header(columns) if columns is not None else b""
        self.envelope_bytes = len(self._head)

    def leads_to(self, found: DocumentImport | None, wanted: Definition) -> bool:
        """Tell whether this is the way into an import, which may have to be created."""
        if found is not None and self._import is not None:
            return found.id == self._import.id
        return wanted.name == self._wanted.name

    def takes(self, wanted: Definition, columns: Sequence[str] | None) -> bool:
        """Tell whether documents of such a stream may share its executions."""
        mine, other = self._wanted, wanted
        return (mine.document_type, mine.mime_type, self._columns) == (
            other.document_type,
            other.mime_type,
            columns,
        )

    @override
    def open_batch(self) -> Batch:
        return SpooledBatch(self, self._head)

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        size, parts = 0, [self._head]
        for record in records:
            parts.append(record.body + b"\n")
            size += len(parts[-1])
            if size > _PREVIEW_BYTES:
                break
        body = b"".join(parts).decode("utf-8", "replace")
        return f"POST an execution of {self.name}, {self._wanted.document_type}: {body}"

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        if not isinstance(batch, SpooledBatch):
            raise TypeError(type(batch).__name__)
        with self._creating:
            if self._import is None:
                self._import = self._imports.find_or_create(self._wanted)
                self.name = str(self._import)
        _Delivery(self, self._import, batch, batch_result).send(0, len(batch))

    def mark_delivered(
        self, into: DocumentImport, body: IO[bytes], rows: int, batch_result: BatchResult
    ) -> Execution:
        """Upload documents and wait for their execution, if it is to be waited for."""
        # whether the vendor counts a header as a line is not documented
        counts = {rows, rows + 1} if self._wanted.mime_type == CSV else {rows}
        execution = self._uploads.upload(into, body, counts, batch_result.stats)
        if not self._wait:
            return execution
        execution = self._uploads.wait(into, execution)
        _warn(into, execution, rows)
        return execution

    def failures(self, into: DocumentImport, execution: Execution) -> _Failures | None:
        """Return what an execution says of failed lines; None where none failed."""
        result = ImportResult.of(execution)
        if not self._wait or not result.failure:
            return None
        file = None
        if result.error_file_uri:
            try:
                file = self._uploads.error_file(execution, result.error_file_uri)
            except HttpError as error:
                logger.warning("%s; the failed lines of %s cannot be told", error, into)
        return _Failures(result.failure, file)


class _Failures:
    """Failed lines: their number, and the vendor's file about them."""

    def __init__(self, count: int, file: IO[bytes] | None) -> None:
        self.count = count
        self.file = file


class _Delivery:
    """One batch on its way: whole, or in parts where the vendor refuses it whole."""

    def __init__(
        self,
        destination: ImportDestination,
        into: DocumentImport,
        batch: SpooledBatch,
        batch_result: BatchResult,
    ) -> None:
        self._destination = destination
        self._import = into
        self._batch = batch
        self._batch_result = batch_result
        self._after_error_status = 0
        self._taken = 0

    def send(self, start: int, end: int) -> None:
        """Send the records of these places.

        Raises:
            MartechError: The run cannot go on.
        """
        raw_json = (start, end) == (0, len(self._batch))
        body = self._batch.body() if raw_json else self._batch.part(start, end)
        try:
            execution = self._destination.mark_delivered(
                self._import, body, end - start, self._batch_result
            )
        except BodyRejected as rejection:
            self._split(start, end, rejection)
            return
        finally:
            if not raw_json:
                body.close()
        self._taken += 1
        failures = self._destination.failures(self._import, execution)
        rejected = self._reject(failures, execution, start, end) if failures else set()
        if rejected is not None and not raw_json:
            records = (self._batch.record(index) for index in range(start, end))
            self._batch_result.mark_delivered(
                record for record in records if record.sequence not in rejected
            )

    def _split(self, start: int, end: int, rejection: BodyRejected) -> None:
        """Find the documents for which an upload is refused."""
        if end - start > 1:
            middle = (start + end) // 2
            self.send(start, middle)
            self.send(middle, end)
            return
        self._after_error_status += 1
        if not self._taken and self._after_error_status >= _MAX_INITIAL_REJECTIONS:
            raise rejection  # it is not about the documents
        self._batch_result.reject(self._batch.record(start), str(rejection), rejection.status)

    def _reject(
        self, failures: _Failures, execution: Execution, start: int, end: int
    ) -> set[int] | None:
        """Reject failed lines; return their sequences, or None where not all are known."""
        count = min(failures.count, end - start)
        lines = _Part(self._batch, start, end)
        found: dict[int, str] = {}
        if failures.file is not None:
            has_header = self._destination.envelope_bytes > 0
            found = failed_lines(failures.file, lines, count, has_header=has_header)
        where = f"execution {execution.id} of {self._import}"
        for index, reason in found.items():
            self._batch_result.reject(self._batch.record(start + index), f"{reason} ({where})")
        left = count - len(found)
        if left:
            detail = "there is no error file"
            if failures.file is not None:
                detail = f"the error file begins: {head_of_file(failures.file)}"
            reason = f"{where} does not say which {left} of its {end - start} lines failed"
            self._batch_result.unidentified.append(
                UnidentifiedRejects(left, reason, detail, execution.id, failures.file)
            )
            return None
        if failures.file is not None:
            failures.file.close()
        return {self._batch.sequence(start + index) for index in found}


class _Part:
    """Some lines of a batch, counted from 0."""

    def __init__(self, batch: SpooledBatch, start: int, end: int) -> None:
        self._batch = batch
        self._start = start
        self._end = end

    def __len__(self) -> int:
        return self._end - self._start

    def line(self, index: int) -> bytes:
        return self._batch.line(self._start + index)


def _warn(into: DocumentImport, execution: Execution, rows: int) -> None:
    """Log what a successful execution says beside the failed lines."""
    result = ImportResult.of(execution)
    where = f"execution {execution.id} of {into}"
    if result.failure is None:
        logger.warning("%s succeeded, but does not say how many lines failed", where)
    elif result.success is not None and result.success + result.failure < rows:
        logger.warning("%s counts %d of %d lines", where, result.success + result.failure, rows)
    if result.suspicious:
        logger.warning(
            "%s has a possible issue on identifiers; the most frequent: %s",
            where,
            _frequent(result.top_identifiers),
        )


def _frequent(identifiers: object) -> str:
    if isinstance(identifiers, dict):
        return ", ".join(f"{name}: {count}" for name, count in list(identifiers.items())[:10])
    return str(identifiers)[:300]
