"""The records that were not taken, kept so that they can be read and sent again."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import shutil
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from singer_martech.delivery.reject_reasons import RejectReasons
from singer_martech.errors import MartechError
from singer_martech.runtime.redaction import redact
from singer_martech.runtime.temp_files import raise_if_disk_full
from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.delivery.batch_result import UnidentifiedRejects

_OWNER_ONLY = 0o600
SCHEMA_SUFFIX = ".schema.json"


class TooManyRejects(MartechError):
    """More records were rejected than ``max_rejected_records`` allows."""


class Rejects:
    """The reject reports of one run, one per stream and schema.

    Args:
        folder: The setting ``reject_path``.
        target: The target's name.
        allowed: The setting ``max_rejected_records``.
        fail_at_end: Let the run go on beyond it, and fail when all was read.
    """

    def __init__(
        self, folder: str, target: str, allowed: int, *, fail_at_end: bool = False
    ) -> None:
        """Create nothing until a record is rejected."""
        self._folder = Path(folder)
        self._target = target
        self._allowed = allowed
        self._fail_at_end = fail_at_end
        self._too_many: TooManyRejects | None = None
        now = datetime.datetime.now(datetime.timezone.utc)
        self.run = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.reasons = RejectReasons()
        self._versions: Counter[str] = Counter()
        self._schemas: dict[str, bytes] = {}
        self._reports: dict[str, _Report] = {}
        self.count = 0

    def begin_schema(self, message: Mapping[str, Any]) -> None:
        """Keep a stream's SCHEMA message, to stand beside a report of its records."""
        stream = message["stream"]
        schema = encode(message)
        if self._schemas.get(stream) == schema:
            return
        self._schemas[stream] = schema
        self._versions[stream] += 1
        report = self._reports.pop(stream, None)
        if report is not None:
            report.close()

    def add(self, stream: str, raw: bytes, reason: str, status: int | None) -> None:
        """Report a record.

        Args:
            stream: Its stream.
            raw: The record as received, as JSON.
            reason: Why it was not taken.
            status: The HTTP status of the vendor's refusal, or None.

        Raises:
            TooManyRejects: This one is more than is allowed.
            MartechError: The report cannot be written.
        """
        report = self._report(stream)
        keys = json.loads(self._schemas.get(stream, b"{}")).get("key_properties") or []
        reason = redact(" ".join(reason.split()))
        key = _key(keys, raw)
        report.write(_line(stream, key, raw, reason, status))
        self.reasons.add(stream, reason, status, key)
        self._count(1, f"stream '{stream}': a record was rejected: {reason}", report)

    def add_unidentified(self, stream: str, unidentified: UnidentifiedRejects) -> None:
        """Report records of which only their number is known, in one line.

        What the vendor says of them is kept as received, in a file beside the report.

        Raises:
            TooManyRejects: There are more of them than are allowed.
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
            line["file"] = report.keep(f"{unidentified.name}.errors", unidentified.file)
        report.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.reasons.add(stream, reason, None, {}, unidentified.count)
        label = f"stream '{stream}': {unidentified.count} record(s) were rejected: {redact(reason)}"
        self._count(unidentified.count, label, report)

    def _count(self, count: int, label: str, report: _Report) -> None:
        self.count += count
        if self.count > self._allowed:
            self.sync()
            message = (
                f"{label} -- rejected so far: {self.count}, "
                f"max_rejected_records: {self._allowed}; see {report.path}"
            )
            self._too_many = TooManyRejects(message)
            if not self._fail_at_end:
                raise self._too_many

    def raise_if_exceeded(self) -> None:
        """Say at the end of the input whether too many records were rejected.

        Raises:
            TooManyRejects: More than are allowed.
        """
        if self._too_many is not None:
            raise self._too_many

    def sync(self) -> None:
        """Bring what was reported onto the disk."""
        for report in self._reports.values():
            report.sync()

    def close(self) -> None:
        """Bring what was reported onto the disk, and report nothing more."""
        for report in self._reports.values():
            report.close()
        self._reports.clear()

    def _report(self, stream: str) -> _Report:
        report = self._reports.get(stream)
        if report is None:
            version = self._versions[stream]
            run = self.run if version <= 1 else f"{self.run}-{version}"
            name = f"{self._target}.{quote(stream, safe=' $@+')}.{run}"
            report = _Report(self._folder, name, self._schemas.get(stream, b"{}"))
            self._reports[stream] = report
        return report


class _Report:
    """An open report file and the schema file beside it."""

    def __init__(self, folder: Path, name: str, schema: bytes) -> None:
        self.path = folder / f"{name}.jsonl"
        self._dirty = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _create(folder / f"{name}{SCHEMA_SUFFIX}") as file:
                file.write(schema + b"\n")
            self._file = _create(self.path)
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        except OSError as error:
            self._explain(error)

    def write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            self._explain(error)
        self._dirty = True

    def keep(self, suffix: str, file: IO[bytes]) -> str:
        """Write what a file holds to one beside the report, and return its name."""
        path = self.path.with_name(f"{self.path.name.removesuffix('.jsonl')}.{suffix}")
        try:
            with _create(path) as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError as error:
            self._explain(error)
        return path.name

    def sync(self) -> None:
        if not self._dirty:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._explain(error)
        self._dirty = False

    def close(self) -> None:
        self.sync()
        self._file.close()

    def _explain(self, error: OSError) -> None:
        raise_if_disk_full(error, "the reject report")
        message = (
            f"the reject report {self.path} cannot be written ({error.strerror}); "
            "choose another folder with the setting 'reject_path'"
        )
        raise MartechError(message) from error


def _create(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY), "wb")


def _key(names: Sequence[str], raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        record = {}
    return {name: record.get(name) for name in names}


def _line(
    stream: str, key: Mapping[str, Any], raw: bytes, reason: str, status: int | None
) -> bytes:
    head = {"stream": stream, "key": key, "reason": reason, "status": status}
    # the record goes in as it came, to the digit
    return b'%s,"record":%s,"rejected_at":"%s"}\n' % (
        json.dumps(head, separators=(",", ":")).encode()[:-1],
        raw,
        _now().encode(),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
