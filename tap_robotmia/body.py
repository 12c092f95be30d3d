"""The body of an export: kept compressed, believed only when it is whole.

An export that breaks off often ends as if nothing had happened: with a clean HTTP end, a
gzip stream without its trailer, or a last line that says ``terminated early`` (vendor
page: a body must not be processed before it is received in its entirety). So the body is
inflated once while it arrives, to judge it, and a second time to read it, by a library that
takes less than half of zlib's time for it.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from isal import isal_zlib

from singer_martech.errors import MartechError
from singer_martech.http.errors import IncompleteBody
from singer_martech.runtime.temp_files import open_temp_file, raise_if_disk_full
from tap_robotmia.events import MalformedLine, parse_line
from tap_robotmia.prefetch import iterate_in_background

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.http.response import Response

MEBIBYTE = 1024 * 1024
MAX_LINE_BYTES = 16 * MEBIBYTE
"""An event has at most 1 MB; a longer line is none, and memory has to end somewhere."""

MAX_UNCHECKED_BYTES = 4096 * MEBIBYTE
MAX_RATIO = 200
"""Beyond the bytes above, a body may inflate to this many times its compressed size."""

_CHUNK_BYTES = 2 * MEBIBYTE
_READ = MEBIBYTE // 4
_BLOCKS_AHEAD = 2
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS
_TERMINATED = (b"terminated early", b"export terminated early")


class BodyTooLarge(MartechError):
    """A body goes beyond what any export is."""


class Decompressor:
    """Inflates a body piece by piece: gzip of one or several members, or plain text."""

    def __init__(self) -> None:
        """Wait for the first bytes, which tell gzip from text."""
        self.received = 0
        self.inflated = 0
        self._head = b""
        self._gzip: bool | None = None
        self._member: isal_zlib.Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` inflates to, in pieces of bounded size.

        Raises:
            IncompleteBody: The gzip stream is damaged.
            BodyTooLarge: It inflates beyond measure.
        """
        self.received += len(data)
        if self._gzip is None:
            self._head += data
            if len(self._head) < len(_GZIP_MAGIC):
                return
            data, self._head = self._head, b""
            self._gzip = data.startswith(_GZIP_MAGIC)
        for piece in self._members(data) if self._gzip else (data,):
            self.inflated += len(piece)
            if self.inflated > max(MAX_UNCHECKED_BYTES, MAX_RATIO * self.received):
                message = (
                    f"the answer inflates from {self.received} to more than {self.inflated} bytes, "
                    "which no export does; nothing of it was read"
                )
                raise BodyTooLarge(message)
            yield piece

    def finish(self) -> bytes:
        """Return what is left at the end of the body.

        Raises:
            IncompleteBody: The gzip stream ends without its trailer.
        """
        if self._member is not None and not self._member.eof:
            raise IncompleteBody("the gzip stream ends without its trailer")
        return self._head

    def _members(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None or self._member.eof:
                if self._member is not None:
                    data = data.lstrip(b"\0")  # padding between members, or after the last
                    if not data:
                        return
                self._member = isal_zlib.decompressobj(_GZIP_WINDOW)
            damage = ""
            try:
                piece = self._member.decompress(data, _CHUNK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc] # its stub names an instance
                damage = str(error)
            if damage:  # raised here, because an exception's context counts as its reason
                raise IncompleteBody(f"the gzip stream is damaged: {damage}")
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece


class LastLine:
    """Looks at the end of a text that passes by."""

    def __init__(self) -> None:
        """Begin before the first piece."""
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        """Keep the last line that is not blank.

        Raises:
            BodyTooLarge: A line is longer than ``MAX_LINE_BYTES``.
        """
        text_end = len(piece.rstrip())
        start = piece.rfind(b"\n", 0, text_end) + 1
        if start:
            tail = piece[start:]
        elif text_end:  # it continues the line before it
            tail = self._tail[self._tail.rfind(b"\n") + 1 :] + piece
        else:
            tail = self._tail + piece
        if len(tail) > MAX_LINE_BYTES:
            message = (
                f"the answer has a line of more than {MAX_LINE_BYTES} bytes, which no event has"
            )
            raise BodyTooLarge(message)
        self._tail = tail

    def raise_if_incomplete(self) -> None:
        """See that the text ended where it should.

        Raises:
            IncompleteBody: It ends within a line, or says that it broke off.
        """
        line = self._tail.strip()
        if not line:
            return
        if line.strip(b'".').lower().endswith(_TERMINATED) and not line.endswith(b"}"):
            raise IncompleteBody("the export was terminated early")
        fault = _problem_with(line)
        if fault:
            raise IncompleteBody(f"the last line is no whole event: {fault}")


def _problem_with(line: bytes) -> str:
    """Say why a line is no event; nothing where it is one."""
    try:
        parse_line(line)
    except MalformedLine as error:
        return str(error)
    return ""


class Body:
    """One export's body in an anonymous temporary file.

    It takes part in a download as the file to write to: every try rewinds and truncates
    it, and ``check`` accepts or refuses what came.
    """

    def __init__(self, label: str) -> None:
        """Open the file; ``label`` names the export in messages."""
        self._label = label
        self._file: IO[bytes] = open_temp_file()
        self._begin()

    @property
    def size(self) -> int:
        """How many bytes came, as sent."""
        return self._inflater.received

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def truncate(self) -> int:
        """Begin a new try."""
        self._begin()
        return self._file.truncate()

    def write(self, data: bytes) -> int:
        """Keep ``data`` as sent, and look at it.

        Raises:
            IncompleteBody: The gzip stream is damaged.
            BodyTooLarge: The body goes beyond what any export is.
            DiskFull: There is no room.
        """
        for piece in self._inflater.feed(data):
            self._last_line.feed(piece)
        try:
            return self._file.write(data)
        except OSError as error:
            raise_if_disk_full(error, self._label)
            raise

    def flush(self) -> None:
        """Write what is buffered.

        Raises:
            DiskFull: There is no room.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise_if_disk_full(error, self._label)
            raise

    def check(self, response: Response) -> None:
        """See that the body is whole, now that HTTP says it ended.

        Raises:
            IncompleteBody: It is not.
            MartechError: It is encoded in a way that was not asked for.
        """
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            message = (
                f"{self._label}: the answer is encoded as {encoding!r}, which was not asked for"
            )
            raise MartechError(message)
        rest = self._inflater.finish()
        if rest:
            self._last_line.feed(rest)
        self._last_line.raise_if_incomplete()

    def blocks(self) -> Iterator[bytes]:
        """Yield the text in blocks of whole lines.

        A thread inflates ahead of the reader: the one spends its time in inflating, which
        lets the other work.
        """
        return iterate_in_background(self._blocks(), _BLOCKS_AHEAD)

    def _blocks(self) -> Iterator[bytes]:
        carry = b""
        for piece in self._pieces():
            end = piece.rfind(b"\n") + 1
            if end:
                yield carry + piece[:end]
                carry = piece[end:]
            else:
                carry += piece
        if carry:
            yield carry

    def close(self) -> None:
        """Give the room on disk back."""
        self._file.close()

    def _begin(self) -> None:
        self._inflater = Decompressor()
        self._last_line = LastLine()

    def _pieces(self) -> Iterator[bytes]:
        inflater = Decompressor()
        self._file.seek(0)
        while data := self._file.read(_READ):
            yield from inflater.feed(data)
        yield inflater.finish()
