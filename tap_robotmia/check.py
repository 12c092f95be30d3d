"""The checks of ``--check``: login, export, time zone and event names."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from singer_martech.errors import MartechError, SettingError
from singer_martech.singer.command import Check
from singer_martech.values.wording import counted
from tap_robotmia.observations import CHECKED_PER_WINDOW, Observations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_robotmia.exports import Exports

_DAYS = 2
"""Yesterday and today: right after midnight, today has hardly any events."""


class ExportCheck:
    """Exports the most recent days and looks at the events."""

    def __init__(self, exports: Exports, event_streams: Sequence[str]) -> None:
        self._exports = exports
        self._settings = dict.fromkeys(event_streams, "event_streams")
        self._settings |= dict.fromkeys(exports.settings.events or (), "events")
        self._observed = Observations(list(self._settings), exports.clock.event_zone)
        self._has_older_days = False
        self._has_other_names = False

    def checks(self) -> Iterator[Check]:
        """Yield the checks, the login first."""
        yield Check("login and export", self._read_recent_days, is_prerequisite=True)
        yield Check("time zone", self._verify_zone)
        for name in self._settings:
            yield Check(f"event '{name}'", partial(self._verify_event, name))

    def _read_recent_days(self) -> None:
        read = 0
        with closing(self._exports.recent_events(_DAYS, None)) as blocks:
            for events in blocks:
                self._observed.add(events, read)
                read += len(events)
                if read >= CHECKED_PER_WINDOW and not self._observed.missing:
                    return

    def _verify_zone(self) -> None:
        problem = self._observed.zone_check.problem()
        if problem is not None:
            raise SettingError(problem)

    def _read_other_names(self) -> None:
        """Read the latest events of all names, for a suggestion where ``events`` excluded them."""
        if self._exports.settings.events and not self._has_other_names:
            self._has_other_names = True
            for events in self._exports.recent_events(_DAYS, ()):
                self._observed.add(events, CHECKED_PER_WINDOW)

    def _verify_event(self, name: str) -> None:
        days = self._exports.settings.sample_days
        if name in self._observed.missing and not self._has_older_days:
            # a rare event may be older, and a request for few names is small
            for events in self._exports.recent_events(days, self._observed.missing):
                self._observed.add(events, CHECKED_PER_WINDOW)
            self._has_older_days = True
        if name in self._observed.missing:
            self._read_other_names()
            raise MartechError(
                f"no event '{name}' of setting '{self._settings[name]}' in the last "
                f"{counted(days, 'day')} ('sample_days'){self._observed.similar_to(name)}"
            )
