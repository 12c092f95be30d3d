"""Reading the files that a BATCH message names."""

from __future__ import annotations

import gzip
from typing import IO, TYPE_CHECKING, cast

from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchFileFormat, StorageTarget

from singer_martech.errors import InvalidInput, MartechError
from singer_martech.singer.reader import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


def batch_lines(message: Mapping[str, Any], storage: StorageTarget | None) -> Iterator[bytes]:
    """Yield the records of a BATCH message as JSON, one after the other.

    Args:
        message: The message, with ``encoding`` and ``manifest``.
        storage: Where the files are, if the settings say so; else each one's address does.

    Raises:
        MartechError: A file cannot be read, or is not in lines of JSON.
    """
    stream = message["stream"]
    encoding = BaseBatchFileEncoding.from_dict(dict(message["encoding"]))
    if encoding.format != BatchFileFormat.JSONL or encoding.compression not in {None, "", "gzip"}:
        raise MartechError(
            f"stream '{stream}': a BATCH has the format {encoding.format} "
            f"{encoding.compression or ''}; let the tap write jsonl, with gzip or without"
        )
    for address in message["manifest"]:
        try:
            head, name = StorageTarget.split_url(address)
            with (storage or StorageTarget.from_url(head)).open(name) as file:
                yield from _lines(file, is_gzip=encoding.compression == "gzip")
        except MartechError:
            raise
        except Exception as error:  # an address of the user may fail in any way
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            message_text = f"stream '{stream}': the BATCH file {address} cannot be read: {reason}"
            raise MartechError(message_text) from error


def _lines(file: IO[bytes], *, is_gzip: bool) -> Iterator[bytes]:
    if not is_gzip:
        yield from _bounded(file)
        return
    with gzip.open(file) as unpacked:
        yield from _bounded(cast("IO[bytes]", unpacked))


def _bounded(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(f"a BATCH file has a line of more than {MAX_LINE_BYTES} bytes")
        yield line
