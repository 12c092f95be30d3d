"""The summary of one run, a JSON file written for the setting ``summary_path``."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.errors import SettingError, Stopped
from singer_martech.runtime import private_files
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from singer_martech.delivery.reject_reasons import RejectReasons
    from singer_martech.http.stats import RequestStats

logger = logging.getLogger(__name__)

FORMAT = 1
"""Version of the file format; readers reject versions they do not know."""

_FIRST_INTERVAL_SECONDS = 0.1
_MAX_POINTS = 300


class Timeline:
    """The counts of each stream over time.

    A longer run gets a coarser resolution, so that there are at most a few hundred points.
    """

    def __init__(self, started_at: float) -> None:
        """Start at a time of the monotonic clock, with all counts at zero."""
        self._started_at = started_at
        self._interval = _FIRST_INTERVAL_SECONDS
        self._seconds = [0.0]
        self._counts: dict[StreamMetrics, list[tuple[int, int, int]]] = {}
        self.due_at = started_at

    def add(self, now: float, metrics_by_stream: Iterable[StreamMetrics]) -> None:
        """Add the current counts."""
        if len(self._seconds) >= _MAX_POINTS:
            self._interval *= 2
            self._seconds = self._seconds[::2]
            self._counts = {metrics: counts[::2] for metrics, counts in self._counts.items()}
        self.due_at = now + self._interval
        for metrics in metrics_by_stream:
            counts = self._counts.setdefault(metrics, [(0, 0, 0)] * len(self._seconds))
            counts.append((metrics.delivered, metrics.rejected, metrics.retries))
        self._seconds.append(round(now - self._started_at, 3))

    def columns(self, metrics: StreamMetrics) -> dict[str, list[Any]]:
        """Return a stream's points as columns: seconds since the start, and counts."""
        points = self._counts.get(metrics) or [(0, 0, 0)] * len(self._seconds)
        delivered, rejected, retries = (list(column) for column in zip(*points, strict=True))
        return {
            "seconds": self._seconds,
            "delivered": delivered,
            "rejected": rejected,
            "retries": retries,
        }


class RunSummary:
    """The summary of one run, updated during the run and written at its end.

    Args:
        path: The setting ``summary_path``: a folder, a file whose name ends in .json, or
            None for no summary.
        about: The first members of the summary: ``target``, ``version``, ``run`` (the run's
            name, as in the reject reports), ``dry_run``.
        metrics_by_stream: The counts of all streams, updated elsewhere.
        stats: The request statistics, updated elsewhere.
        reasons: The reject reasons, updated elsewhere.

    Raises:
        SettingError: No file can be written there; raised before anything is sent.
    """

    def __init__(
        self,
        path: str | None,
        *,
        about: Mapping[str, Any],
        metrics_by_stream: Mapping[str, StreamMetrics],
        stats: RequestStats,
        reasons: RejectReasons,
    ) -> None:
        """Create the folder if it does not exist."""
        self._about = about
        self._metrics_by_stream = metrics_by_stream
        self._stats = stats
        self._reasons = reasons
        self._began = datetime.datetime.now(datetime.timezone.utc)
        self._started_at = time.monotonic()
        self._is_written = self._has_failed = False
        self._all_streams = StreamMetrics("")
        self._timeline = Timeline(self._started_at)
        self._path = None if path is None else _file(path, f"{about['target']}.{about['run']}.json")

    def sample(self) -> None:
        """Add the current counts to the timeline, if a point is due."""
        if self._path is None:
            return
        now = time.monotonic()
        if now >= self._timeline.due_at:
            self._sample(now)

    def _sample(self, now: float) -> None:
        metrics_by_stream = self._metrics_by_stream.values()
        self._all_streams.delivered = sum(metrics.delivered for metrics in metrics_by_stream)
        self._all_streams.rejected = sum(metrics.rejected for metrics in metrics_by_stream)
        # not the sum of the streams' retries: streams can share a request
        self._all_streams.retries = self._stats.retries
        self._timeline.add(now, [self._all_streams, *metrics_by_stream])

    def write(self, error: BaseException | None) -> None:
        """Write the file atomically, once; an error replaces a success.

        The records are already delivered, so a full disk only causes a warning.
        """
        if self._path is None or self._has_failed or (self._is_written and error is None):
            return
        text = json.dumps(_without_secrets(self._document(error)))
        try:
            private_files.replace(self._path, text + "\n")
        except OSError as failure:
            logger.warning(
                "the summary %s cannot be written (%s); see the setting 'summary_path'",
                self._path,
                failure.strerror,
            )
        self._is_written = True
        self._has_failed = error is not None

    def _document(self, error: BaseException | None) -> dict[str, Any]:
        now = time.monotonic()
        self._sample(now)
        return {
            "format": FORMAT,
            **self._about,
            **_meltano_run(),
            "started_at": _iso(self._began),
            "ended_at": _iso(datetime.datetime.now(datetime.timezone.utc)),
            "seconds": round(now - self._started_at, 3),
            "outcome": _outcome(error),
            "reason": None if error is None else _one_line(error),
            "requests": self._stats.requests,
            "retries": self._stats.retries,
            "bytes": self._stats.bytes,
            "timeline": self._timeline.columns(self._all_streams),
            "streams": [
                {**metrics.summary(), "timeline": self._timeline.columns(metrics)}
                for metrics in self._metrics_by_stream.values()
            ],
            "rejects": [dataclasses.asdict(reason) for reason in self._reasons.most_common()],
            "rejects_for_other_reasons": self._reasons.others,
        }


def _meltano_run() -> dict[str, str | None]:
    """Return the pipeline's state id and the run id, if Meltano set them."""
    names = [os.environ.get(f"MELTANO_{kind}_NAME") for kind in ("EXTRACTOR", "LOADER")]
    pipeline = "-to-".join(name for name in names if name) if all(names) else None
    if pipeline is not None:
        before = os.environ.get("MELTANO_ENVIRONMENT")
        after = os.environ.get("MELTANO_RUN_STATE_ID_SUFFIX")
        pipeline = ":".join(part for part in (before, pipeline, after) if part)
    return {"pipeline": pipeline, "meltano_run_id": os.environ.get("MELTANO_RUN_ID")}


def _file(path: str, name: str) -> Path:
    """Return the path of the file to write; create its folder."""
    try:
        file = _located(Path(path).expanduser(), name)
        is_written_directly = private_files.is_written_directly(file)
    except OSError as error:
        raise SettingError(f"setting 'summary_path' is not a path ({error.strerror})") from error
    _refuse_standard_output(file)
    if not is_written_directly:
        _prepare(file.parent)
        _refuse_link(file)
    return file


def _located(given: Path, name: str) -> Path:
    is_folder = given.is_dir() or not (given.suffix == ".json" or os.path.lexists(given))
    return (given / name if is_folder else given).absolute()


def _refuse_standard_output(file: Path) -> None:
    if private_files.open_descriptor(file) == private_files.STANDARD_OUTPUT:
        raise SettingError(
            "setting 'summary_path' names standard output, which carries the STATE messages; "
            "name a file, a folder or /dev/stderr"
        )


def _refuse_link(file: Path) -> None:
    if file.is_symlink():
        message = f"setting 'summary_path': {file} is a symbolic link; name the file itself"
        raise SettingError(message)


def _prepare(folder: Path) -> None:
    try:
        private_files.make_folder(folder)
    except OSError as error:
        raise SettingError(
            f"setting 'summary_path': the folder {folder} cannot be created "
            f"({error.strerror}); name another one"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"setting 'summary_path': no file can be written in {folder}; name another"
        raise SettingError(message)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "succeeded"
    return "stopped" if isinstance(error, Stopped) else "failed"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list) and not (value and isinstance(value[0], (int, float))):
        return [_without_secrets(item) for item in value]
    return value


def _iso(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
