"""Write Singer messages to standard output in blocks.

The SDK's writer encodes in pure Python and flushes after every message, which takes longer than
all other processing of a record.
"""

from __future__ import annotations

import datetime
import io
import os
import select
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from singer_sdk.singerlib.encoding.simple import Message, RecordMessage
from singer_sdk.singerlib.json import serialize_json

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.runtime.shutdown import GRACE_SECONDS
from singer_martech.values import json_codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_martech.runtime.shutdown import ShutdownSignal

_BLOCK_BYTES = 256 * 1024
_POLL_SECONDS = 1.0

_shutdown: ShutdownSignal | None = None
_has_given_up = False
"""Whether a line was cut; further output would be read as the rest of that line."""

_encoder = msgspec.json.Encoder(decimal_format="number")
_CANNOT_ENCODE = (TypeError, ValueError, OverflowError)


class MessageWriter(GenericSingerWriter[bytes, Message]):
    """Writes RECORD messages in blocks and other messages immediately."""

    def __init__(self) -> None:
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0

    @override
    def serialize_message(self, message: Message) -> bytes:
        return encode(message.to_dict())

    @override
    def write_message(self, message: Message) -> None:
        self.write_lines(self.format_message(message), b"\n")
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_lines(self, *parts: bytes | memoryview) -> None:
        """Write encoded messages, each ended by a line feed; ``parts`` follow one another."""
        self._pending += parts
        self._pending_bytes += sum(map(len, parts))
        if self._pending_bytes >= _BLOCK_BYTES:
            self.flush()

    def write_records(self, stream: str, lines: bytes, extracted_at: datetime.datetime) -> None:
        """Write records, each ended by a line feed, as messages with the SDK's order of members."""
        if not lines:
            return
        before = b'{"type":"RECORD","stream":%s,"record":' % json_codec.encode(stream)
        after = b',"time_extracted":%s}\n' % json_codec.encode(extracted_at)
        messages = memoryview(lines.replace(b"\n", after + before))
        self.write_lines(before, messages[: -len(before)])

    def flush(self) -> None:
        """Write the current block."""
        if not self._pending:
            return
        lines = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        write_output(lines)


def end_writes_on(shutdown: ShutdownSignal) -> None:
    """Limit how long writes to standard output may block after ``shutdown`` is requested.

    This is global, since standard output belongs to the process.
    """
    global _shutdown, _has_given_up
    _shutdown, _has_given_up = shutdown, False


def write_output(lines: bytes, grace_seconds: float = GRACE_SECONDS) -> None:
    """Write bytes to standard output, independent of its encoding.

    ``grace_seconds`` is how long after a signal to wait for the reader of a full pipe.

    Raises:
        BrokenPipeError: The program that reads the output has ended.
        MartechError: The output cannot be written, such as to a full disk.
        Stopped: A signal came, and the pipe was not read in time.
    """
    if _has_given_up and _shutdown is not None:
        _shutdown.check()
    output = sys.stdout
    try:
        output.flush()
        try:
            descriptor = output.fileno()
        except io.UnsupportedOperation:  # an in-memory buffer in a test
            output.write(lines.decode())
            output.flush()
        else:
            _write(descriptor, memoryview(lines), grace_seconds)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MartechError(f"the output cannot be written: {error.strerror}") from error


def _write(descriptor: int, rest: memoryview, grace_seconds: float) -> None:
    with _without_blocking(descriptor):
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                _await_reader(descriptor, grace_seconds)


@contextmanager
def _without_blocking(descriptor: int) -> Iterator[None]:
    """Make writes non-blocking, because a signal does not interrupt a blocking write."""
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) or not os.get_blocking(descriptor):
        yield
        return
    os.set_blocking(descriptor, False)
    try:
        yield
    finally:
        os.set_blocking(descriptor, True)


def _await_reader(descriptor: int, grace_seconds: float) -> None:
    """Wait until a write can continue."""
    global _has_given_up  # noqa: PLW0603
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while not poll.poll(min(_POLL_SECONDS, grace_seconds) * 1000):
        if _shutdown is not None and time.monotonic() > _shutdown.requested_at + grace_seconds:
            _has_given_up = True
            _shutdown.check()


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as compact JSON, with all digits of decimals.

    Values that msgspec cannot encode (lone surrogates, types created by a stream map) are encoded
    by the SDK.
    """
    try:
        return _encoder.encode(message)
    except _CANNOT_ENCODE:
        return _encoder.encode(_escaped_parts(message))


def encode_record(record: Mapping[str, Any] | msgspec.Struct) -> bytes:
    """Return a record as compact JSON.

    A ``msgspec.Raw`` in a struct is written unchanged: it must be one JSON value in valid UTF-8
    without a line end.
    """
    try:
        return _encoder.encode(record)
    except _CANNOT_ENCODE:
        return _encoder.encode(_escaped(record))


def encode_records(records: Sequence[Mapping[str, Any] | msgspec.Struct]) -> bytes:
    """Return records as JSON, each ended by a line feed."""
    try:
        return _encoder.encode_lines(records)
    except _CANNOT_ENCODE:
        return b"".join(encode_record(record) + b"\n" for record in records)


def _escaped_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _escaped(part) for name, part in parts.items()}


def _escaped(part: Any) -> Any:
    if isinstance(part, (msgspec.Raw, datetime.datetime)):
        return part
    if isinstance(part, msgspec.Struct):
        fields = msgspec.structs.fields(part)
        return _escaped_parts({field.encode_name: getattr(part, field.name) for field in fields})
    return msgspec.Raw(serialize_json(part).encode())
