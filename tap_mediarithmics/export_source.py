"""The export behind a stream: its definition, query, columns and executions."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from singer_martech.http.errors import NotFound
from singer_martech.mediarithmics.datamart import InvalidQuery
from singer_martech.mediarithmics.executions import id_order
from tap_mediarithmics import modes, otql
from tap_mediarithmics.bookmarks import EXECUTION_DATE, MaxValue
from tap_mediarithmics.coercion import kind_of
from tap_mediarithmics.execution_launcher import ExecutionLauncher
from tap_mediarithmics.export_config import START
from tap_mediarithmics.remedies import names_setting
from tap_mediarithmics.result_schema import (
    UntypableQuery,
    any_json,
    sampled_properties,
    typed_properties,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_martech.mediarithmics.datamart import Datamart
    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Export
    from tap_mediarithmics.context import OrganisationContext
    from tap_mediarithmics.export_config import ExportConfig
    from tap_mediarithmics.modes import Cursor
    from tap_mediarithmics.object_types import ObjectTypes

logger = logging.getLogger(__name__)

_SAMPLE_BYTES = 4 * 1024 * 1024


class ExportSource:
    """The export behind one stream."""

    def __init__(self, config: ExportConfig, context: OrganisationContext) -> None:
        self.config = config
        self._context = context
        self._created: Export | None = None
        self._execution_of_discovery: Execution | None = None

    # The export and its query

    @property
    def export(self) -> Export | None:
        """The export, or None if it does not exist yet."""
        return self._created or self._found

    @cached_property
    def _found(self) -> Export | None:
        """Find the export by its id, by its query, or by the name that this tap gives it."""
        if self.config.export_id:
            with names_setting(f"export_id' of stream '{self.config.stream}"):
                return self._context.exports.get(self.config.export_id)
        return self._matching()

    def _matching(self) -> Export | None:
        """Find the export by its query or its name; of several, take the oldest."""
        exports = self._context.all_exports
        candidates = [export for export in exports if export.name == self.config.default_name]
        if self.config.query_id:
            found = [export for export in exports if export.query_id == self.config.query_id]
            candidates = [export for export in found if export in candidates] or found
        else:
            datamart_id = self._context.datamart_id
            candidates = [
                export for export in candidates if export.datamart_id in {None, datamart_id}
            ]
        candidates.sort(key=lambda export: id_order(export.id))
        if len(candidates) > 1:
            logger.info("stream %s reads %s", self.config.stream, candidates[0])
        return candidates[0] if candidates else None

    def query_text(self) -> str | None:
        """Return the text of the query, or None if it is not available."""
        if self.config.query:
            return self.config.query
        if not self._context.datamart_id:
            return None
        export = self.export
        query_id = self.config.query_id or (export and export.query_id)
        if not query_id:
            return None
        datamart_id = (export and export.datamart_id) or self._context.datamart_id
        return self._stored_query(datamart_id, query_id)

    def _stored_query(self, datamart_id: str, query_id: str) -> str | None:
        try:
            with names_setting("datamart_id"):
                return self._context.datamart(datamart_id).query_text(query_id)
        except NotFound as error:
            logger.warning("stream %s: %s", self.config.stream, error)
            return None

    def verify(self) -> dict[str, Any]:
        """Check at the vendor that the export and the query exist, and that the query is valid.

        Returns:
            The columns.

        Raises:
            MartechError: One of them does not exist, or the query is not valid.
        """
        config, datamart_id = self.config, self._context.datamart_id
        if config.query_id and datamart_id:
            with names_setting(f"query_id' of stream '{config.stream}"):
                self._context.datamart(datamart_id).query_text(config.query_id)
        columns = self.columns()
        if config.query is not None:
            self._check_query(config.query.replace(START, self._sample_start(columns)))
        return columns

    def _sample_start(self, columns: Mapping[str, Any]) -> str:
        """Return the value of ``{start}`` in a first run."""
        key = self.config.replication_key or EXECUTION_DATE
        value = MaxValue(self.config.stream, key, kind_of(columns.get(key, {})), {})
        return value.start(self._context.start or 0, 0, self.config.start_format)

    def _check_query(self, text: str) -> None:
        datamart = self._context.datamart(str(self._context.datamart_id))
        try:
            datamart.check_query(text)
        except InvalidQuery as error:
            message = f"stream '{self.config.stream}': the query check says {error}"
            raise MartechError(message) from error

    @cached_property
    def query(self) -> otql.Query | None:
        """The selection of the query, or None if it is not known.

        Raises:
            AggregationQuery: It does not select rows.
        """
        text = self.query_text()
        if not text:
            return None
        try:
            return otql.parse(text)
        except otql.UnknownOtql as error:
            logger.info("stream %s: the query cannot be parsed: %s", self.config.stream, error)
            return None

    # Columns

    def columns(self) -> dict[str, Any]:
        """Return the JSON Schema of each column, from the datamart or from a sample.

        Each field that the query selects is a column; its type may be any JSON.
        """
        if self.config.schema is not None:
            return dict(self.config.schema["properties"])
        typed = self._typed()
        if typed:
            return typed
        names = self.query.selection.fields if self.query is not None else {}
        columns = {**{name: any_json() for name in names}, **self._sampled()}
        if not columns:
            logger.warning(
                "stream %s has no result to infer its columns from: until the next discovery, "
                "all fields go to _extra; set 'schema' to declare the columns",
                self.config.stream,
            )
        return columns

    def _typed(self) -> dict[str, Any] | None:
        try:
            query = self.query
        except otql.AggregationQuery as error:
            raise MartechError(f"stream '{self.config.stream}': {error}") from error
        types = None if query is None else self._types(query)
        if query is None or types is None:
            return None
        try:
            return typed_properties(query, types)
        except UntypableQuery as error:
            logger.warning("stream %s: %s", self.config.stream, error)
            return None

    def _types(self, query: otql.Query) -> ObjectTypes | None:
        datamart_id = self._context.datamart_id
        if datamart_id is None:
            return None
        if self.export is not None and self.config.query is None:
            datamart_id = self.export.datamart_id or datamart_id
        return self._context.live_schema(datamart_id).types_for(query)

    def _sampled(self) -> dict[str, Any]:
        newest = self._newest()
        export = self.export
        if newest is None or export is None:
            return {}
        logger.info(
            "stream %s: columns are inferred from execution %s", self.config.stream, newest.id
        )
        head = self._context.exports.head(export.id, newest, _SAMPLE_BYTES)
        return sampled_properties(head)

    def _newest(self) -> Execution | None:
        """Return the newest execution with a result. Without one, run the export if allowed."""
        export = self.export
        newest = None
        if export is not None:
            newest = modes.latest(self._context.exports, export.id, modes.Cursor())
        is_run = self.config.mode == "run" and self.config.query is None
        if newest is None and is_run and self._context.may_launch:
            newest = self._execution_of_discovery = self._run_existing(
                modes.Cursor(start=self._context.start)
            )
        return newest

    # Executions

    def executions(self, after: Cursor, start: str | None) -> Iterator[Execution]:
        """Yield the executions to read in this run, oldest first.

        Args:
            after: The execution that was read last.
            start: Replaces ``{start}`` in an incremental query.
        """
        if self.config.mode != "run":
            yield from self._ended(after)
        elif self.config.query is None:
            ready, self._execution_of_discovery = self._execution_of_discovery, None
            yield ready or self._run_existing(after)
        else:
            yield self._run_query(self.config.query.replace(START, start or ""), after)

    def _ended(self, after: Cursor) -> Iterator[Execution]:
        export = self.export
        if export is None:
            logger.warning("stream %s: no export exists for its query", self.config.stream)
        elif self.config.mode == "all":
            yield from modes.all_ended(self._context.exports, export.id, after)
        else:
            newest = modes.latest(self._context.exports, export.id, after)
            if newest is not None:
                yield newest

    def _run_existing(self, after: Cursor) -> Execution:
        export = self.export
        if export is None:
            with names_setting(f"query_id' of stream '{self.config.stream}"):
                export = self._create(str(self.config.query_id))
        launcher = self._launcher(export)
        execution = launcher.running(after)
        if execution is None:
            execution = launcher.launch()
        else:
            logger.info("execution %s is already running; waiting for it", execution.id)
        return launcher.wait_for_result(execution)

    def _run_query(self, text: str, after: Cursor) -> Execution:
        """Run a query, or attach to an execution of the same text."""
        self._check_query(text)
        datamart = self._context.datamart(str(self._context.datamart_id))
        export = self.export
        if export is None:
            with names_setting("datamart_id"):
                query_id = datamart.create_query(text)
            export = self._create(query_id)
        launcher = self._launcher(export)
        execution = self._attach_or_store(launcher, datamart, export, text, after)
        return launcher.wait_for_result(execution or launcher.launch())

    def _attach_or_store(
        self,
        launcher: ExecutionLauncher,
        datamart: Datamart,
        export: Export,
        text: str,
        after: Cursor,
    ) -> Execution | None:
        """Return a running execution of the same text. If there is none, store the text.

        The text is replaced only while no execution runs, since one may read it late.
        """
        query_id = str(export.query_id)
        is_same = datamart.query_text(query_id).strip() == text.strip()
        while (execution := launcher.running(after)) is not None:
            if is_same:
                logger.info("execution %s is already running; waiting for it", execution.id)
                return execution
            logger.info("execution %s runs another query; waiting for its end", execution.id)
            launcher.wait_for_end(execution)
        if not is_same:
            datamart.rewrite_query(query_id, text)
        return None

    def _create(self, query_id: str) -> Export:
        export = self._context.exports.create(self.config.default_name, query_id)
        logger.info("%s was created", export)
        self._created = export
        return export

    def _launcher(self, export: Export) -> ExecutionLauncher:
        return ExecutionLauncher(self._context.exports, export.id, self._context.waiter)
