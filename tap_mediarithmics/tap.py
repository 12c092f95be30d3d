"""The tap: its settings and its list of streams."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.mediarithmics.settings import access_settings, waiting_settings
from singer_martech.singer.plugin import MartechTap
from singer_martech.singer.settings import http_settings
from singer_martech.singer.writer import MessageWriter
from tap_mediarithmics import export_config, otql
from tap_mediarithmics.check import checks
from tap_mediarithmics.context import OrganisationContext
from tap_mediarithmics.export_config import ExportConfig
from tap_mediarithmics.export_source import ExportSource
from tap_mediarithmics.streams import ExportExecutionsStream, ExportsStream, ResultStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from singer_sdk.streams import Stream

    from singer_martech.singer.command import Check

logger = logging.getLogger(__name__)


class TapMediarithmics(MartechTap):
    """Reads the results of mediarithmics' query exports."""

    name = "tap-mediarithmics"
    message_writer_class = MessageWriter
    dynamic_catalog = True

    config_jsonschema = th.PropertiesList(
        *access_settings(),
        th.Property(
            "organisation_id",
            th.StringType,
            required=True,
            title="Organisation ID",
            description="The exports belong to the organisation of this id.",
        ),
        th.Property(
            "datamart_id",
            th.StringType,
            title="Datamart ID",
            description=(
                "The queries belong to the datamart of this id. It is needed where a query is "
                "given as text, and to type streams from the datamart's schema."
            ),
        ),
        export_config.exports_setting(),
        th.Property(
            "discover_exports",
            th.BooleanType,
            default=False,
            title="Discover exports",
            description=(
                "If true, every export of the organisation becomes a stream too, `export_<id>`."
            ),
        ),
        th.Property(
            "start_date",
            th.StringType,
            title="Start date",
            description=(
                "Executions created before this date or date-time are ignored. An incremental "
                "query starts here on its first run."
            ),
        ),
        *waiting_settings(
            poll_interval_seconds=10,
            execution_timeout_seconds=14400,
            when_over="It is left running, and the next run waits for it again.",
        ),
        *http_settings(),
    ).to_dict()

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterable[str]:
        yield from export_config.problems(config)
        yield from export_config.start_date_problems(config)

    @cached_property
    def organisation(self) -> OrganisationContext:
        """The organisation that is read."""
        return OrganisationContext(self.config, self.shutdown)

    @override
    def checks(self) -> Iterator[Check]:
        yield from checks(self.organisation, self._configured())
        yield from super().checks()

    @property
    @override
    def streams(self) -> dict[str, Stream]:
        # the streams about exports come last, so that they show what this run launched
        return dict(
            sorted(
                super().streams.items(),
                key=lambda stream: stream[0] in export_config.METADATA_STREAMS,
            )
        )

    @override
    def setup_mapper(self) -> None:
        # a run without a catalog, unlike discovery alone, learns columns by what it runs
        self.organisation.may_launch = True
        super().setup_mapper()

    @override
    def discover_streams(self) -> Sequence[Stream]:
        streams = [
            ExportsStream(self, self.organisation),
            ExportExecutionsStream(self, self.organisation),
            *(ResultStream(self, source, self.organisation) for source in self._sources()),
        ]
        catalog = self.input_catalog
        if catalog is None:
            return streams
        # a stream that no catalog knows is not read, so its columns need no asking
        return [stream for stream in streams if catalog.get_stream(stream.name) is not None]

    def _configured(self) -> list[ExportSource]:
        return [
            ExportSource(ExportConfig.from_config(fields), self.organisation)
            for fields in self.config.get("exports") or ()
        ]

    def _sources(self) -> Iterator[ExportSource]:
        configured = self._configured()
        yield from configured
        if self.config.get("discover_exports"):
            yield from self._discovered(configured)

    def _discovered(self, configured: Sequence[ExportSource]) -> Iterator[ExportSource]:
        """Yield a source for each export that no item of the settings reads."""
        names = {source.config.stream for source in configured}
        known = {source.export.id for source in configured if source.export is not None}
        for export in self.organisation.all_exports:
            if export.id in known:
                continue
            name = f"export_{export.id}"
            if name in names:
                message = f"setting 'exports': stream '{name}' is the name of a discovered export"
                raise SettingError(message)
            source = ExportSource(ExportConfig(stream=name, export_id=export.id), self.organisation)
            if self.input_catalog is None and _aggregates(source):
                continue
            yield source


def _aggregates(source: ExportSource) -> bool:
    try:
        _ = source.query
    except otql.AggregationQuery as error:
        logger.warning("export %s is left out: %s", source.config.export_id, error)
        return True
    return False
