"""Writing Singer messages to stdout in blocks.

The SDK's writer encodes with pure Python and flushes after every message, which costs
more than all other work on a record together.
"""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from singer_sdk.singerlib.encoding.simple import Message, RecordMessage
from singer_sdk.singerlib.json import serialize_json

from singer_martech._compat import override
from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BLOCK_BYTES = 256 * 1024

_encoder = msgspec.json.Encoder(decimal_format="number")


class RecordLine(msgspec.Struct, gc=False, tag_field="type", tag="RECORD"):
    """A RECORD message in the order in which the SDK writes its parts.

    A field of ``record`` that is ``msgspec.Raw`` is written as it is: its bytes must be one
    JSON value in valid UTF-8 without a line end.
    """

    stream: str
    record: Any
    time_extracted: datetime.datetime


class MessageWriter(GenericSingerWriter[bytes, Message]):
    """Collects RECORD messages and writes them in blocks; other messages go out at once."""

    def __init__(self) -> None:
        """Begin with nothing to write."""
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    @override
    def serialize_message(self, message: Message) -> bytes:
        return encode(message.to_dict())

    @override
    def write_message(self, message: Message) -> None:
        self.write_lines(self.format_message(message) + b"\n")
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_lines(self, lines: bytes) -> None:
        """Write messages that are encoded already, each ended by a line feed."""
        self._pending.append(lines)
        self._pending_bytes += len(lines)
        if self._pending_bytes >= _BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the program that reads the output."""
        if not self._pending:
            return
        lines = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        write_output(lines)


def write_output(lines: bytes) -> None:
    """Write to standard output, whatever its encoding: the bytes of a message are its own.

    Raises:
        BrokenPipeError: The program that reads the output has ended.
        MartechError: The output cannot be written, such as to a full disk.
    """
    output = sys.stdout
    binary = getattr(output, "buffer", None)
    try:
        if binary is None:  # a test's text buffer
            output.write(lines.decode())
        else:
            output.flush()
            rest = memoryview(lines)
            while rest:  # a signal ends a write early, and the lines must come whole
                rest = rest[binary.write(rest) :]
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MartechError(f"the output cannot be written: {error.strerror}") from error


def encode(message: Mapping[str, Any] | RecordLine) -> bytes:
    """Return a message as compact JSON, decimals to the digit.

    What the fast encoder cannot write (half of a surrogate pair, a type that a stream map
    made) is written as the SDK writes it.
    """
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError):
        return _encoder.encode(_escaped_parts(message))


def encode_record_lines(lines: Sequence[RecordLine]) -> bytes:
    """Return RECORD messages, each ended by a line feed."""
    try:
        return _encoder.encode_lines(lines)
    except (TypeError, ValueError, OverflowError):
        return b"".join(encode(line) + b"\n" for line in lines)


def _escaped_parts(message: Mapping[str, Any] | msgspec.Struct) -> dict[str, Any]:
    tag = {"type": "RECORD"} if isinstance(message, RecordLine) else {}
    parts = (
        {
            field.encode_name: getattr(message, field.name)
            for field in msgspec.structs.fields(message)
        }
        if isinstance(message, msgspec.Struct)
        else message
    )
    return tag | {name: _escaped(part) for name, part in parts.items()}


def _escaped(part: Any) -> Any:
    if isinstance(part, (msgspec.Raw, datetime.datetime)):
        return part
    if isinstance(part, msgspec.Struct):
        return _escaped_parts(part)
    return msgspec.Raw(serialize_json(part).encode())
