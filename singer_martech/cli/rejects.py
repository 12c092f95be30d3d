"""The command ``singer-martech-rejects``: read reject reports and replay their records."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from singer_martech.delivery.reject_report import SCHEMA_SUFFIX
from singer_martech.values.json_codec import encode
from singer_martech.values.json_scan import member_texts

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group()
def main() -> None:
    """Read reject reports, and send their records again."""


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def summary(files: tuple[Path, ...]) -> None:
    """Print the reasons in FILES with their counts and an example each."""
    counts: Counter[tuple[str, str, int | None]] = Counter()
    examples: dict[tuple[str, str, int | None], Any] = {}
    for path in files:
        for entry in _entries(path):
            group = (entry.stream, entry.reason, entry.status)
            counts[group] += entry.records or 1
            if group not in examples:
                examples[group] = entry.key or json.loads(entry.record)
    for (stream, reason, status), count in counts.most_common():
        answered = "" if status is None else f" (status {status})"
        click.echo(f"{count:>8}  {stream}: {reason}{answered}")
        click.echo(f"{'':>8}  such as {json.dumps(examples[stream, reason, status])[:300]}")
    click.echo(f"{sum(counts.values()):>8}  in all")


class _Entry(msgspec.Struct):
    stream: str
    key: dict[str, Any]
    reason: str
    status: int | None
    record: msgspec.Raw
    records: int | None = None
    file: str | None = None


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def replay(files: tuple[Path, ...]) -> None:
    """Write the records of FILES as Singer messages, to be piped into a target."""
    nameless = 0
    for path in files:
        schema_path = path.with_name(path.name.removesuffix(".jsonl") + SCHEMA_SUFFIX)
        try:
            schema = schema_path.read_bytes().strip()
        except OSError as error:
            message = (
                f"{schema_path} cannot be read ({error.strerror}); it must stand beside the report"
            )
            raise click.ClickException(message) from error
        _write(schema)
        for entry in _entries(path):
            if entry.records is not None:
                nameless += entry.records
                click.echo(
                    f"{path}: {entry.records} record(s) of stream '{entry.stream}' cannot be "
                    f"replayed, because the vendor did not say which; see {entry.file}",
                    err=True,
                )
                continue
            _write(
                b'{"type":"RECORD","stream":%s,"record":%s}'
                % (encode(entry.stream), bytes(entry.record))
            )
    if nameless:
        sys.exit(1)


def _entries(path: Path) -> Iterator[_Entry]:
    decode = msgspec.json.Decoder(_Entry).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield _entry_of_odd_line(line, f"{path}, line {number}")


def _entry_of_odd_line(line: bytes, place: str) -> _Entry:
    """Read a line whose record strict JSON refuses, such as one with NaN."""
    try:
        texts = member_texts(line.decode())
        record = msgspec.Raw(texts.pop("record").encode())
        fields = {name: json.loads(text) for name, text in texts.items()}
        entry = msgspec.convert({**fields, "record": record}, _Entry)
    except (ValueError, KeyError, RecursionError) as error:
        reason = str(error).partition(":")[0] if isinstance(error, ValueError) else "no record"
        message = f"{place}: not a line of a reject report ({reason})"
        raise click.ClickException(message) from error
    return entry


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
