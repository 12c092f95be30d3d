"""The downloads of one run: which windows, in which order, with which event names.

Streams that need the same days share a download.
"""

from __future__ import annotations

import logging
import signal
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_martech.errors import SettingError
from singer_martech.http.client import HttpSettings
from singer_martech.runtime.shutdown import ShutdownSignal
from tap_robotmia.client import Export, FutureDate, RobotmiaClient, format_days
from tap_robotmia.columns import ColumnTypes, sample
from tap_robotmia.events import EventReader
from tap_robotmia.malformed_lines import MalformedLines
from tap_robotmia.prefetch import prefetch
from tap_robotmia.progress import Progress
from tap_robotmia.project_time import ProjectClock, time_zone
from tap_robotmia.windows import days_before, windows

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from tap_robotmia.events import Event
    from tap_robotmia.windows import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportSettings:
    """What a run asks for; the settings of the same names."""

    api_secret: str
    api_url: str
    http: HttpSettings
    project_timezone: str
    timestamps: str
    start_date: date
    end_date: date | None
    lookback_days: int
    window_days: int
    events: tuple[str, ...] | None
    where: str | None
    sample_days: int
    parallel_downloads: int
    max_malformed_lines: int
    reject_path: Path
    sanitize_text: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ExportSettings:
        """Take them from a checked configuration."""
        end_date = config.get("end_date")
        return cls(
            api_secret=config["api_secret"],
            api_url=config["api_url"],
            http=HttpSettings.from_config(config),
            project_timezone=config["project_timezone"],
            timestamps=config["timestamps"],
            start_date=parse_day(config["start_date"]),
            end_date=parse_day(end_date) if end_date else None,
            lookback_days=config["lookback_days"],
            window_days=config["window_days"],
            events=tuple(config["events"]) if config.get("events") else None,
            where=config.get("where"),
            sample_days=config["sample_days"],
            parallel_downloads=config["parallel_downloads"],
            max_malformed_lines=config["max_malformed_lines"],
            reject_path=Path(config["reject_path"]),
            sanitize_text=config["sanitize_text"],
        )


def parse_day(text: str) -> date:
    """Read a day; of a date-time, its date.

    Raises:
        ValueError: The text begins with no date.
    """
    text = text.strip()
    if len(text) > len("yyyy-mm-dd"):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).date()
    return date.fromisoformat(text)


@dataclass(frozen=True)
class StreamRequest:
    """The days and events that one stream needs.

    Attributes:
        stream: The stream's name.
        first_day: The first day, in the project's time zone.
        event_name: The only event that the stream holds; None for all events.
    """

    stream: str
    first_day: date
    event_name: str | None


class ExportedWindow:
    """A window whose export was received whole.

    Attributes:
        window: Its days and the names of the streams that need them.
        bookmark: The instant up to which the export is complete.
        received_at: When the export was received.
        event_count: The number of events read so far.
    """

    def __init__(
        self, window: Window, export: Export, bookmark: datetime, reader: EventReader
    ) -> None:
        """Read nothing yet."""
        self.window = window
        self.bookmark = bookmark
        self.received_at = export.received_at
        self.event_count = 0
        self._export = export
        self._reader = reader

    def event_blocks(self) -> Iterator[list[Event]]:
        """Yield the events in blocks that fit into memory."""
        for block in self._export.blocks():
            events = self._reader.read(block)
            self.event_count += len(events)
            yield events


class Exports:
    """Downloads the windows that the streams of a run need.

    Args:
        settings: The days, events and limits of the run.
        shutdown: The request to end the run.
    """

    def __init__(self, settings: ExportSettings, shutdown: ShutdownSignal) -> None:
        """Send no request yet."""
        self.settings = settings
        self.clock = ProjectClock(
            time_zone(settings.project_timezone), already_utc=settings.timestamps == "utc"
        )
        self._shutdown = shutdown

    def last_day(self) -> date:
        """Return the last day to export: ``end_date``, but never a day that has not begun."""
        today = self.clock.today(datetime.now(timezone.utc))
        if self.settings.end_date is None:
            return today
        return min(self.settings.end_date, today)

    def windows(self, requests: Sequence[StreamRequest]) -> Generator[ExportedWindow, None, None]:
        """Yield the windows that some streams need, oldest first.

        Raises:
            SettingError: ``start_date`` lies after today, or ``project_timezone`` is wrong.
            ExportFailed: A window could not be downloaded.
        """
        settings, last_day = self.settings, self.last_day()
        if settings.start_date > last_day:
            message = (
                f"setting 'start_date' ({settings.start_date}) lies after today in the project "
                f"({last_day} in {settings.project_timezone})"
            )
            raise SettingError(message)
        first_days = {request.stream: request.first_day for request in requests}
        plan = list(windows(first_days, last_day, settings.window_days))
        total_days = sum(window.days for window in plan)
        if plan:
            logger.info(
                "exporting %s for %s: %d days in %d requests",
                format_days(plan[0].from_date, plan[-1].to_date),
                ", ".join(first_days),
                total_days,
                len(plan),
            )
        else:
            logger.info("nothing to export: all days up to %s are done", last_day)
        progress = Progress(total_days, logger)
        malformed = MalformedLines(settings.reject_path, settings.max_malformed_lines)
        downloads = [(window, self._event_names(window, requests)) for window in plan]
        with closing(malformed), closing(self._downloaded(downloads)) as downloaded:
            for window, export in downloaded:
                where = f"the export of {format_days(window.from_date, window.to_date)}"
                reader = self._reader(partial(malformed.add, where=where))
                bookmark = min(self.clock.end_of(window.to_date), export.requested_at)
                exported = ExportedWindow(window, export, bookmark, reader)
                yield exported
                progress.window_written(window, exported.event_count)

    def column_types(self, names: Collection[str]) -> dict[str, ColumnTypes]:
        """Look at the most recent days of some events and return what types they have."""
        types = {name: ColumnTypes() for name in names}
        last_day = self.last_day()
        first_day = days_before(last_day, self.settings.sample_days - 1)
        plan = windows({"sample": first_day}, last_day, self.settings.window_days)
        reader = self._reader(lambda line, reason: None)  # noqa: ARG005
        with closing(self._downloaded([(window, tuple(names)) for window in plan])) as received:
            for _, export in received:
                for block in export.blocks():
                    self._shutdown.check()
                    sample(reader.read(block), types)
        return types

    def _reader(self, malformed: Callable[[bytes, str], None]) -> EventReader:
        return EventReader(self.clock, malformed, sanitize=self.settings.sanitize_text)

    def _event_names(
        self, window: Window, requests: Iterable[StreamRequest]
    ) -> tuple[str, ...] | None:
        """Return the event names to ask for; None for all."""
        names: set[str] = set()
        for request in requests:
            if request.stream not in window.streams:
                continue
            if request.event_name is None:
                return self.settings.events
            names.add(request.event_name)
        return tuple(sorted(names))

    def _downloaded(
        self, requests: Sequence[tuple[Window, tuple[str, ...] | None]]
    ) -> Generator[tuple[Window, Export], None, None]:
        """Yield windows with their exports, in order; each is closed when the next is due."""
        settings = self.settings
        halt = ShutdownSignal()
        self._shutdown.on_request(lambda: halt.request(self._shutdown.signum or signal.SIGTERM))
        client = RobotmiaClient(
            settings.api_secret,
            settings.api_url,
            http=settings.http,
            shutdown=halt,
            pool_size=settings.parallel_downloads,
        )

        def download(window: Window, names: tuple[str, ...] | None) -> Callable[[], Export]:
            return partial(
                client.export,
                window.from_date,
                window.to_date,
                events=names,
                where=settings.where,
            )

        exports = prefetch(
            (download(*request) for request in requests),
            settings.parallel_downloads,
            self._shutdown,
            Export.close,
        )
        try:
            for (window, _), export in zip(requests, exports, strict=True):
                with export:
                    yield window, export
        except FutureDate as error:
            message = (
                f"{error}: setting 'project_timezone' ({settings.project_timezone}) must be the "
                "time zone in the project's settings"
            )
            raise SettingError(message) from error
        finally:
            halt.request()
            exports.close()
            client.close()
