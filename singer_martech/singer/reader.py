"""Read Singer messages fast, and call ``tick`` regularly while the input is idle."""

from __future__ import annotations

import io
import sys
from codecs import BOM_UTF8
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader

from singer_martech._compat import override
from singer_martech.errors import InvalidInput
from singer_martech.singer.message_decoder import decode_envelope, decode_message
from singer_martech.singer.stdin import StdinReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from singer_martech.runtime.shutdown import ShutdownSignal

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Maximum length of a line of the input or of a BATCH file, in bytes."""


class MessageReader(GenericSingerReader[str]):
    """Reads messages from a pipe or a file.

    RECORD and STATE messages have their JSON as received in ``raw``.

    Attributes:
        fast_handlers: By stream, a function that handles a record as received, or returns False
            if the record needs a message.
        shutdown: Ends reading on a signal.
        pause_seconds: Maximum time between two calls of ``tick``.
        tick: Called between blocks of input, and while the input is idle.
        guard: A context manager around all processing, which ends a failed run.
    """

    shutdown: ShutdownSignal
    pause_seconds = 1.0
    tick: Callable[[], None]
    guard: Callable[[], AbstractContextManager[None]]

    def __init__(self) -> None:
        """Create a reader; nothing is read yet."""
        super().__init__()
        self.fast_handlers: dict[str, Callable[[bytes], bool]] = {}
        self._input: StdinReader | None = None

    def wake(self) -> None:
        """Interrupt a wait for input, so that ``tick`` is called now."""
        if self._input is not None:
            self._input.wake()

    @property
    @override
    def default_input(self) -> IO[str]:
        if sys.stdin is None:
            raise InvalidInput("there is no input: standard input is closed")
        return sys.stdin

    @staticmethod
    @override
    def assert_line_requires(line_dict: dict[str, Any], requires: set[str]) -> None:
        missing = requires - line_dict.keys()
        if missing:
            kind, stream = line_dict.get("type", "message"), line_dict.get("stream")
            label = f"a {kind}" if stream is None else f"stream '{stream}': its {kind}"
            raise InvalidInput(f"{label} lacks {', '.join(sorted(missing))}")

    @override
    def deserialize_json(self, line: str) -> dict[str, Any]:
        encoded = line.encode("utf-8", "surrogatepass")
        return decode_message(encoded, decode_envelope(encoded), 1)

    @override
    def process_lines(
        self, file_input: IO[str] | None, callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> Counter[str]:
        counts: Counter[str] = Counter()
        with self.guard():
            self._process(file_input or self.default_input, callbacks, counts)
        return counts

    def _process(
        self,
        source: IO[str],
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
        counts: Counter[str],
    ) -> None:
        try:
            descriptor = source.fileno()
        except io.UnsupportedOperation:
            self._process_lines(self._lines_of_text(source), callbacks, counts)
            return
        with StdinReader(descriptor) as self._input:
            self._process_lines(self._lines(self._input), callbacks, counts)
        self._input = None

    def _process_lines(
        self,
        lines: Iterator[bytes],
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
        counts: Counter[str],
    ) -> None:
        for number, line in enumerate(lines, 1):
            if not line or line.isspace():
                continue
            envelope = decode_envelope(line)
            if envelope is None and line.startswith(BOM_UTF8):
                line = line.removeprefix(BOM_UTF8)  # noqa: PLW2901 - of the input, or of a part
                if not line or line.isspace():
                    continue
                envelope = decode_envelope(line)
            if envelope is not None and envelope.type == "RECORD":
                fast_handler = self.fast_handlers.get(envelope.stream)
                if fast_handler is not None and fast_handler(bytes(envelope.record)):
                    counts["RECORD"] += 1
                    continue
            message = decode_message(line, envelope, number)
            kind = message["type"]
            try:
                self._dispatch(message, callbacks)
            except InvalidInput as error:
                error.args = (f"line {number} of the input: {error}",)
                raise
            counts[kind] += 1

    @staticmethod
    def _dispatch(
        message: dict[str, Any], callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> None:
        callback = callbacks.get(message["type"])
        if callback is None:
            raise InvalidInput(f"unknown message type '{message['type']}'")
        if message["type"] == "STATE" and message.get("value", message) is None:
            return  # an empty STATE would make the next run start from the beginning
        callback(message)

    def _lines(self, source: StdinReader) -> Iterator[bytes]:
        parts: list[bytes] = []
        length = 0
        for block in self._blocks(source):
            lines = block.split(b"\n")
            if len(lines) > 1:
                parts.append(lines[0])
                yield b"".join(parts)
                yield from lines[1:-1]
                parts, length = [], 0
            parts.append(lines[-1])
            length += len(lines[-1])
            if length > MAX_LINE_BYTES:
                raise InvalidInput(f"the input has a line of more than {MAX_LINE_BYTES} bytes")
        yield b"".join(parts)

    def _blocks(self, source: StdinReader) -> Iterator[bytes]:
        block: bytes | None = None
        while block != b"":
            self.shutdown.check()
            block = source.block(self.pause_seconds)
            self.tick()
            if block:
                yield block

    def _lines_of_text(self, source: IO[str]) -> Iterator[bytes]:
        for line in source:
            self.shutdown.check()
            self.tick()
            yield line.encode("utf-8", "surrogatepass")

    def record_message(self, stream: str, record: bytes, number: int) -> dict[str, Any]:
        """Return the RECORD message for a line of a BATCH file.

        Args:
            stream: The name of the stream.
            record: The line.
            number: The number of the line, for errors.

        Raises:
            InvalidInput: The line is not a JSON object.
        """
        start = b'{"type":"RECORD","stream":%s,"record":' % msgspec.json.encode(stream)
        line = b"%s%s}" % (start, record.strip())
        try:
            return decode_message(line, decode_envelope(line), number)
        except InvalidInput as error:
            source = f"of the BATCH of stream '{stream}'"
            raise InvalidInput(str(error).replace("of the input", source, 1)) from None
