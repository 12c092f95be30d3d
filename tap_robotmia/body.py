"""The body of an export: kept compressed, and accepted only when it is complete.

An interrupted export often looks like a success: HTTP ends normally, but the gzip stream has no
trailer, or the last line says ``terminated early`` (vendor page: a body must not be processed
before it is received in its entirety). So the body is inflated twice: once to check it while it
arrives, and once to read it. ``isal`` needs less than half of zlib's time for it.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from contextlib import closing
from io import BytesIO
from typing import IO, TYPE_CHECKING

from isal import isal_zlib

from singer_martech.errors import MartechError
from singer_martech.http.content import GZIP_BITS, GZIP_MAGIC
from singer_martech.http.errors import IncompleteBody
from singer_martech.runtime.background import iterate_in_background
from singer_martech.runtime.temp_files import open_temp_file, raise_if_disk_full
from tap_robotmia.lines import MalformedLine, error_text, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.http.response import Response

MEBIBYTE = 1024 * 1024
MAX_LINE_BYTES = 16 * MEBIBYTE
"""An event has at most 1 MB, so a longer line is not an event."""

MAX_UNCHECKED_BYTES = 4096 * MEBIBYTE
MAX_RATIO = 200
"""Maximum ratio of inflated to compressed size, for bodies larger than the bytes above."""

_PIECE_BYTES = 2 * MEBIBYTE
_READ_BYTES = MEBIBYTE // 4
_PIECES_AHEAD = 2
_BLOCK_BYTES = MEBIBYTE // 2
"""Small enough for the processor's cache, with what is made of it."""

_HEAD_BYTES = 64 * 1024
_TERMINATED = (b"terminated early", b"export terminated early")
_HTML = re.compile(rb"<(!doctype|!--|html|head|body|script|\?xml)", re.IGNORECASE)


class BodyTooLarge(MartechError):
    """A body exceeds the limits of an export."""


class Decompressor:
    """Inflates a body piece by piece: gzip of one or several members, or plain text."""

    def __init__(self) -> None:
        """Wait for the first bytes, which distinguish gzip from text."""
        self.received = 0
        self.inflated = 0
        self._head = b""
        self._gzip: bool | None = None
        self._member: isal_zlib.Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text of ``data`` in pieces of bounded size.

        Raises:
            IncompleteBody: The gzip stream is damaged.
            BodyTooLarge: The text exceeds the limits.
        """
        self.received += len(data)
        if self._gzip is None:
            self._head += data
            if len(self._head) < len(GZIP_MAGIC):
                return
            data, self._head = self._head, b""
            self._gzip = data.startswith(GZIP_MAGIC)
        for piece in self._members(data) if self._gzip else (data,):
            self.inflated += len(piece)
            self._raise_if_too_large()
            yield piece

    def finish(self) -> bytes:
        """Return the rest of the text at the end of the body.

        Raises:
            IncompleteBody: The gzip stream ends without its trailer.
        """
        if self._member is not None and not self._member.eof:
            raise IncompleteBody("the gzip stream ends without its trailer")
        return self._head

    def _raise_if_too_large(self) -> None:
        if self.inflated > max(MAX_UNCHECKED_BYTES, MAX_RATIO * self.received):
            raise BodyTooLarge(
                f"the response inflates from {self.received} to more than {self.inflated} "
                "bytes, which exceeds the limit of an export; nothing of it was written"
            )

    def _members(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None or self._member.eof:
                if self._member is not None:
                    data = data.lstrip(b"\0")  # padding between members or after the last one
                    if not data:
                        return
                self._member = isal_zlib.decompressobj(GZIP_BITS)
            piece = _inflate(self._member, data)
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece


def _inflate(member: isal_zlib.Decompress, data: bytes) -> bytes:
    try:
        return member.decompress(data, _PIECE_BYTES)
    except isal_zlib.error as error:  # type: ignore[misc] # its stub names an instance
        damage = str(error)
    # raised outside the handler: messages show the innermost context
    raise IncompleteBody(f"the gzip stream is damaged: {damage}")


class TextCheck:
    """Checks the first and the last line of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._size = 0
        self._head = b""
        self._last_line = bytearray()
        self._last_line_ended = False

    def feed(self, piece: bytes) -> None:
        """Check the next piece.

        Raises:
            BodyTooLarge: A line is longer than ``MAX_LINE_BYTES``.
        """
        self._size += len(piece)
        if len(self._head) < _HEAD_BYTES:
            self._head += piece[: _HEAD_BYTES - len(self._head)]
        text_end = len(piece.rstrip())
        start = piece.rfind(b"\n", 0, text_end) + 1
        if start:
            self._last_line = bytearray(memoryview(piece)[start:])
        elif text_end and self._last_line_ended:
            self._last_line = bytearray(piece)
        else:
            self._last_line += piece
        line_ends = piece.find(b"\n", text_end) >= 0
        self._last_line_ended = line_ends or (self._last_line_ended and not text_end)
        if len(self._last_line) > MAX_LINE_BYTES:
            raise BodyTooLarge(
                f"the response has a line of more than {MAX_LINE_BYTES} bytes, which exceeds the "
                "limit of an event"
            )

    def raise_if_incomplete(self, content_type: str = "") -> None:
        """Check the text once all of it has arrived.

        The reader handles a complete last line that is not an event.

        Raises:
            IncompleteBody: The text is not an export, or not a complete one.
        """
        head = self._head.removeprefix(BOM_UTF8).lstrip()
        if _HTML.match(head) or (not head and "html" in content_type.lower()):
            raise IncompleteBody("the response is an HTML page, such as a proxy's, and no export")
        error = error_text(head) if self._size <= _HEAD_BYTES else None
        if error is not None:
            raise IncompleteBody(f"the response is an error instead of an export: {error}")
        line = bytes(self._last_line).removeprefix(BOM_UTF8).strip()
        if line.strip(b'".').lower().endswith(_TERMINATED) and not line.endswith(b"}"):
            raise IncompleteBody("the export was terminated early")
        fault = "" if self._last_line_ended or not line else _fault_of(line)
        if fault:
            raise IncompleteBody(f"the last line is cut: {fault}")


def _fault_of(line: bytes) -> str:
    """Return why a line is not an event; empty if it is one."""
    try:
        parse_line(line)
    except MalformedLine as error:
        return str(error)
    except Exception:  # noqa: BLE001 - the line is complete, and the reader will count it
        return ""
    return ""


class Body:
    """One export's body in an anonymous temporary file.

    A download writes to it: every attempt rewinds and truncates it, and ``check`` accepts or
    rejects the result.
    """

    def __init__(self, label: str) -> None:
        """Open the file; ``label`` names the export in messages."""
        self._label = label
        self._file: IO[bytes] = open_temp_file()
        self._reset()

    @property
    def size(self) -> int:
        """The number of bytes received, as sent."""
        return self._inflater.received

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def truncate(self) -> int:
        """Start a new attempt."""
        self._reset()
        return self._file.truncate()

    def write(self, data: bytes) -> int:
        """Store ``data`` as sent, and check its text.

        Raises:
            IncompleteBody: The gzip stream is damaged.
            BodyTooLarge: The body exceeds the limits.
            DiskFull: There is no room.
        """
        for piece in self._inflater.feed(data):
            self._text.feed(piece)
        try:
            return self._file.write(data)
        except OSError as error:
            raise_if_disk_full(error, self._label)
            raise

    def flush(self) -> None:
        """Write buffered data.

        Raises:
            DiskFull: There is no room.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise_if_disk_full(error, self._label)
            raise

    def check(self, response: Response) -> None:
        """Check the body after HTTP has reported its end.

        Raises:
            IncompleteBody: The body is not a complete export.
            MartechError: It has an encoding that was not requested.
        """
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            message = (
                f"{self._label}: the response is encoded as {encoding!r}, which was not requested"
            )
            raise MartechError(message)
        rest = self._inflater.finish()
        if rest:
            self._text.feed(rest)
        self._text.raise_if_incomplete(response.headers.get("Content-Type", ""))

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines in blocks.

        A thread inflates ahead of the reader: inflating releases the interpreter lock. It does so
        in large pieces, because each change between the threads takes time.
        """
        carry = b""
        with closing(iterate_in_background(self._pieces(), _PIECES_AHEAD)) as pieces:
            for piece in pieces:
                text = BytesIO(piece)
                while lines := text.readlines(_BLOCK_BYTES):
                    lines[0] = carry + lines[0]
                    carry = b"" if lines[-1].endswith(b"\n") else lines.pop()
                    if lines:
                        yield lines
        if carry:
            yield [carry]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _reset(self) -> None:
        self._inflater = Decompressor()
        self._text = TextCheck()

    def _pieces(self) -> Iterator[bytes]:
        inflater = Decompressor()
        self._file.seek(0)
        while data := self._file.read(_READ_BYTES):
            yield from inflater.feed(data)
        yield inflater.finish()
