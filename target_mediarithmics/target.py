"""The Singer target for mediarithmics: its settings, and the imports it loads into."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.delivery.settings import delivery_settings
from singer_martech.delivery.target import MartechTarget
from singer_martech.errors import SettingError
from singer_martech.http.errors import Forbidden, NotFound
from singer_martech.mapping.stream_mappings import is_glob, mapping_error
from singer_martech.mediarithmics.imports import DocumentImports, ImportMismatch
from singer_martech.mediarithmics.settings import (
    access_settings,
    client_from_config,
    waiting_settings,
)
from singer_martech.mediarithmics.uploads import Uploads
from singer_martech.singer.command import Check
from singer_martech.singer.settings import http_settings
from target_mediarithmics.destination import ImportDestination
from target_mediarithmics.sinks import MediarithmicsSink
from target_mediarithmics.stream_mapping import StreamMapping, check_document_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_martech.http.errors import RequestRejected
    from singer_martech.mediarithmics.imports import DocumentImport


logger = logging.getLogger(__name__)


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
            description="ID of the datamart that documents are loaded into.",
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
            description=(
                "If true, documents count as delivered when their execution has succeeded. If "
                "false, they count as delivered when their upload was accepted: failed lines and "
                "failed executions are not noticed."
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

    @property
    @override
    def account(self) -> str:
        return f"{self.config['api_url']}, datamart {self.config['datamart_id']}"

    def import_destination(
        self, stream: str, stream_mapping: StreamMapping, columns: Sequence[str] | None
    ) -> ImportDestination:
        """Return the destination of a stream, whose document import is looked for now.

        Raises:
            SettingError: There is no such import, it accepts other documents, or another
                stream loads it with other columns.
            HttpError: The request fails.
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
        if found is None:
            _warn_of_type(stream, wanted.document_type)
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
        """Return the import of a mapping, or None if the first upload creates it."""
        wanted, import_id = stream_mapping.wanted, stream_mapping.import_id
        key = "document_import_name" if import_id is None else "document_import_id"
        try:
            if import_id is None:
                return self._imports.find(wanted)
            found = self._imports.get(import_id)
            return found.check(wanted.document_type, wanted.mime_type, wanted.priority)
        except (Forbidden, NotFound) as error:
            self._verify_datamart()
            if import_id is None:
                raise
            raise mapping_error(stream, key, self._missing_import(import_id, error)) from error
        except ImportMismatch as error:
            raise mapping_error(stream, key, f"{error}; name another") from error

    def _missing_import(self, import_id: str, error: RequestRejected) -> str:
        datamart = f"datamart {self.config['datamart_id']}"
        return f"{datamart} has no document import {import_id} ({error.reason})"

    def _verify_datamart(self) -> None:
        """Check that the token may read the datamart."""
        try:
            self._imports.verify_access()
        except (Forbidden, NotFound) as error:
            if isinstance(error, NotFound) and error.remedy:
                raise
            raise SettingError(
                f"setting 'datamart_id': datamart {self.config['datamart_id']} does not exist, or "
                f"'api_token' may not load it ({error.reason}); check 'api_url', too"
            ) from error

    def _check_import(self, name: str, stream_mapping: StreamMapping) -> None:
        if self._existing(name, stream_mapping) is None:
            logger.info(
                "stream '%s': document import '%s' does not exist; the first load creates it",
                name,
                stream_mapping.wanted.name,
            )

    @override
    def checks(self) -> Iterator[Check]:
        yield Check("login and datamart", self._verify_datamart, is_prerequisite=True)
        for name, mapping in self.mappings:
            stream_mapping = StreamMapping.from_mapping(name, mapping)
            document_type = stream_mapping.wanted.document_type
            yield Check(
                f"stream '{name}': document type {document_type}",
                partial(check_document_type, name, document_type),
            )
            # under a glob, each stream may have an import of its own
            if stream_mapping.import_id is not None or not is_glob(name):
                yield Check(
                    f"stream '{name}': document import",
                    partial(self._check_import, name, stream_mapping),
                )
        yield from super().checks()

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


def _warn_of_type(stream: str, document_type: str) -> None:
    try:
        check_document_type(stream, document_type)
    except SettingError as error:
        logger.warning("%s", error)
