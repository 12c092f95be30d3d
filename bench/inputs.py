"""The inputs of the benchmarks, created once and cached beside the environments."""

from __future__ import annotations

import datetime
import json
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.streams import STREAMS
from tests.sandbox.robotmia_volume import big_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.stream_input import StreamInput

DAY = datetime.date(2026, 3, 10)
_PLAIN_SHARE = 10
"""The plain sink takes much longer, so it loads this fraction of the records."""


class Inputs(NamedTuple):
    """Files with ``events`` events, a query export's result, and streams for the targets.

    Attributes:
        folder: The folder of all files.
        events: The number of events.
        body: The export of a day, compressed.
        result: A query export's result of ``result_lines`` lines.
        result_lines: The number of lines.
        scale: The part of each stream's records to load.
    """

    folder: Path
    events: int
    body: Path
    result: Path
    result_lines: int
    scale: float

    def count(self, stream: StreamInput, *, plain: bool = False) -> int:
        """Return how many records of a stream are loaded; the plain sink loads few."""
        return round(stream.records * self.scale / (_PLAIN_SHARE if plain else 1))

    def messages(self, stream: StreamInput, *, plain: bool = False) -> Path:
        """Return the file with the Singer messages of a stream."""
        return self.folder / f"{stream.name}-{self.count(stream, plain=plain)}.singer"


def inputs_in(folder: Path, events: int, result_lines: int, scale: float) -> Inputs:
    """Name the files of a folder."""
    return Inputs(
        folder,
        events,
        folder / f"events-{events}.jsonl.gz",
        folder / f"result-{result_lines}.jsonl",
        result_lines,
        scale,
    )


def prepare(inputs: Inputs) -> None:
    """Create missing files."""
    inputs.folder.mkdir(parents=True, exist_ok=True)
    if not inputs.body.exists():
        _write(inputs.body, _compressed(big_day(DAY, inputs.events)))
    if not inputs.result.exists():
        _write(inputs.result, _result(inputs.result_lines))
    for stream in STREAMS:
        for plain in (True, False):
            path = inputs.messages(stream, plain=plain)
            if not path.exists():
                _write(path, stream.lines(inputs.count(stream, plain=plain)))


def _result(count: int) -> Iterator[bytes]:
    for number in range(count):
        line = {
            "id": f"user-{number}",
            "creation_ts": 1_700_000_000_000 + number,
            "emails": [{"id": f"{number % 9973:064x}", "email": f"someone{number}@example.com"}],
            "activities": [
                {"ts": 1_700_000_100_000 + number + n, "type": "TOUCH", "amount": number % 500 / 4}
                for n in range(5)
            ],
            "segments": [{"id": str(number % 17)}, {"id": str(number % 31)}],
        }
        yield json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _compressed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    compress = zlib.compressobj(wbits=31)
    for block in blocks:
        yield compress.compress(block)
    yield compress.flush()


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.writelines(blocks)
    unfinished.rename(path)


if __name__ == "__main__":
    folder, events, lines, scale = sys.argv[1:]
    prepare(inputs_in(Path(folder), int(events), int(lines), float(scale)))
