"""The tap's settings and streams."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.singer.settings import api_url, http_settings
from singer_martech.singer.stream import error_context
from singer_martech.singer.tap import MartechTap
from singer_martech.singer.writer import MessageWriter
from singer_martech.values.wording import counted
from tap_robotmia.check import ExportCheck
from tap_robotmia.client import DEFAULT_API_URL, REQUEST_TIMEOUT_SECONDS
from tap_robotmia.columns import ColumnTypes, stream_name
from tap_robotmia.export_settings import ExportSettings, parse_day
from tap_robotmia.exports import Exports
from tap_robotmia.project_time import ProjectClock, UnknownZone, time_zone
from tap_robotmia.streams import EventsStream, TypedEventStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from singer_sdk.singerlib import Catalog

    from singer_martech.singer.command import Check
    from tap_robotmia.streams import RobotmiaStream


class TapRobotmia(MartechTap):
    """Exports the raw events of a robotmia project, in complete windows and true UTC."""

    name = "tap-robotmia"
    message_writer_class = MessageWriter

    config_jsonschema = th.PropertiesList(
        th.Property(
            "api_secret",
            th.StringType,
            required=True,
            secret=True,
            title="API secret",
            description="The project's API secret, from the project's settings (not its token).",
        ),
        th.Property(
            "project_timezone",
            th.StringType,
            required=True,
            title="Project time zone",
            description=(
                "IANA name of the project's time zone, such as America/Los_Angeles. It must be "
                "the one in the project's settings: the export counts days and times in it."
            ),
        ),
        th.Property(
            "start_date",
            th.StringType,
            required=True,
            description=(
                "First day to export, in the project's time zone, as yyyy-mm-dd. Of a "
                "date-time, the date is used."
            ),
        ),
        th.Property(
            "end_date",
            th.StringType,
            description=(
                "Last day to export, inclusive. The default is today in the project's time zone."
            ),
        ),
        th.Property(
            "lookback_days",
            th.IntegerType(minimum=0),
            default=5,
            title="Look-back days",
            description=(
                "Days before the bookmark that every run exports again, for events that arrive "
                "late. Their event_id stays the same."
            ),
        ),
        th.Property(
            "window_days",
            th.IntegerType(minimum=1),
            default=1,
            description="Days per request.",
        ),
        th.Property(
            "events",
            th.ArrayType(th.StringType),
            description="Names of the events to export. The default is all.",
        ),
        th.Property(
            "where",
            th.StringType,
            description=(
                "Filter in the API's expression language, passed on as it is, such as "
                'properties["$os"] == "Linux".'
            ),
        ),
        th.Property(
            "event_streams",
            th.ArrayType(th.StringType),
            default=[],
            description=(
                "Names of events that each also get their own stream, event_<name>, with a "
                "typed column per property."
            ),
        ),
        th.Property(
            "sample_days",
            th.IntegerType(minimum=1),
            default=7,
            description="Most recent days that discovery reads to type those streams.",
        ),
        th.Property(
            "parallel_downloads",
            th.IntegerType(minimum=1),
            default=2,
            description=(
                "Maximum windows downloaded at once, including the one being read. Each needs "
                "room for its compressed body in the folder for temporary files."
            ),
        ),
        th.Property(
            "timestamps",
            th.StringType(allowed_values=["project", "utc"]),
            default="project",
            description=(
                "Clock of the property time: 'project', the project's wall clock (the usual "
                "case), or 'utc', true UTC."
            ),
        ),
        th.Property(
            "max_malformed_lines",
            th.IntegerType(minimum=0),
            default=0,
            description=(
                "Maximum malformed lines per run. They are saved in reject_path, and one more "
                "fails the run."
            ),
        ),
        th.Property(
            "reject_path",
            th.StringType,
            default="rejects",
            description="Folder for the file of malformed lines.",
        ),
        th.Property(
            "sanitize_text",
            th.BooleanType,
            default=False,
            description=(
                "Replace halves of surrogate pairs and NUL by U+FFFD in names and values, for "
                "loaders that fail on them."
            ),
        ),
        api_url(DEFAULT_API_URL, "Base URL of the data API; the export is at /export/ below it."),
        *http_settings(request_timeout_seconds=REQUEST_TIMEOUT_SECONDS),
    ).to_dict()

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterator[str]:
        yield from _zone_problems(config)
        yield from _date_problems(config)
        yield from _stream_problems(config)

    @override
    def checks(self) -> Iterator[Check]:
        exports = Exports(ExportSettings.from_config(self.config), self.shutdown)
        yield from ExportCheck(exports, self.config.get("event_streams") or []).checks()
        yield from super().checks()

    @override
    def discover_streams(self) -> list[RobotmiaStream]:
        return [EventsStream(self), *self._typed_streams()]

    def _typed_streams(self) -> Iterator[RobotmiaStream]:
        names: list[str] = self.config.get("event_streams") or []
        if not names:
            return
        if self.input_catalog is None:
            yield from self._discovered_streams(names)
        else:
            yield from self._streams_of_catalog(names, self.input_catalog)

    def _discovered_streams(self, names: list[str]) -> Iterator[RobotmiaStream]:
        self._validate_config()  # the SDK does not require valid settings for discovery
        with error_context(stream_name(names[0])):
            exports = Exports(ExportSettings.from_config(self.config), self.shutdown)
            types = exports.column_types(names)
        for name in names:
            if not types[name].events:
                self.logger.warning(
                    "no event '%s' in the last %s (setting 'sample_days'): its properties go "
                    "to _extra until a later discovery finds some",
                    name,
                    counted(self.config["sample_days"], "day"),
                )
            yield TypedEventStream(self, name, types[name].schema())

    def _streams_of_catalog(self, names: list[str], catalog: Catalog) -> Iterator[RobotmiaStream]:
        for name in names:
            entry = catalog.get_stream(stream_name(name))
            if entry is None:
                self.logger.warning(
                    "event '%s' of setting 'event_streams' is not in the catalog, so its stream "
                    "is not exported; run discovery again",
                    name,
                )
            schema = ColumnTypes().schema() if entry is None else entry.schema.to_dict()
            yield TypedEventStream(self, name, schema)


def _zone_problems(config: Mapping[str, Any]) -> Iterator[str]:
    name = config["project_timezone"]
    try:
        time_zone(name)
    except UnknownZone:
        yield (
            f"setting 'project_timezone' ('{name}') is not an IANA time zone; use a name such as "
            "America/Los_Angeles or Europe/Paris"
        )


def _date_problems(config: Mapping[str, Any]) -> Iterator[str]:
    days = {}
    for name in ("start_date", "end_date"):
        text = config.get(name)
        if text is None:
            continue
        try:
            days[name] = parse_day(text)
        except ValueError:
            yield f"setting '{name}' ('{text}') must be a day such as 2018-02-11"
    yield from _future_start(days.get("start_date"), config["project_timezone"])
    if "end_date" in days and "start_date" in days and days["end_date"] < days["start_date"]:
        yield (
            f"setting 'end_date' ({days['end_date']}) is before 'start_date' "
            f"({days['start_date']}): swap them or omit 'end_date'"
        )


def _future_start(start: date | None, zone: str) -> Iterator[str]:
    try:
        today = ProjectClock(time_zone(zone)).day(datetime.now(timezone.utc))
    except UnknownZone:
        return
    if start is not None and start > today:
        yield f"setting 'start_date' ({start}) is after today in the project ({today} in {zone})"


def _stream_problems(config: Mapping[str, Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    only = config.get("events")
    for name in config.get("event_streams") or []:
        stream = stream_name(name)
        if stream in seen:
            yield (
                f"setting 'event_streams': '{seen[stream]}' and '{name}' would both be stream "
                f"'{stream}'; remove one of them"
            )
        seen[stream] = name
        if only and name not in only:
            yield f"setting 'event_streams' has '{name}', which setting 'events' excludes"
