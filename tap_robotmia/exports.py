"""Download the windows of one run, in order.

Streams that need the same days share a download.
"""

from __future__ import annotations

import logging
import signal
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from singer_martech.errors import SettingError
from singer_martech.runtime.background import prefetch
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.values.wording import counted
from tap_robotmia.client import Export, FutureDate, RobotmiaClient, format_days
from tap_robotmia.columns import ColumnTypes, sample
from tap_robotmia.events import EventReader
from tap_robotmia.malformed_lines import MalformedLines
from tap_robotmia.observations import Observations
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
        Sequence,
    )
    from datetime import date

    from tap_robotmia.events import Event
    from tap_robotmia.export_settings import ExportSettings
    from tap_robotmia.windows import Window

    Download = tuple[Window, tuple[str, ...] | None]
    """A window and the event names to request; None for all."""

logger = logging.getLogger(__name__)


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
    """A window whose export was received completely.

    Attributes:
        window: Its days and the names of the streams that need them.
        bookmark: The instant up to which the export is complete.
        received_at: When the export was received.
        event_count: The number of events read so far.
    """

    def __init__(
        self,
        window: Window,
        export: Export,
        bookmark: datetime,
        reader: EventReader,
        observed: Observations,
    ) -> None:
        self.window = window
        self.bookmark = bookmark
        self.received_at = export.received_at
        self.event_count = 0
        self._export = export
        self._observed = observed
        self._reader = reader

    def event_blocks(self) -> Iterator[list[Event]]:
        """Yield the events in blocks that fit into memory."""
        for lines in self._export.blocks():
            events = self._reader.read(lines)
            self._observed.add(events, self.event_count)
            self.event_count += len(events)
            yield events


class Exports:
    """Downloads the windows that the streams of a run need."""

    def __init__(self, settings: ExportSettings, shutdown: ShutdownSignal) -> None:
        self.settings = settings
        self.clock = ProjectClock(
            time_zone(settings.project_timezone), already_utc=settings.timestamps == "utc"
        )
        self._shutdown = shutdown

    def last_day(self) -> date:
        """Return the last day to export: ``end_date``, or today if that is earlier."""
        today = self.clock.day(datetime.now(timezone.utc))
        if self.settings.end_date is None:
            return today
        return min(self.settings.end_date, today)

    def windows(self, requests: Sequence[StreamRequest]) -> Generator[ExportedWindow, None, None]:
        """Yield the windows that some streams need, oldest first.

        Raises:
            SettingError: ``project_timezone`` is wrong.
            ExportFailed: A window could not be downloaded.
        """
        downloads = self._plan(requests)
        observed = self._observations(requests)
        yield from self._exported(downloads, observed)
        if downloads:
            self._warn(observed)

    def _exported(
        self, downloads: Sequence[Download], observed: Observations
    ) -> Generator[ExportedWindow, None, None]:
        progress = Progress(sum(window.days for window, _ in downloads), logger)
        malformed = MalformedLines(self.settings.reject_path, self.settings.max_malformed_lines)
        with closing(malformed), closing(self._downloaded(downloads)) as downloaded:
            for window, export in downloaded:
                exported = self._exported_window(window, export, malformed, observed)
                yield exported
                progress.window_written(window, exported.event_count)

    def _exported_window(
        self, window: Window, export: Export, malformed: MalformedLines, observed: Observations
    ) -> ExportedWindow:
        where = f"the export of {format_days(window.from_date, window.to_date)}"
        reader = self._reader(partial(malformed.add, where=where))
        bookmark = min(self.clock.end_of(window.to_date), export.requested_at)
        return ExportedWindow(window, export, bookmark, reader, observed)

    def _plan(self, requests: Sequence[StreamRequest]) -> list[Download]:
        """Return the windows to export with the event names to request, and log them."""
        last_day = self.last_day()
        first_days = {request.stream: request.first_day for request in requests}
        plan = list(windows(first_days, last_day, self.settings.window_days))
        if plan:
            logger.info(
                "exporting %s for %s: %s in %s",
                format_days(plan[0].from_date, plan[-1].to_date),
                ", ".join(first_days),
                counted(sum(window.days for window in plan), "day"),
                counted(len(plan), "request"),
            )
        else:
            logger.info("nothing to export: all days up to %s are done", last_day)
        return [(window, self._event_names(window, requests)) for window in plan]

    def _warn(self, observed: Observations) -> None:
        """Warn about settings that are wrong according to the events of the run."""
        for name in observed.missing:
            logger.warning(
                "no event '%s' in the exported days (settings 'events' and 'event_streams')%s",
                name,
                observed.similar_to(name),
            )
        problem = observed.zone_check.problem()
        if problem is not None:
            logger.warning("%s", problem)
        if self.settings.where and not observed.has_events:
            logger.warning("no event of the exported days passes the filter; check setting 'where'")

    def column_types(self, names: Collection[str]) -> dict[str, ColumnTypes]:
        """Return the types of the properties in the most recent days, per event name."""
        types = {name: ColumnTypes() for name in names}
        for events in self.recent_events(self.settings.sample_days, names):
            sample(events, types)
        return types

    def recent_events(
        self, days: int, names: Collection[str] | None
    ) -> Generator[list[Event], None, None]:
        """Yield the events of the most recent days in blocks; malformed lines are skipped.

        Args:
            days: The number of days.
            names: The names of the events; None for the setting ``events``, empty for all.
        """
        reader = self._reader(lambda line, reason: None)  # noqa: ARG005
        with closing(self._downloaded(self._recent(days, names))) as downloaded:
            for _, export in downloaded:
                for lines in export.blocks():
                    self._shutdown.check()
                    yield reader.read(lines)

    def _recent(self, days: int, names: Collection[str] | None) -> list[Download]:
        last_day = self.last_day()
        plan = windows({"": days_before(last_day, days - 1)}, last_day, self.settings.window_days)
        asked = self.settings.events if names is None else tuple(names)
        return [(window, asked) for window in plan]

    def _observations(self, requests: Iterable[StreamRequest]) -> Observations:
        typed = [request.event_name for request in requests if request.event_name is not None]
        names = dict.fromkeys([*(self.settings.events or ()), *typed])
        return Observations(list(names), self.clock.event_zone)

    def _reader(self, malformed: Callable[[bytes, str], None]) -> EventReader:
        return EventReader(self.clock, malformed, sanitize=self.settings.sanitize_text)

    def _event_names(
        self, window: Window, requests: Iterable[StreamRequest]
    ) -> tuple[str, ...] | None:
        """Return the event names to request; None for all."""
        names: set[str] = set()
        for request in requests:
            if request.stream not in window.streams:
                continue
            if request.event_name is None:
                return self.settings.events
            names.add(request.event_name)
        return tuple(sorted(names))

    def _downloaded(
        self, downloads: Sequence[Download]
    ) -> Generator[tuple[Window, Export], None, None]:
        """Yield windows with their exports, oldest first; each is closed after its turn."""
        halt = ShutdownSignal()
        self._shutdown.on_request(lambda: halt.request(self._shutdown.signum or signal.SIGTERM))
        client = self._client(halt)
        exports = self._prefetch(client, downloads)
        try:
            yield from self._opened(downloads, exports)
        finally:
            halt.request()
            exports.close()
            client.close()

    def _opened(
        self, downloads: Iterable[Download], exports: Iterable[Export]
    ) -> Generator[tuple[Window, Export], None, None]:
        try:
            for (window, _), export in zip(downloads, exports, strict=True):
                with export:
                    yield window, export
        except FutureDate as error:
            raise SettingError(
                f"{error}: setting 'project_timezone' ({self.settings.project_timezone}) must be "
                "the time zone in the project's settings"
            ) from error

    def _client(self, shutdown: ShutdownSignal) -> RobotmiaClient:
        settings = self.settings
        return RobotmiaClient(
            settings.api_secret,
            settings.api_url,
            http=settings.http,
            shutdown=shutdown,
            pool_size=settings.parallel_downloads,
        )

    def _prefetch(
        self, client: RobotmiaClient, downloads: Iterable[Download]
    ) -> Generator[Export, None, None]:
        where = self.settings.where
        return prefetch(
            (
                partial(client.export, window.from_date, window.to_date, events=names, where=where)
                for window, names in downloads
            ),
            self.settings.parallel_downloads,
            self._shutdown,
            Export.close,
        )
