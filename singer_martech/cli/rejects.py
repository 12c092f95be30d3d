"""The command ``singer-martech-rejects``: read reject reports and replay their records."""

from __future__ import annotations

import json
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from singer_martech.cli.command import CliGroup
from singer_martech.delivery.reject_report import SCHEMA_SUFFIX
from singer_martech.errors import MartechError
from singer_martech.runtime.escapes import escape_controls
from singer_martech.singer.command import require_output
from singer_martech.values.json_codec import DECODE_ERRORS, encode
from singer_martech.values.json_scan import member_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EXAMPLE_CHARACTERS = 300

_FILES = click.argument("files", nargs=-1, required=True)


@click.group(cls=CliGroup)
@click.option("--target", metavar="NAME", help="Reject reports of another target.")
@click.version_option(package_name="singer-martech")
@click.pass_context
def main(context: click.Context, target: str | None) -> None:
    """Read reject reports, and send their records again.

    FILES are reports or patterns, such as rejects/target-mona.*.jsonl. The schema and error
    files beside reports are skipped.
    """
    context.obj = target


@main.command()
@_FILES
def summary(files: Sequence[str]) -> None:
    """Print the reasons in FILES with their counts and an example each."""
    require_output()
    counts: Counter[tuple[str, str, int | None]] = Counter()
    examples: dict[tuple[str, str, int | None], str] = {}
    for path in _reports(files):
        for entry in _entries(path):
            group = (entry.stream, entry.reason, entry.status)
            counts[group] += entry.records or 1
            if group not in examples:
                examples[group] = entry.example()
    for group, count in counts.most_common():
        stream, reason, status = group
        suffix = "" if status is None else f" (status {status})"
        click.echo(f"{count:>8}  {escape_controls(f'{stream}: {reason}')}{suffix}")
        click.echo(f"{'':>8}  such as {examples[group]}")
    click.echo(f"{sum(counts.values()):>8}  in all")


@main.command()
@_FILES
@click.pass_obj
def replay(target: str | None, files: Sequence[str]) -> None:
    """Write the records of FILES as Singer messages, to be piped into their target."""
    require_output()
    paths = _reports(files)
    _require_one_target(paths, target)
    unidentified = 0
    for path in paths:
        _write(_schema(path))
        for entry in _entries(path):
            if entry.records is not None:
                unidentified += entry.records
                click.echo(
                    escape_controls(
                        f"{path}: {entry.records} record(s) of stream '{entry.stream}' cannot be "
                        f"replayed, because the vendor did not say which; see {entry.file}"
                    ),
                    err=True,
                )
                continue
            _write(
                b'{"type":"RECORD","stream":%s,"record":%s}'
                % (encode(entry.stream), bytes(entry.record))
            )
    if unidentified:
        sys.exit(1)


def _reports(files: Sequence[str]) -> list[Path]:
    """Return the reject reports that arguments name."""
    paths: list[Path] = []
    for file in files:
        path = Path(file)
        found = [path] if path.is_file() else _matches(path)
        if not found:
            raise MartechError(f"{file} does not exist")
        paths += found
    reports = [path for path in paths if not path.name.endswith((SCHEMA_SUFFIX, ".errors"))]
    if not reports:
        raise MartechError(f"there is no reject report among {', '.join(map(str, paths))}")
    return list(dict.fromkeys(reports))


def _matches(pattern: Path) -> list[Path]:
    """Return the files that match a pattern that the shell did not expand."""
    if not pattern.parent.is_dir():
        return []
    return sorted(
        path
        for path in pattern.parent.iterdir()
        if path.is_file() and fnmatchcase(path.name, pattern.name)
    )


def _require_one_target(paths: Sequence[Path], target: str | None) -> None:
    """Compare targets, which are the first part of a report's name."""
    names = sorted({path.name.partition(".")[0] for path in paths})
    if target is not None and names != [target]:
        raise MartechError(
            f"these are reports of {' and '.join(names)}, not of {target}; "
            f"give only its reports: {target}.*.jsonl"
        )
    if len(names) > 1:
        raise MartechError(
            f"these are reports of {' and '.join(names)}; replay those of one target at a time, "
            f"such as {names[0]}.*.jsonl"
        )


def _schema(report: Path) -> bytes:
    path = report.with_name(report.name.removesuffix(".jsonl") + SCHEMA_SUFFIX)
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise MartechError(
            f"{path} cannot be read ({error.strerror}); it must be in the folder of the report"
        ) from error


class _Entry(msgspec.Struct):
    stream: str
    key: msgspec.Raw
    reason: str
    status: int | None
    record: msgspec.Raw
    records: int | None = None
    file: str | None = None

    def example(self) -> str:
        """Return the key, or other text that identifies the record, in one line."""
        if self.records is not None:
            return escape_controls(f"those in {self.file}" if self.file else "(unknown)")
        key = bytes(self.key).strip()
        text = (bytes(self.record) if key == b"{}" else key).decode(errors="backslashreplace")
        return escape_controls(text)[:_EXAMPLE_CHARACTERS]


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the lines of a report."""
    decode = msgspec.json.Decoder(_Entry).decode
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decode(line)
                except DECODE_ERRORS:
                    yield _lenient_entry(line, f"{path}, line {number}")
    except OSError as error:
        raise MartechError(f"{path} cannot be read ({error.strerror})") from error


def _lenient_entry(line: bytes, place: str) -> _Entry:
    """Decode a line whose record is not strict JSON, such as one with NaN."""
    try:
        return _entry(member_texts(line.decode()))
    except (ValueError, KeyError, RecursionError) as error:
        reason = (
            str(error).partition(":")[0] if isinstance(error, ValueError) else "no key or record"
        )
        raise MartechError(f"{place}: not a line of a reject report ({reason})") from error


def _entry(texts: dict[str, str]) -> _Entry:
    raw = {name: msgspec.Raw(texts.pop(name).encode()) for name in ("key", "record")}
    fields: dict[str, Any] = {name: json.loads(text) for name, text in texts.items()}
    return msgspec.convert({**fields, **raw}, _Entry)


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
