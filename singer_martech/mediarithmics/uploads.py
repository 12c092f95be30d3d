"""Executions of document imports: upload, wait, and read the result.

Vendor page: Sending documents.
"""

from __future__ import annotations

import gzip
import logging
import shutil
import threading
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from singer_martech.errors import MartechError
from singer_martech.http.content import GZIP_MAGIC
from singer_martech.http.errors import HttpError, MethodNotAllowed, NotFound
from singer_martech.http.recovery import recover_lost
from singer_martech.http.stats import RequestStats
from singer_martech.mediarithmics.client import read
from singer_martech.mediarithmics.executions import Execution
from singer_martech.mediarithmics.import_results import MAX_COUNT, ImportResult, count_of
from singer_martech.mediarithmics.imports import CONTENT_TYPES
from singer_martech.mediarithmics.waiting import ExecutionWaiter, failure_of
from singer_martech.runtime.temp_files import open_temp_file, raise_if_disk_full

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from singer_martech.mediarithmics.imports import DocumentImport, DocumentImports

logger = logging.getLogger(__name__)

_LOOKUPS = 3


class AmbiguousUpload(MartechError):
    """Whether an upload became an execution is unknown."""


class Uploads:
    """Uploads documents and waits for their executions."""

    def __init__(
        self,
        imports: DocumentImports,
        poll_interval_seconds: float = 5.0,
        execution_timeout_seconds: float = 3600.0,
    ) -> None:
        self._imports = imports
        self._client = imports.client
        self._waiter = ExecutionWaiter(
            imports.client.http.shutdown,
            poll_interval_seconds,
            execution_timeout_seconds,
            "its documents are not in STATE and will be sent again",
        )
        self._uploading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._uploaded: set[str] = set()

    def upload(
        self,
        into: DocumentImport,
        body: IO[bytes],
        line_counts: Collection[int],
        stats: RequestStats | None = None,
    ) -> Execution:
        """Start an execution with a file of documents, once.

        If the response is lost, the execution is looked up before anything is sent again.

        Args:
            into: The import.
            body: The documents, in a file that can seek.
            line_counts: Numbers of lines that the vendor may report.
            stats: Counts what is sent.

        Raises:
            AmbiguousUpload: The response was lost, and more than one execution may be this upload.
            HttpError: The upload was rejected, or all attempts failed.
        """
        label = f"upload to {into}"
        stats = stats or RequestStats()
        # One upload at a time: an execution found later is not that of another thread.
        with self._uploading[into.id]:
            before = self._known_executions(into)
            execution = recover_lost(
                self._client.http,
                lambda: self._post(into, body, label, stats),
                lambda error: self._find_lost(into, before, line_counts, error),
                label=label,
                stats=stats,
            )
            self._uploaded.add(execution.id)
            return execution

    def wait(self, into: DocumentImport, execution: Execution) -> Execution:
        """Wait until an execution has succeeded.

        Raises:
            ExecutionFailed: It failed, or has not ended in time and continues.
        """
        ended = self._waiter.wait_for_end(
            execution, str(into), lambda each: self._execution(into, each.id)
        )
        if not ended.succeeded:
            raise failure_of(ended, str(into))
        return ended

    def error_file(self, execution: Execution, uri: str) -> IO[bytes]:
        """Download the vendor's report on failed lines to a temporary file, at position 0."""
        file = open_temp_file()
        label = f"error file of execution {execution.id}"
        try:
            self._client.download("data_file/data", label=label, into=file, params={"uri": uri})
            file.seek(0)
            if file.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
                file = _inflated(file, label)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _post(
        self, into: DocumentImport, body: IO[bytes], label: str, stats: RequestStats
    ) -> Execution:
        data = self._client.call(
            "POST",
            f"{self._imports.path(into.id)}/executions",
            label=label,
            data=body,
            headers={"Content-Type": CONTENT_TYPES[into.mime_type]},
            idempotent=False,
            stats=stats,
        )
        return read(_execution, data, label)

    def _execution(self, into: DocumentImport, execution_id: str) -> Execution:
        label = f"execution {execution_id} of {into}"
        path = f"{self._imports.path(into.id)}/executions/{quote(execution_id, safe='')}"
        return read(_execution, self._client.call("GET", path, label=label), label)

    def _known_executions(self, into: DocumentImport) -> _KnownExecutions | None:
        """Return the executions on the newest page.

        Returns:
            None if they cannot be listed; they are needed only if a response is lost.
        """
        present = _KnownExecutions(frozenset(), (0, 0, ""))
        try:
            for page, is_sorted in self._pages(into):
                ids = present.ids | {each.id for each in page}
                present = _KnownExecutions(
                    ids, max([present.newest, *(each.position for each in page)])
                )
                if is_sorted:
                    break
        except (MethodNotAllowed, NotFound):
            return None
        return present

    def _since(self, into: DocumentImport, before: _KnownExecutions) -> list[Execution]:
        """Return the executions that were created after ``before``."""
        found = []
        for page, is_sorted in self._pages(into):
            fresh = [each for each in page if each.position > before.newest]
            found += [each for each in fresh if each.id not in before.ids | self._uploaded]
            if is_sorted and len(fresh) < len(page):
                break
        return found

    def _pages(self, into: DocumentImport) -> Iterator[tuple[list[Execution], bool]]:
        """Yield pages of executions, and whether they are sorted newest first."""
        label = f"executions of {into}"
        is_sorted = True
        for rows in self._client.pages(f"{self._imports.path(into.id)}/executions", label=label):
            page = [read(_execution, row, label) for row in rows]
            order = [each.created for each in page]
            is_sorted = is_sorted and order == sorted(order, reverse=True)
            yield page, is_sorted

    def _find_lost(
        self,
        into: DocumentImport,
        before: _KnownExecutions | None,
        line_counts: Collection[int],
        lost: MartechError,
    ) -> Execution | None:
        """Find the execution of an upload whose response was lost, if there is one."""
        if before is None:
            raise AmbiguousUpload(
                f"{lost}; the executions of {into} cannot be listed; check at the vendor whether "
                "the upload became an execution, then start the run again"
            ) from lost
        for look in range(_LOOKUPS):
            if look:
                self._waiter.pause()
            found = self._look_up(into, before, line_counts, lost)
            if found is not None:
                return found
        return None

    def _look_up(
        self,
        into: DocumentImport,
        before: _KnownExecutions,
        line_counts: Collection[int],
        lost: MartechError,
    ) -> Execution | None:
        try:
            return self._single_match(into, self._since(into, before), line_counts, lost)
        except HttpError as error:
            raise AmbiguousUpload(
                f"{lost}; it could not be looked up: {error}; check at the vendor whether the "
                "upload became an execution, then start the run again"
            ) from error

    def _single_match(
        self,
        into: DocumentImport,
        fresh: list[Execution],
        line_counts: Collection[int],
        lost: MartechError,
    ) -> Execution | None:
        counts = {each.id: self._number_of_lines(into, each) for each in fresh}
        same = [each for each in fresh if counts[each.id] in line_counts]
        unknown = [each for each in fresh if counts[each.id] is None]
        if unknown or len(same) > 1:
            names = " or ".join(sorted(each.id for each in (*same, *unknown)))
            raise AmbiguousUpload(
                f"{lost}; the upload may be execution {names}, or none of them: check at the "
                "vendor, then start the run again"
            ) from lost
        return same[0] if same else None

    def _number_of_lines(self, into: DocumentImport, execution: Execution) -> int | None:
        """Return the number of lines of an execution. The vendor reports it after a while."""
        deadline = time.monotonic() + self._waiter.timeout_seconds
        while True:
            parameters = execution.fields.get("parameters")
            if isinstance(parameters, dict):
                count = count_of(parameters.get("number_of_lines"))
                return None if count == MAX_COUNT else count
            if execution.has_ended or time.monotonic() >= deadline:
                result = ImportResult.of(execution)
                if result.success is None or result.failure is None:
                    return None
                return result.success + result.failure
            self._waiter.pause()
            execution = self._execution(into, execution.id)


@dataclass(frozen=True)
class _KnownExecutions:
    """The executions before an upload."""

    ids: frozenset[str]
    newest: tuple[int, int, str]


def _execution(fields: Mapping[str, Any]) -> Execution:
    """Read an execution. Its date is optional, since it only sorts."""
    return Execution.read({"creation_date": 0, **fields})


def _inflated(file: IO[bytes], label: str) -> IO[bytes]:
    plain = open_temp_file()
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as source:
            shutil.copyfileobj(source, plain)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        logger.warning("%s: it is incomplete", label)
    except OSError as error:
        raise_if_disk_full(error, label)
        raise
    finally:
        file.close()
    return plain
