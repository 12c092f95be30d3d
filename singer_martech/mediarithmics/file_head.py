"""Read the beginning of a file without downloading all of it."""

from __future__ import annotations

import contextlib
import io
import zlib
from typing import IO, TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.http.content import GZIP_BITS, GZIP_MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable


def head_of(download: Callable[[IO[bytes]], object], size: int) -> bytes:
    """Return about the first ``size`` bytes of a file without downloading all of it."""
    head = _Head(size)
    with contextlib.suppress(_Enough):
        download(head)
    return head.content()


class _Enough(Exception):
    """The beginning of the file has been read."""


class _Head(io.BytesIO):
    """A file object that keeps the first bytes and then ends the download."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    @override
    def write(self, block: Any) -> int:
        count = super().write(block)
        if self.tell() >= self._size:
            raise _Enough
        return count

    def content(self) -> bytes:
        """Return the bytes received, decompressed if they are gzip."""
        content = self.getvalue()
        if not content.startswith(GZIP_MAGIC):
            return content[: self._size]
        try:
            return zlib.decompressobj(GZIP_BITS).decompress(content, self._size)
        except zlib.error:
            return b""
