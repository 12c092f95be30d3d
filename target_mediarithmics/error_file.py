"""Find the failed lines of an upload in the vendor's error file.

The vendor documents that there is an error file, but not its content. Line numbers, copies
of the lines, and JSON with either or with identifiers are recognized. An ambiguous entry
identifies no line.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

import msgspec

from singer_martech.runtime.redaction import HEAD_BYTES, redacted_head
from singer_martech.values.json_codec import DECODE_ERRORS
from target_mediarithmics import identifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAX_LINE_BYTES = 1024 * 1024
_REASON_CHARACTERS = 300
_HEAD_CHARACTERS = 500
_NUMBERED = re.compile(  # for text without runs of white space
    r"\W{0,9}(?:error )?(?:(?:at|in|on) )?(?:input )?line ?(?:number|no\.?|#)? ?[:=]? ?"
    r"([0-9]{1,12})\b[ :;,.\-\])]*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_LINE_NAMES = ("line", "line_number", "lineNumber", "line_no", "row", "row_number")
_INDEX_NAMES = ("index", "line_index", "position")
_REASON_NAMES = ("error", "reason", "message", "error_message", "cause", "description")

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class EncodedRecords(Protocol):
    """The lines of an upload, by index from 0."""

    def __len__(self) -> int:
        """The number of lines."""

    def line(self, index: int) -> bytes:
        """Return a line without its line break."""


@dataclass(slots=True)
class _Entry:
    """The content of one line of an error file.

    Attributes:
        index: The index of the failed line, if it says so.
        contents: Digests of texts that may be a copy of the failed line.
        values: Digests of JSON values that may be equal to that of the failed line.
        identifiers: Identifiers that it names.
    """

    reason: str
    index: int | None = None
    contents: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)


def failed_lines(
    file: IO[bytes], lines: EncodedRecords, failures: int, *, has_header: bool = False
) -> dict[int, str]:
    """Find the failed lines.

    Args:
        file: The error file.
        lines: The upload.
        failures: How many lines failed, as the execution says.
        has_header: Whether the upload begins with a header: the first number of its lines
            is unknown then.

    Returns:
        Reasons by index in the upload: fewer than ``failures`` if the file does not name all
        failed lines, none if it names more lines than failed.
    """
    entries = list(_entries(file, 4 * failures + 100))
    found: dict[int, list[str]] = defaultdict(list)
    left = _by_content(entries, lines, found)
    left = _by_index(left, lines, found, has_header=has_header)
    _by_identifier(left, lines, found)
    if len(found) > failures:
        return {}
    return {index: "; ".join(dict.fromkeys(reasons)) for index, reasons in found.items()}


def head_of_file(file: IO[bytes]) -> str:
    """Return the beginning of an error file as one line."""
    file.seek(0)
    return redacted_head(file.read(HEAD_BYTES), _HEAD_CHARACTERS)


def _entries(file: IO[bytes], most: int) -> Iterable[_Entry]:
    file.seek(0)
    count = 0
    starts = True
    while count < most and (line := file.readline(_MAX_LINE_BYTES)):
        is_start, starts = starts, line.endswith(b"\n")
        line = line.rstrip(b"\r\n")
        if line.strip() and is_start:  # the rest of a long line names no record
            count += 1
            yield _entry(line)


def _entry(line: bytes) -> _Entry:
    try:
        value = msgspec.json.decode(line)
    except DECODE_ERRORS:
        value = None
    if isinstance(value, dict):
        return _entry_of_object(line, value)
    return _entry_of_text(line)


def _entry_of_text(line: bytes) -> _Entry:
    text = " ".join(line.decode("utf-8", "replace").split())
    numbered = _NUMBERED.fullmatch(text)
    entry = _Entry(reason=text, contents=[_digest(line)])
    if numbered is not None:
        entry.index = int(numbered.group(1)) - 1
        entry.reason = numbered.group(2) or "no reason given"
    start, end = line.find(b"{"), line.rfind(b"}")
    if 0 <= start < end:  # a copy with text around it
        copy = line[start : end + 1]
        entry.contents.append(_digest(copy))
        entry.values += _digests_of_value(copy)
    entry.reason = redacted_head(entry.reason, _REASON_CHARACTERS)
    return entry


def _entry_of_object(line: bytes, value: dict[str, Any]) -> _Entry:
    given = [value.get(name) for name in _REASON_NAMES]
    given = [each.get("message") if isinstance(each, dict) else each for each in given]
    reasons = [each for each in given if isinstance(each, str)]
    entry = _Entry(
        reason=redacted_head("; ".join(reasons), _REASON_CHARACTERS) or "no reason given",
        contents=[_digest(line)],
        values=[_digest(_encode_sorted(value))],
    )
    for names, first in ((_LINE_NAMES, 1), (_INDEX_NAMES, 0)):
        for name in names:
            number = value.get(name)
            if isinstance(number, int) and not isinstance(number, bool) and entry.index is None:
                entry.index = number - first
    for part in value.values():
        if isinstance(part, str):
            entry.contents.append(_digest(part.rstrip("\r\n").encode("utf-8", "replace")))
            entry.values += _digests_of_value(part.encode("utf-8", "replace"))
        elif isinstance(part, dict):
            entry.values.append(_digest(_encode_sorted(part)))
            entry.identifiers += _identifiers(part)
    entry.identifiers += _identifiers(value)
    return entry


def _by_content(
    entries: list[_Entry], lines: EncodedRecords, found: dict[int, list[str]]
) -> list[_Entry]:
    """Match copies of lines; return the entries without one."""
    left = _matched(entries, lines, found, lambda entry: entry.contents, _digest)
    if any(entry.values for entry in left):
        left = _matched(left, lines, found, lambda entry: entry.values, _digest_of_value)
    return left


def _matched(
    entries: list[_Entry],
    lines: EncodedRecords,
    found: dict[int, list[str]],
    candidates: Callable[[_Entry], list[bytes]],
    digest: Callable[[bytes], bytes | None],
) -> list[_Entry]:
    wanted = {each for entry in entries for each in candidates(entry)}
    if not wanted:
        return entries
    indexes: dict[bytes, list[int]] = defaultdict(list)
    for index in range(len(lines)):
        content = digest(lines.line(index).rstrip(b"\r"))
        if content in wanted and content is not None:
            indexes[content].append(index)
    left = []
    for entry in entries:
        options = next((indexes[each] for each in candidates(entry) if each in indexes), None)
        if options is None:
            left.append(entry)
            continue
        # of equal lines, take the one of this number, or the next one
        unused = [index for index in options if index not in found] or options
        index = entry.index if entry.index in options else unused[0]
        is_copy = entry.index is None and entry.reason.lstrip().startswith(("{", '"'))
        found[index].append("no reason given" if is_copy else entry.reason)
    return left


def _by_index(
    entries: list[_Entry], lines: EncodedRecords, found: dict[int, list[str]], *, has_header: bool
) -> list[_Entry]:
    """Match line numbers; return the entries without one."""
    numbered = [entry for entry in entries if entry.index is not None]
    left = [entry for entry in entries if entry.index is None]
    indexes = [entry.index for entry in numbered if entry.index is not None]
    if has_header or any(index not in range(len(lines)) for index in indexes):
        return left
    for index, entry in zip(indexes, numbered, strict=True):
        found[index].append(entry.reason)
    return left


def _by_identifier(
    entries: list[_Entry], lines: EncodedRecords, found: dict[int, list[str]]
) -> None:
    """Match identifiers that occur in one line only."""
    wanted = {each for entry in entries for each in entry.identifiers}
    if not wanted:
        return
    indexes = _indexes_by_identifier(wanted, lines)
    for entry in entries:
        options = {tuple(indexes[each]) for each in entry.identifiers if each in indexes}
        if len(options) == 1 and len(next(iter(options))) == 1:
            found[next(iter(options))[0]].append(entry.reason)


def _indexes_by_identifier(wanted: set[str], lines: EncodedRecords) -> dict[str, list[int]]:
    """Return the indexes of the lines with each identifier; none if a line is not JSON."""
    indexes: dict[str, list[int]] = defaultdict(list)
    for index in range(len(lines)):
        try:
            value = msgspec.json.decode(lines.line(index))
        except DECODE_ERRORS:
            return {}
        for each in _identifiers(value):
            if each in wanted:
                indexes[each].append(index)
    return indexes


def _identifiers(value: Any) -> list[str]:
    identifier = identifiers.of_any(value) if isinstance(value, dict) else None
    return [] if identifier is None else [identifier]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest_of_value(content: bytes) -> bytes | None:
    try:
        return _digest(_encode_sorted(msgspec.json.decode(content)))
    except DECODE_ERRORS:
        return None


def _digests_of_value(content: bytes) -> list[bytes]:
    digest = _digest_of_value(content) if content.lstrip().startswith(b"{") else None
    return [] if digest is None else [digest]
