"""Read Singer messages fast, and call ``tick`` regularly while the input is idle."""

from __future__ import annotations

import io
import sys
from codecs import BOM_UTF8
from collections import Counter
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Protocol

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader

from singer_martech._compat import override
from singer_martech.errors import InvalidInput
from singer_martech.singer.message_decoder import decode_envelope, decode_message
from singer_martech.singer.record_lines import RecordLines
from singer_martech.singer.stdin import StdinReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from singer_martech.runtime.shutdown import ShutdownSignal
    from singer_martech.singer.message_decoder import Envelope

    _Callbacks = dict[str, Callable[[dict[str, Any]], None]]

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Maximum length of a line of the input or of a BATCH file, in bytes."""


_LINES_AT_ONCE = 100


class FastHandler(Protocol):
    """Handles records of one stream, in order."""

    def __call__(self, records: Sequence[bytes], load_message: Callable[[int], None]) -> None:
        """Handle records as received.

        Args:
            records: The records. One that is not a JSON object needs a message, too.
            load_message: Called with the index of a record that needs a message.
        """


class MessageReader(GenericSingerReader[str]):
    """Reads messages from a pipe or a file.

    RECORD and STATE messages have their JSON as received in ``raw``.

    Attributes:
        fast_handlers: By stream, a function that handles records as received.
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
        super().__init__()
        self.fast_handlers: dict[str, FastHandler] = {}
        self._record_lines = RecordLines()
        self._callbacks: _Callbacks = {}
        self._counts: Counter[str] = Counter()
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
    def process_lines(self, file_input: IO[str] | None, callbacks: _Callbacks) -> Counter[str]:
        self._callbacks, self._counts = callbacks, Counter()
        with self.guard():
            self._process(file_input or self.default_input)
        return self._counts

    def _process(self, source: IO[str]) -> None:
        try:
            descriptor = source.fileno()
        except io.UnsupportedOperation:
            self._process_blocks(self._blocks_of_text(source))
            return
        with StdinReader(descriptor) as self._input:
            self._process_blocks(self._blocks_of_lines(self._input))
        self._input = None

    def _process_blocks(self, blocks: Iterator[bytes]) -> None:
        number = 1
        for block in blocks:
            records = self._record_lines.split(block)
            handler = self.fast_handlers.get(self._record_lines.stream)
            if records is not None and handler is not None:
                self._handle(handler, records, partial(self._record_lines.line_of, records), number)
                number += len(records)
            else:
                number += self._process_lines(block.split(b"\n"), number)

    def _process_lines(self, lines: Sequence[bytes], number: int) -> int:
        """Process lines, given the number of the first; return how many they are."""
        index = handled = 0
        while index < len(lines):
            handled = self._process_records(lines, index, number)
            if not handled:
                self._process_line(lines[index], number + index)
            index += handled or 1
        self._record_lines.are_alike = handled == len(lines)
        return len(lines)

    def _process_records(self, lines: Sequence[bytes], index: int, number: int) -> int:
        """Process lines from an index on that are records of a stream with a fast handler.

        Returns:
            The number of lines processed.
        """
        if not self._record_lines.is_record(lines[index]):
            return 0
        handler = self.fast_handlers.get(self._record_lines.stream)
        if handler is None:
            return 0
        records = self._record_lines.records(lines, index)
        own = lines[index : index + len(records)]
        self._handle(handler, records, own.__getitem__, number + index)
        return len(records)

    def _handle(
        self,
        handler: FastHandler,
        records: Sequence[bytes],
        line_at: Callable[[int], bytes],
        number: int,
    ) -> None:
        """Handle records, given their lines and the number of the first line."""

        def load_message(index: int) -> None:
            self._counts["RECORD"] -= 1
            line = line_at(index)
            self._process_message(line, decode_envelope(line), number + index)

        self._counts["RECORD"] += len(records)
        handler(records, load_message)

    def _process_line(self, line: bytes, number: int) -> None:
        if not line or line.isspace():
            return
        envelope = decode_envelope(line)
        if envelope is None and line.startswith(BOM_UTF8):  # of the input, or of a part of it
            self._process_line(line.removeprefix(BOM_UTF8), number)
            return
        if envelope is not None and envelope.type == "RECORD":
            handler = self.fast_handlers.get(envelope.stream)
            if handler is not None:
                self._handle(handler, [bytes(envelope.record)], [line].__getitem__, number)
                return
        self._process_message(line, envelope, number)

    def _process_message(self, line: bytes, envelope: Envelope | None, number: int) -> None:
        message = decode_message(line, envelope, number)
        try:
            self._dispatch(message)
        except InvalidInput as error:
            error.args = (f"line {number} of the input: {error}",)
            raise
        self._counts[message["type"]] += 1

    def _dispatch(self, message: dict[str, Any]) -> None:
        callback = self._callbacks.get(message["type"])
        if callback is None:
            raise InvalidInput(f"unknown message type '{message['type']}'")
        if message["type"] == "STATE" and message.get("value", message) is None:
            return  # an empty STATE would make the next run start from the beginning
        callback(message)

    def _blocks_of_lines(self, source: StdinReader) -> Iterator[bytes]:
        parts: list[bytes] = []
        length = 0
        for block in self._blocks(source):
            end = block.rfind(b"\n")
            if end >= 0:
                yield b"".join([*parts, block[:end]])
                parts, length = [], 0
            parts.append(block[end + 1 :])
            length += len(parts[-1])
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

    def _blocks_of_text(self, source: IO[str]) -> Iterator[bytes]:
        while lines := [*islice(source, _LINES_AT_ONCE)]:
            self.shutdown.check()
            self.tick()
            yield "".join(lines).removesuffix("\n").encode("utf-8", "surrogatepass")

    def record_message(self, stream: str, record: bytes, number: int) -> dict[str, Any]:
        """Return the RECORD message for a line of a BATCH file.

        Raises:
            InvalidInput: The line is not a JSON object.
        """
        start = b'{"type":"RECORD","stream":%s,"record":' % msgspec.json.encode(stream)
        line = b"%s%s}" % (start, record.strip().removeprefix(BOM_UTF8))
        try:
            return decode_message(line, decode_envelope(line), number)
        except InvalidInput as error:
            source = f"of the BATCH of stream '{stream}'"
            raise InvalidInput(str(error).replace("of the input", source, 1)) from None
