"""The Singer target for mediarithmics: its settings, and the imports it loads into."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from singer_sdk import typing as th

from singer_martech.delivery.target import MartechTarget, delivery_settings
from singer_martech.errors import SettingError
from singer_martech.http.errors import NotFound
from singer_martech.mediarithmics.imports import DocumentImports, ImportMismatch
from singer_martech.mediarithmics.settings import (
    access_settings,
    client_from_config,
    waiting_settings,
)
from singer_martech.mediarithmics.uploads import Uploads
from singer_martech.singer.settings import http_settings
from target_mediarithmics.destination import ImportDestination
from target_mediarithmics.sinks import MediarithmicsSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_martech.mediarithmics.imports import DocumentImport
    from target_mediarithmics.stream_mapping import StreamMapping


class TargetMediarithmics(MartechTarget):
    """Loads streams into mediarithmics as documents, by its document imports."""

    name = "target-mediarithmics"
    default_sink_class = MediarithmicsSink
    config_jsonschema = th.PropertiesList(
        *access_settings(),
        th.Property(
            "datamart_id",
            th.StringType,
            required=True,
            title="Datamart ID",
            description="The datamart of this id takes the documents.",
        ),
        *waiting_settings(
            poll_interval_seconds=5,
            execution_timeout_seconds=3600,
            when_over="When it takes longer, the run fails.",
        ),
        th.Property(
            "wait_for_completion",
            th.BooleanType,
            default=True,
            title="Wait for completion",
            description=(
                "If true, documents count as delivered when their execution has succeeded. If "
                "false, they do when it was accepted: failed lines and failed executions then go "
                "unnoticed."
            ),
        ),
        *delivery_settings(
            max_request_rows=100_000,
            max_request_bytes=50 * 1024 * 1024,
            parallel_requests=1,
            deletes=("skip", "reject", "apply"),
        ),
        *http_settings(),
    ).to_dict()

    def import_destination(
        self, stream: str, stream_mapping: StreamMapping, columns: Sequence[str] | None
    ) -> ImportDestination:
        """Return the channel of a stream's document import, which is looked for now.

        Raises:
            MartechError: There is no such import, it takes other documents, or another
                stream loads it with other columns.
        """
        found = self._existing(stream, stream_mapping)
        wanted = stream_mapping.wanted
        if stream_mapping.import_id is not None and found is not None:
            wanted = replace(wanted, name=found.name)
        for index, (first, destination) in enumerate(self._destinations):
            if not destination.is_same_import(found, wanted):
                continue
            if destination.accepts(wanted, columns):
                return destination
            if first != stream:
                raise SettingError(
                    f"setting 'streams': streams '{first}' and '{stream}' share "
                    f"{destination.name}, but differ in document_type, mime_type or columns; give "
                    "one of them another document_import_name"
                )
            del self._destinations[index]  # the stream's schema has changed
            break
        config = self.config
        destination = ImportDestination(
            self._imports,
            self._uploads,
            wanted=wanted,
            found=found,
            columns=columns,
            max_rows=config["max_request_rows"],
            max_bytes=config["max_request_bytes"],
            wait=config["wait_for_completion"],
        )
        self._destinations.append((stream, destination))
        return destination

    def _existing(self, stream: str, stream_mapping: StreamMapping) -> DocumentImport | None:
        wanted = stream_mapping.wanted
        try:
            if stream_mapping.import_id is None:
                return self._imports.find(wanted)
            found = self._imports.get(stream_mapping.import_id)
            found = found.check(wanted.document_type, wanted.mime_type, wanted.priority)
        except NotFound as error:
            if stream_mapping.import_id is None:
                raise
            raise SettingError(
                f"setting 'streams': stream '{stream}', key 'document_import_id': datamart "
                f"{self.config['datamart_id']} has no document import {stream_mapping.import_id} "
                f"({error})"
            ) from error
        except ImportMismatch as error:
            key = (
                "document_import_name" if stream_mapping.import_id is None else "document_import_id"
            )
            raise SettingError(
                f"setting 'streams': stream '{stream}', key '{key}': {error}; name another"
            ) from error
        return found

    @cached_property
    def _destinations(self) -> list[tuple[str, ImportDestination]]:
        return []

    @cached_property
    def _imports(self) -> DocumentImports:
        return DocumentImports(
            client_from_config(self.config, self.shutdown), self.config["datamart_id"]
        )

    @cached_property
    def _uploads(self) -> Uploads:
        config = self.config
        return Uploads(
            self._imports,
            float(config["poll_interval_seconds"]),
            float(config["execution_timeout_seconds"]),
        )
