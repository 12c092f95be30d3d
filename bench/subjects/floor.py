"""The floor of an extraction: one process inflates, parses and re-encodes each line.

Usage: python floor.py URL
"""

from __future__ import annotations

import sys
import zlib

import orjson  # type: ignore[import-not-found] # in an environment of its own
import requests

BLOCK = 1 << 18


def main(url: str) -> None:
    """Write each line of the body at ``url`` to standard output, parsed and re-encoded."""
    inflate = zlib.decompressobj(wbits=31)
    rest = b""
    with requests.get(url, stream=True, timeout=60) as response:
        for block in response.raw.stream(BLOCK, decode_content=False):
            *lines, rest = (rest + inflate.decompress(block)).split(b"\n")
            written = [orjson.dumps(orjson.loads(line)) for line in lines]
            sys.stdout.buffer.write(b"\n".join([*written, b""]))


if __name__ == "__main__":
    main(sys.argv[1])
