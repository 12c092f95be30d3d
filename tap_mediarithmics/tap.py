"""The tap: its settings and its list of streams."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.mediarithmics.settings import access_settings, waiting_settings
from singer_martech.singer.settings import http_settings
from singer_martech.singer.tap import MartechTap
from singer_martech.singer.writer import MessageWriter
from tap_mediarithmics import export_config, otql
from tap_mediarithmics.check import checks
from tap_mediarithmics.context import OrganisationContext
from tap_mediarithmics.export_config import ExportConfig
from tap_mediarithmics.export_source import ExportSource
from tap_mediarithmics.metadata_streams import ExportExecutionsStream, ExportsStream
from tap_mediarithmics.streams import ResultStream

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
            description="ID of the organisation that owns the exports.",
        ),
        th.Property(
            "datamart_id",
            th.StringType,
            title="Datamart ID",
            description=(
                "ID of the datamart of the queries. Required for `query` items, and to type "
                "streams by the datamart's schema."
            ),
        ),
        export_config.exports_setting(),
        th.Property(
            "discover_exports",
            th.BooleanType,
            default=False,
            description=(
                "If true, add a stream `export_<id>` for every other export of the organisation."
            ),
        ),
        th.Property(
            "start_date",
            th.StringType,
            description=(
                "Ignore executions created before this date or date-time, such as 2026-01-31. "
                "The first run of an incremental query starts here."
            ),
        ),
        *waiting_settings(
            poll_interval_seconds=10,
            execution_timeout_seconds=14400,
            when_over="The execution continues, and the next run attaches to it.",
        ),
        *http_settings(),
    ).to_dict()

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterable[str]:
        yield from export_config.problems(config)
        yield from export_config.start_date_problems(config)

    @cached_property
    def organisation(self) -> OrganisationContext:
        """The organisation and its client."""
        return OrganisationContext(self.config, self.shutdown)

    @override
    def checks(self) -> Iterator[Check]:
        yield from checks(self.organisation, self._configured())
        yield from super().checks()

    @override
    def selection_remedy(self) -> str:
        if not self.config.get("exports"):
            return "add an item to setting 'exports'"
        return super().selection_remedy()

    @property
    @override
    def streams(self) -> dict[str, Stream]:
        # The streams about exports come last, to include the executions of this run.
        return dict(
            sorted(
                super().streams.items(),
                key=lambda stream: stream[0] in export_config.METADATA_STREAMS,
            )
        )

    @override
    def setup_mapper(self) -> None:
        # A run without a catalog may launch executions to infer columns; discovery may not.
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
        # Streams that the catalog lacks are not read: their columns need no request.
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
        """Yield a source for each export that no item of ``exports`` reads."""
        names = {source.config.stream for source in configured}
        known = {source.export.id for source in configured if source.export is not None}
        for export in self.organisation.all_exports:
            if export.id in known:
                continue
            source = self._source_of(export.id, names)
            if self.input_catalog is None and _aggregates(source):
                continue
            yield source

    def _source_of(self, export_id: str, names: Collection[str]) -> ExportSource:
        name = f"export_{export_id}"
        if name in names:
            message = f"setting 'exports': stream '{name}' is the name of a discovered export"
            raise SettingError(message)
        return ExportSource(ExportConfig(stream=name, export_id=export_id), self.organisation)


def _aggregates(source: ExportSource) -> bool:
    try:
        _ = source.query
    except otql.AggregationQuery as error:
        logger.warning("export %s is left out: %s", source.config.export_id, error)
        return True
    return False
