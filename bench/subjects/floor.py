"""The floor of an extraction: one process inflates, parses and re-encodes each line.

Usage: python floor.py URL
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

import orjson  # type: ignore[import-not-found] # in an environment of its own
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 18


def main(url: str) -> None:
    """Write each line of the body at ``url`` to standard output, parsed and re-encoded."""
    rest = b""
    for text in inflated(url):
        *lines, rest = (rest + text).split(b"\n")
        written = [orjson.dumps(orjson.loads(line)) for line in lines]
        sys.stdout.buffer.write(b"\n".join([*written, b""]))


def inflated(url: str) -> Iterator[bytes]:
    """Yield the body, which may consist of several gzip streams."""
    inflate = zlib.decompressobj(wbits=31)
    with requests.get(url, stream=True, timeout=60) as response:
        for received in response.raw.stream(BLOCK, decode_content=False):
            block = received
            while block:
                yield inflate.decompress(block)
                block = inflate.unused_data
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)


if __name__ == "__main__":
    main(sys.argv[1])
