"""Download the files of an execution's result, check them, and read their lines."""

from __future__ import annotations

import contextlib
import json
import logging
from codecs import BOM_UTF8
from contextlib import ExitStack
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from isal import isal_zlib

from singer_martech.errors import MartechError
from singer_martech.http.content import GZIP_BITS, GZIP_MAGIC
from singer_martech.http.errors import IncompleteBody, NotFound
from singer_martech.runtime.redaction import redacted_head
from singer_martech.runtime.temp_files import open_temp_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Exports

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1024 * 1024
_MAX_LINE_BYTES = 64 * 1024 * 1024
_MAX_BLANK_BYTES = 100
_INSPECTED_LINES = 100
_MAX_SHOWN = 200
_FIRST_ERROR_STATUS = 400
_ERROR_FIELDS = frozenset({"error", "errors", "error_id", "topLevelError"})
_ENVELOPE_FIELDS = _ERROR_FIELDS | {"code", "data", "message", "meta", "status", "success", "title"}
_GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment] # its stub: an instance


class ResultFiles:
    """All files of one execution. They are complete on disk before the first line is read.

    Args:
        exports: Where the files come from.
        export_id: The export that was executed.
        execution: A succeeded execution.
        inspect: Gets the first lines of the result.
    """

    def __init__(
        self,
        exports: Exports,
        export_id: str,
        execution: Execution,
        inspect: Callable[[list[bytes]], None] | None = None,
    ) -> None:
        self._inspect = inspect
        self._exports = exports
        self._export_id = export_id
        self._execution = execution
        self._files: list[IO[bytes]] = []
        self._closing = ExitStack()

    def __str__(self) -> str:
        """Name the result."""
        return f"execution {self._execution.id} of export {self._export_id}"

    def download(self) -> None:
        """Download all files and check them.

        Raises:
            HttpError: A file is not available or stays incomplete.
        """
        for name in self._execution.output_files:
            self._files.append(self._download(name))

    def close(self) -> None:
        """Free the disk space."""
        self._closing.close()

    def _download(self, name: str) -> IO[bytes]:
        file = self._closing.enter_context(open_temp_file())
        self._exports.download(
            self._export_id, self._execution, name, into=file, check=lambda _: check_file(file)
        )
        if _is_blank(file):
            # A load balancer's empty response looks the same: ask the other API, too.
            file = self._download_data_file(f"{name}.data")
        logger.info(
            "file %s of execution %s: %d bytes downloaded", name, self._execution.id, file.tell()
        )
        return file

    def _download_data_file(self, name: str) -> IO[bytes]:
        file = self._closing.enter_context(open_temp_file())
        with contextlib.suppress(NotFound):
            self._exports.download_data_file(
                self._execution, name, into=file, check=lambda _: check_file(file)
            )
        return file

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines of all files in order, with their line ends, in lists.

        Raises:
            MartechError: A line is too long.
        """
        for file in self._files:
            rest = b""
            for index, block in enumerate(_plain_blocks(file)):
                text = block if index else block.removeprefix(BOM_UTF8)
                lines = BytesIO(rest + text).readlines()  # faster than split
                rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
                if len(rest) > _MAX_LINE_BYTES:
                    raise MartechError(f"{self}: a line is longer than {_MAX_LINE_BYTES} bytes")
                self._inspect_first(lines)
                yield lines
            if rest:
                yield [rest]

    def _inspect_first(self, lines: list[bytes]) -> None:
        if lines and self._inspect is not None:
            self._inspect(lines[:_INSPECTED_LINES])
            self._inspect = None


def _is_blank(file: IO[bytes]) -> bool:
    """Whether a file has no values; its position is left at the end."""
    is_blank = file.tell() <= _MAX_BLANK_BYTES
    if is_blank:
        file.seek(0)
        is_blank = b"".join(_plain_blocks(file)).strip() in {b"", b"{}"}
        file.seek(0, 2)
    return is_blank


def check_file(file: IO[bytes]) -> None:
    """Check that a downloaded file is complete.

    A gzip file ends with a trailer and a checksum. The last line of any file must be complete
    JSON.

    Raises:
        IncompleteBody: It is incomplete, or it is an error instead of a result.
    """
    reason, last, value = "", b"", None
    try:
        last = _last_line(file)
    except _GzipError as error:
        reason = f"the compressed file is damaged ({error})"
    file.seek(0, 2)
    try:
        last = last.removeprefix(BOM_UTF8)
        value = json.loads(last) if last else None
    except (ValueError, RecursionError):
        reason = reason or "the last line is not complete JSON in UTF-8"
    if reason:  # raised outside the handler, because messages show the innermost context
        raise IncompleteBody(reason)
    if (last and value is None) or _names_error(value):
        shown = redacted_head(last, _MAX_SHOWN)
        reason = f"the response is an error instead of a result: {shown}"
        raise IncompleteBody(reason)


def _names_error(value: Any) -> bool:
    """Whether a line is the error of the vendor or of a proxy: a row has other fields."""
    if not isinstance(value, dict) or not value.keys() <= _ENVELOPE_FIELDS:
        return False
    status = value.get("status")
    return (
        not _ERROR_FIELDS.isdisjoint(value)
        or value.get("success") is False
        or (isinstance(status, int) and status >= _FIRST_ERROR_STATUS and "title" in value)
        or (isinstance(value.get("meta"), dict) and "errors" in value["meta"])
    )


def _last_line(file: IO[bytes]) -> bytes:
    if not _is_gzip(file):
        return _last_line_of_plain(file)
    tail = b""
    for block in _plain_blocks(file):
        before, newline, last = block.rstrip().rpartition(b"\n")
        del before
        tail = last + block[len(block.rstrip()) :] if newline else tail + block
        if len(tail) > _MAX_LINE_BYTES:
            reason = f"a line is longer than {_MAX_LINE_BYTES} bytes"
            raise IncompleteBody(reason)
    return tail.rstrip().rpartition(b"\n")[2]


def _last_line_of_plain(file: IO[bytes]) -> bytes:
    """Read backwards from the end of the file until a line is complete."""
    end = file.seek(0, 2)
    size = 64 * 1024
    while True:
        file.seek(max(0, end - size))
        tail = file.read().rstrip()
        line = tail.rpartition(b"\n")[2]
        if len(line) < len(tail) or size >= min(end, _MAX_LINE_BYTES):
            return line
        size *= 4


def _is_gzip(file: IO[bytes]) -> bool:
    file.seek(0)
    is_gzip = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return is_gzip


def _plain_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a file in blocks of bounded size, decompressed if it is gzip."""
    if _is_gzip(file):
        yield from _inflated_blocks(file)
        return
    while block := file.read(_BLOCK_BYTES):
        yield block


def _inflated_blocks(file: IO[bytes]) -> Iterator[bytes]:
    inflate = isal_zlib.decompressobj(GZIP_BITS)
    data = file.read(_BLOCK_BYTES)
    while data:
        block = inflate.decompress(data, _BLOCK_BYTES)
        if block:
            yield block
        data = inflate.unconsumed_tail
        if inflate.eof:
            data = _next_member(inflate.unused_data, file)
            if data:
                inflate = isal_zlib.decompressobj(GZIP_BITS)
        elif not data:
            data = file.read(_BLOCK_BYTES)
    if not inflate.eof:
        raise _GzipError("it ends without its trailer")


def _next_member(unused: bytes, file: IO[bytes]) -> bytes:
    """Return the data after a member; zero bytes before it are padding."""
    data = unused.lstrip(b"\0")
    while not data and (more := file.read(_BLOCK_BYTES)):
        data = more.lstrip(b"\0")
    return data
