"""Where a stream's lines come from: its export, its query, and the columns they have."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from singer_martech.http.errors import OutcomeUnknown, Refused
from singer_martech.mediarithmics.datamart import QueryFault
from singer_martech.mediarithmics.executions import id_order
from tap_mediarithmics import modes, otql
from tap_mediarithmics.execution_launcher import Launcher
from tap_mediarithmics.export_config import START
from tap_mediarithmics.result_schema import (
    UntypableQuery,
    any_json,
    sampled_properties,
    typed_properties,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.mediarithmics.datamart import Datamart
    from singer_martech.mediarithmics.executions import Execution
    from singer_martech.mediarithmics.exports import Export
    from tap_mediarithmics.context import Account
    from tap_mediarithmics.export_config import ExportItem
    from tap_mediarithmics.modes import After

logger = logging.getLogger(__name__)

_SAMPLE_BYTES = 4 * 1024 * 1024
_NOT_FOUND = 404


class Source:
    """The export behind one stream."""

    def __init__(self, item: ExportItem, account: Account) -> None:
        """Send no request yet."""
        self.item = item
        self._account = account
        self._created: Export | None = None
        self._run_early: Execution | None = None

    # The export and its query

    @property
    def export(self) -> Export | None:
        """The export, or None where it has yet to be made."""
        return self._created or self._found

    @cached_property
    def _found(self) -> Export | None:
        """Find the export by its id, by its query, or by the name that this tap gives."""
        if self.item.export_id:
            return self._account.exports.get(self.item.export_id)
        exports = self._account.all_exports
        own = [export for export in exports if export.name == self.item.own_name]
        if self.item.query_id:
            found = [export for export in exports if export.query_id == self.item.query_id]
            own = [export for export in found if export in own] or found
        else:
            datamart_id = self._account.datamart_id
            own = [export for export in own if export.datamart_id in {None, datamart_id}]
        own.sort(key=lambda export: id_order(export.id))
        if len(own) > 1:
            logger.info("stream %s reads export %s (%s)", self.item.stream, own[0].id, own[0].name)
        return own[0] if own else None

    def query_text(self) -> str | None:
        """Return the query's text, as far as it can be had."""
        if self.item.query:
            return self.item.query
        if not self._account.datamart_id:
            return None
        export = self.export
        query_id = self.item.query_id or (export and export.query_id)
        if not query_id:
            return None
        datamart_id = (export and export.datamart_id) or self._account.datamart_id
        try:
            return self._account.datamart(datamart_id).query_text(query_id)
        except Refused as error:
            if error.status != _NOT_FOUND:
                raise
            logger.warning("stream %s: %s", self.item.stream, error)
            return None

    @cached_property
    def query(self) -> otql.Query | None:
        """What the query selects, or None where that is not surely known.

        Raises:
            AggregationQuery: It has no rows.
        """
        text = self.query_text()
        if not text:
            return None
        try:
            return otql.parse(text)
        except otql.UnknownOtql as error:
            logger.info("stream %s: the query was not understood: %s", self.item.stream, error)
            return None

    # Columns

    def columns(self) -> dict[str, Any]:
        """Return the JSON Schema of each column: from the datamart, or from a sample.

        What the query selects is a column in any case, if only as any JSON.
        """
        if self.item.schema is not None:
            return dict(self.item.schema["properties"])
        typed = self._typed()
        if typed:
            return typed
        names = self.query.selection.fields if self.query is not None else {}
        columns = {**{name: any_json() for name in names}, **self._sampled()}
        if not columns:
            logger.warning(
                "stream %s has no result yet to learn its columns from: until the next discovery, "
                "all that its lines hold goes to _extra; the setting 'schema' fixes the columns",
                self.item.stream,
            )
        return columns

    def _typed(self) -> dict[str, Any] | None:
        try:
            query = self.query
        except otql.AggregationQuery as error:
            message = f"stream '{self.item.stream}': {error}"
            raise MartechError(message) from error
        datamart_id = self._account.datamart_id
        if query is None or datamart_id is None:
            return None
        if self.export is not None and self.item.query is None:
            datamart_id = self.export.datamart_id or datamart_id
        types = self._account.live_schema(datamart_id).types_for(query)
        if types is None:
            return None
        try:
            return typed_properties(query, types)
        except UntypableQuery as error:
            logger.warning("stream %s: %s", self.item.stream, error)
            return None

    def _sampled(self) -> dict[str, Any]:
        newest = self._newest()
        export = self.export
        if newest is None or export is None:
            return {}
        logger.info("stream %s is typed by execution %s", self.item.stream, newest.id)
        head = self._account.exports.head(export.id, newest, _SAMPLE_BYTES)
        return sampled_properties(head)

    def _newest(self) -> Execution | None:
        """Return the newest result; where there is none, that of the execution to be run."""
        export = self.export
        newest = None
        if export is not None:
            newest = modes.latest(self._account.exports, export.id, modes.After())
        is_run = self.item.mode == "run" and self.item.query is None
        if newest is None and is_run and self._account.may_launch:
            newest = self._run_early = self._run_existing(modes.After(start=self._account.start))
        return newest

    # Executions

    def executions(self, after: After, start: str | None) -> Iterator[Execution]:
        """Yield the executions to read in this run, oldest first.

        Args:
            after: What they have to be newer than.
            start: What is written for ``{start}`` in an incremental query.
        """
        if self.item.mode == "run":
            if self.item.query is None:
                ready, self._run_early = self._run_early, None
                yield ready or self._run_existing(after)
            else:
                yield self._run_query(self.item.query.replace(START, start or ""), after)
            return
        export = self.export
        if export is None:
            logger.warning("stream %s: there is no export for its query", self.item.stream)
        elif self.item.mode == "all":
            yield from modes.all_ended(self._account.exports, export.id, after)
        else:
            newest = modes.latest(self._account.exports, export.id, after)
            if newest is not None:
                yield newest

    def _run_existing(self, after: After) -> Execution:
        export = self.export
        if export is None:
            export = self._create(str(self.item.query_id))
        launcher = self._launcher(export)
        execution = launcher.under_way(after)
        if execution is None:
            execution = launcher.launch()
        else:
            logger.info("execution %s is under way already: waiting for it", execution.id)
        return launcher.wait_for_result(execution)

    def _run_query(self, text: str, after: After) -> Execution:
        """Run a query's text, which another run may be running already."""
        datamart = self._account.datamart(str(self._account.datamart_id))
        try:
            datamart.check_query(text)
        except QueryFault as error:
            message = f"stream '{self.item.stream}': the query check says {error}"
            raise MartechError(message) from error
        export = self.export
        if export is None:
            export = self._create(datamart.create_query(text))
        launcher = self._launcher(export)
        execution = self._joined(launcher, datamart, export, text, after)
        return launcher.wait_for_result(execution or launcher.launch())

    def _joined(
        self, launcher: Launcher, datamart: Datamart, export: Export, text: str, after: After
    ) -> Execution | None:
        """Return an execution of this very text that is under way; else store the text.

        The text is replaced only when nothing runs that could be reading it.
        """
        query_id = str(export.query_id)
        is_same = datamart.query_text(query_id).strip() == text.strip()
        while (execution := launcher.under_way(after)) is not None:
            if is_same:
                logger.info("execution %s is under way already: waiting for it", execution.id)
                return execution
            logger.info("execution %s runs another text: waiting for its end", execution.id)
            launcher.wait_for_end(execution)
        if not is_same:
            datamart.rewrite_query(query_id, text)
        return None

    def _create(self, query_id: str) -> Export:
        name = self.item.own_name
        try:
            export = self._account.exports.create(name, query_id)
        except OutcomeUnknown as error:
            logger.warning("%s; looking for the export", error)
            found = [export for export in self._account.exports.all() if export.name == name]
            export = found[-1] if found else self._account.exports.create(name, query_id)
        logger.info("export %s created: %s", export.id, name)
        self._created = export
        return export

    def _launcher(self, export: Export) -> Launcher:
        return Launcher(
            self._account.exports,
            export.id,
            poll_interval_seconds=self._account.poll_interval_seconds,
            timeout_seconds=self._account.execution_timeout_seconds,
            stop=self._account.stop,
        )
