"""The inputs of the benchmarks, created once and cached beside the environments."""

from __future__ import annotations

import datetime
import json
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.sandbox.robotmia_volume import big_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAY = datetime.date(2026, 3, 10)
_STATE_EVERY = 10_000


class Inputs(NamedTuple):
    """Files with ``events`` events, and a query export's result.

    Attributes:
        events: The number of events.
        body: The export of a day, compressed.
        messages: The same events as Singer messages of the stream ``events``.
        customers: As many Singer messages with flat records of 26 fields.
        result: A query export's result of ``result_lines`` lines.
        result_lines: The number of lines.
    """

    events: int
    body: Path
    messages: Path
    customers: Path
    result: Path
    result_lines: int


def inputs_in(folder: Path, events: int, result_lines: int) -> Inputs:
    """Name the files of a folder."""
    return Inputs(
        events,
        folder / f"events-{events}.jsonl.gz",
        folder / f"events-{events}.singer",
        folder / f"customers-{events}.singer",
        folder / f"result-{result_lines}.jsonl",
        result_lines,
    )


def prepare(inputs: Inputs) -> None:
    """Create missing files."""
    inputs.body.parent.mkdir(parents=True, exist_ok=True)
    events = inputs.events
    if not inputs.body.exists():
        _write(inputs.body, _compressed(big_day(DAY, events)))
    if not inputs.messages.exists():
        _write(inputs.messages, _messages("events", _events(events), EVENT_SCHEMA, "event_id"))
    if not inputs.customers.exists():
        customers = _messages("customers", _customers(events), CUSTOMER_SCHEMA, "customer_id")
        _write(inputs.customers, customers)
    if not inputs.result.exists():
        _write(inputs.result, _result(inputs.result_lines))


_TEXT = {"type": ["null", "string"]}
_NUMBER = {"type": ["null", "number"]}
EVENT_SCHEMA = {
    "type": "object",
    "properties": {
        "event_id": {"type": "string"},
        "event": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "distinct_id": _TEXT,
        "insert_id": _TEXT,
        "properties": {"type": "object", "additionalProperties": True},
    },
}
CUSTOMER_SCHEMA = {
    "type": "object",
    "properties": {
        "customer_id": {"type": "string"},
        **{f"text_{n}": _TEXT for n in range(17)},
        **{f"number_{n}": _NUMBER for n in range(8)},
    },
}


def _events(count: int) -> Iterator[dict[str, Any]]:
    lines = b"".join(big_day(DAY, count)).splitlines()
    for number, line in enumerate(lines):
        event = json.loads(line)
        properties = event["properties"]
        yield {
            "event_id": f"{number:032x}",
            "event": event["event"],
            "time": "2026-03-10T12:00:00Z",
            "distinct_id": properties.get("distinct_id"),
            "insert_id": properties.get("$insert_id"),
            "properties": properties,
        }


def _customers(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "customer_id": f"customer-{number}",
            **{f"text_{n}": f"value {number % 977} of field {n}" for n in range(17)},
            **{f"number_{n}": number * 10 + n if n % 2 else number / 4 + n for n in range(8)},
        }


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


def _messages(
    stream: str, records: Iterator[dict[str, Any]], schema: dict[str, Any], key: str
) -> Iterator[bytes]:
    yield _line({"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": [key]})
    for number, record in enumerate(records, 1):
        yield _line({"type": "RECORD", "stream": stream, "record": record})
        if not number % _STATE_EVERY:
            yield _line({"type": "STATE", "value": {"bookmarks": {stream: {"read": number}}}})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


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
    events, *paths, lines = sys.argv[1:]
    body, messages, customers, result = map(Path, paths)
    prepare(Inputs(int(events), body, messages, customers, result, int(lines)))
