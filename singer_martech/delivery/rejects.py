"""Store the records that were not delivered, so that they can be read and sent again."""

from __future__ import annotations

import datetime
import json
import math
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.delivery.reject_reasons import RejectReasons
from singer_martech.delivery.reject_report import RejectReport
from singer_martech.errors import MartechError
from singer_martech.runtime.private_files import file_name_part
from singer_martech.runtime.redaction import redact
from singer_martech.values.json_codec import encode
from singer_martech.values.json_scan import member_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.delivery.batch_result import UnidentifiedRejects

_MAX_OPEN_REPORTS = 32


class TooManyRejects(MartechError):
    """More records were rejected than ``max_rejected_records`` allows."""


class Rejects:
    """The reject reports of one run, one per stream and schema.

    Args:
        folder: The setting ``reject_path``.
        target: The target's name.
        allowed: The setting ``max_rejected_records``.
        fail_at_end: Process the whole input before failing.

    Attributes:
        run: The run's name, which is part of the report file names.
        reasons: The reject reasons with their counts.
        count: The number of rejected records.
    """

    def __init__(
        self, folder: str, target: str, allowed: int, *, fail_at_end: bool = False
    ) -> None:
        """Create no file until a record is rejected."""
        self._folder = Path(folder)
        self._target = target
        self._allowed = allowed
        self._fail_at_end = fail_at_end
        self._too_many: TooManyRejects | None = None
        self._exceeded_by: str | None = None
        now = datetime.datetime.now(datetime.timezone.utc)
        self.run = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.reasons = RejectReasons()
        self._schemas: dict[str, _Schema] = {}
        self._reports: dict[str, RejectReport] = {}
        self._open: dict[str, RejectReport] = {}
        self.count = 0

    @property
    def left(self) -> int | None:
        """How many more records may be rejected before the run fails; None for any."""
        return None if self._fail_at_end else max(0, self._allowed - self.count)

    def begin_schema(self, message: Mapping[str, Any]) -> None:
        """Store a stream's SCHEMA message, to be written beside its reject report."""
        stream = message["stream"]
        text = encode(message)
        known = self._schemas.get(stream)
        if known is not None and known.text == text:
            return
        version = 1 if known is None else known.version + 1
        self._schemas[stream] = _Schema(text, message.get("key_properties") or [], version)
        report = self._reports.pop(stream, None)
        self._open.pop(stream, None)
        if report is not None:
            report.close()

    def add(self, stream: str, raw: bytes, reason: str, status: int | None) -> None:
        """Report a record, given as received.

        Raises:
            TooManyRejects: The record is in the report and exceeds the limit.
            MartechError: The report cannot be written.
        """
        report = self._report(stream)
        reason = redact(" ".join(reason.split()))
        values, key = _key(self._schema(stream).key_properties, raw)
        report.write(_line(stream, key, raw, reason, status))
        self.reasons.add(stream, reason, status, values)
        self._count(1, f"stream '{stream}': a record was rejected: {reason}", report)

    def add_unidentified(self, stream: str, unidentified: UnidentifiedRejects) -> None:
        """Report records that are known only by their number, in one line.

        The vendor's error file is copied beside the report.

        Raises:
            TooManyRejects: The limit is exceeded.
            MartechError: The report cannot be written.
        """
        report = self._report(stream)
        reason, detail = (
            " ".join(text.split()) for text in (unidentified.reason, unidentified.detail)
        )
        line: dict[str, Any] = {
            "stream": stream,
            "key": {},
            "reason": redact(f"{reason}: {detail}" if detail else reason),
            "status": None,
            "record": None,
            "records": unidentified.count,
            "file": None,
            "rejected_at": _now(),
        }
        if unidentified.file is not None:
            suffix = f"{file_name_part(unidentified.name)}.errors"
            line["file"] = report.keep(suffix, unidentified.file)
        report.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.reasons.add(stream, reason, None, {}, unidentified.count)
        label = f"stream '{stream}': {unidentified.count} record(s) were rejected: {redact(reason)}"
        self._count(unidentified.count, label, report)

    def _count(self, count: int, label: str, report: RejectReport) -> None:
        self.count += count
        if self.count > self._allowed:
            self.sync()
            # later records count, but the first one is the reason
            self._exceeded_by = self._exceeded_by or label
            message = (
                f"{self._exceeded_by} -- rejected so far: {self.count}, "
                f"max_rejected_records: {self._allowed}; see {report.path}"
            )
            self._too_many = TooManyRejects(message)
            if not self._fail_at_end:
                raise self._too_many

    def raise_if_exceeded(self) -> None:
        """Check at the end of the input whether too many records were rejected.

        Raises:
            TooManyRejects: More records were rejected than allowed.
        """
        if self._too_many is not None:
            raise self._too_many

    def sync(self) -> None:
        """Flush the reports to disk."""
        for report in self._open.values():
            report.sync()

    def close(self) -> None:
        """Flush and close the reports."""
        for report in self._open.values():
            report.close()
        self._open.clear()
        self._reports.clear()

    def _report(self, stream: str) -> RejectReport:
        report = self._reports.get(stream)
        if report is None:
            schema = self._schema(stream)
            run = self.run if schema.version <= 1 else f"{self.run}-{schema.version}"
            report = RejectReport(self._folder, self._target, stream, run, schema.text)
            self._reports[stream] = report
        self._open.pop(stream, None)  # move the most recently used report to the end
        self._open[stream] = report
        if len(self._open) > _MAX_OPEN_REPORTS:
            oldest = next(iter(self._open))
            self._open[oldest].close()
            del self._open[oldest]
        return report

    def _schema(self, stream: str) -> _Schema:
        return self._schemas.get(stream) or _Schema(b"{}", [], 1)


class _Schema(NamedTuple):
    """A stream's SCHEMA message."""

    text: bytes
    key_properties: Sequence[str]
    version: int


def _key(names: Sequence[str], raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the key properties by name, and as JSON with all digits.

    Values that JSON cannot represent (NaN, a number too large for a double) become text.
    """
    if not names:
        return {}, b"{}"
    try:
        members = member_texts(raw.decode("utf-8", "surrogatepass"))
    except ValueError:
        members = {}
    texts = {name: _representable(members.get(name, "null")) for name in names}
    values = {name: _value(text) for name, text in texts.items()}
    parts = ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items())
    return values, f"{{{parts}}}".encode("utf-8", "surrogatepass")


def _representable(text: str) -> str:
    if text[0] in '"[{tfn':
        return text
    return text if math.isfinite(float(text)) else json.dumps(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _line(stream: str, key: bytes, raw: bytes, reason: str, status: int | None) -> bytes:
    # insert key and record as received, to keep all digits
    return b'{"stream":%s,"key":%s,"reason":%s,"status":%s,"record":%s,"rejected_at":"%s"}\n' % (
        json.dumps(stream).encode(),
        key,
        json.dumps(reason).encode(),
        json.dumps(status).encode(),
        raw,
        _now().encode(),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
