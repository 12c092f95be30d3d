"""Read run summaries in the form that ``singer_martech.delivery.run_summary`` writes."""

from __future__ import annotations

import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from singer_martech.delivery.run_summary import FORMAT
from singer_martech.errors import MartechError
from singer_martech.values.json_codec import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Timeline(msgspec.Struct):
    """How a stream's counts grew; the columns are equally long."""

    seconds: list[float]
    delivered: list[int]
    rejected: list[int]
    retries: list[int]

    def __post_init__(self) -> None:
        """Reject columns of unequal length, and seconds out of order."""
        columns = (self.seconds, self.delivered, self.rejected, self.retries)
        if len({len(column) for column in columns}) != 1 or not self.seconds:
            raise ValueError("the columns of a timeline are not equally long")
        if self.seconds != sorted(self.seconds):
            raise ValueError("the seconds of a timeline are not in order")


class Stream(msgspec.Struct):
    """The counts of one stream, under the names of the summary line.

    Attributes:
        would_deliver: Set in a dry run instead of ``delivered``.
        unchanged: Set with a ledger only.
    """

    stream: str
    read: int
    rejected: int
    skipped_deletes: int
    superseded: int
    requests: int
    retries: int
    bytes: int
    seconds: float
    timeline: Timeline
    delivered: int = 0
    would_deliver: int = 0
    unchanged: int | None = None
    undelivered: int = 0


class Reject(msgspec.Struct):
    """Why records were rejected, and the key of one of them."""

    stream: str
    reason: str
    status: int | None
    example: dict[str, Any]
    count: int


class Run(msgspec.Struct):
    """One run of one target.

    Streams may share a request, so requests and retries are not the sums of the streams'.

    Attributes:
        pipeline: The id under which Meltano keeps the pipeline's state, if Meltano ran it.
        meltano_run_id: Meltano's id of the run, if the environment has it.
    """

    target: str
    version: str
    run: str
    dry_run: bool
    started_at: datetime.datetime
    ended_at: datetime.datetime
    seconds: float
    outcome: Literal["succeeded", "failed", "stopped"]
    reason: str | None
    requests: int
    retries: int
    bytes: int
    timeline: Timeline
    streams: list[Stream]
    rejects: list[Reject]
    rejects_for_other_reasons: int
    pipeline: str | None = None
    meltano_run_id: str | None = None

    @property
    def delivered(self) -> int:
        """Records that the vendor accepted."""
        return self.total("delivered")

    @property
    def has_ledger(self) -> bool:
        """Whether the target compared records with a ledger."""
        return any(stream.unchanged is not None for stream in self.streams)

    def total(self, count: str) -> int:
        """Return the sum of a count over the streams."""
        return sum(getattr(stream, count) or 0 for stream in self.streams)

    @property
    def rate(self) -> float:
        """Records delivered per second, over the whole run."""
        return self.delivered / self.seconds if self.seconds else 0.0


class _Head(msgspec.Struct):
    format: int


def read_runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Read run summaries.

    Args:
        paths: Files, and folders whose summaries are all read. A run found twice counts once.

    Returns:
        The runs, the earliest first, and the problem of each file that was left out.

    Raises:
        MartechError: There is no run summary.
    """
    runs: dict[tuple[str, str], Run] = {}
    problems: list[str] = []
    for path in paths:
        for file in _files(path):
            try:
                run = read_run(file)
            except MartechError as error:
                problems.append(str(error))
            else:
                runs.setdefault((run.target, run.run), run)
    if not runs:
        hint = "no run summary found; targets write them to their setting 'summary_path'"
        raise MartechError("; ".join([*problems, hint]))
    return sorted(runs.values(), key=lambda run: (run.started_at, run.target, run.run)), problems


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # a folder may hold reject reports too, with their schema files
    return sorted(
        file for file in path.glob("[!.]*.json") if not file.name.endswith(".schema.json")
    )


def read_run(path: Path) -> Run:
    """Read one run summary.

    Raises:
        MartechError: It cannot be read, or is not a run summary of a known format.
    """
    try:
        text = path.read_bytes()
        version = msgspec.json.decode(text, type=_Head).format
        if version != FORMAT:
            raise MartechError(
                f"{path} is a run summary of format {version}, which this version of "
                "singer-martech-report does not know; use the version of the target that wrote it"
            )
        return msgspec.json.decode(text, type=Run)
    except OSError as error:
        raise MartechError(f"{path} cannot be read: {error.strerror}") from error
    except DECODE_ERRORS as error:
        raise MartechError(f"{path} is not a run summary: {error}") from error


class MergedReason(msgspec.Struct):
    """Why records were rejected, over all runs of a target.

    Attributes:
        runs: In how many runs it occurred.
    """

    target: str
    stream: str
    reason: str
    status: int | None
    example: dict[str, Any]
    count: int = 0
    runs: int = 0


def merged_reasons(runs: Iterable[Run]) -> list[MergedReason]:
    """Return the reasons of all runs together, the most frequent first."""
    merged: dict[tuple[str, str, str, int | None], MergedReason] = {}
    for run in runs:
        for each in run.rejects:
            known = merged.setdefault(
                (run.target, each.stream, each.reason, each.status),
                MergedReason(run.target, each.stream, each.reason, each.status, each.example),
            )
            known.count += each.count
            known.runs += 1
    return sorted(merged.values(), key=lambda reason: -reason.count)
