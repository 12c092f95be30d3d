"""What all streams of a run share: the connection, the organisation and its patience."""

from __future__ import annotations

import logging
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from singer_martech.answers import BadAnswer, Refused
from singer_martech.http import HttpSettings
from singer_martech.mediarithmics import Connection, Datamart, Exports
from tap_mediarithmics import instants
from tap_mediarithmics.object_types import ObjectTypes, UnknownSchema
from tap_mediarithmics.result_schema import unknown_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.mediarithmics import Export
    from singer_martech.stop import Stop
    from tap_mediarithmics.otql import Query

logger = logging.getLogger(__name__)

_UNAUTHORIZED = 401


class Account:
    """An organisation, seen with the settings of one run.

    Attributes:
        may_launch: Whether executions may be launched already; discovery launches none.
    """

    def __init__(self, config: Mapping[str, Any], stop: Stop) -> None:
        """Send no request yet."""
        self.connection = Connection(
            config["api_token"],
            config["api_url"],
            settings=HttpSettings.from_config(config),
            stop=stop,
        )
        self.exports = Exports(self.connection, config["organisation_id"])
        self.datamart_id: str | None = config.get("datamart_id")
        self.poll_interval_seconds = float(config["poll_interval_seconds"])
        self.execution_timeout_seconds = float(config["execution_timeout_seconds"])
        self.stop = stop
        self.may_launch = False
        start = instants.parse(config.get("start_date") or "")
        self.start = None if start is None else instants.milliseconds(start)

    @cached_property
    def all_exports(self) -> list[Export]:
        """All exports of the organisation, listed once a run."""
        return list(self.exports.all())

    def datamart(self, datamart_id: str) -> Datamart:
        """Return one datamart."""
        return Datamart(self.connection, datamart_id)

    def object_types(self, datamart_id: str, query: Query) -> ObjectTypes | None:
        """Return what the datamart's live schema says, or None where it cannot be read."""
        try:
            schema_id = self._live_schema(datamart_id)
            if schema_id is None:
                logger.warning("datamart %s has no live schema", datamart_id)
                return None
            types = self._listed_types(datamart_id, schema_id)
            if query.object_type not in types.fields or unknown_names(query, types):
                self._add_from_text(types, datamart_id, schema_id)
        except (Refused, BadAnswer) as error:
            if error.status == _UNAUTHORIZED:
                raise
            logger.warning("%s", error)
            return None
        return types

    @cache  # noqa: B019 - an account lives as long as the run
    def _live_schema(self, datamart_id: str) -> str | None:
        return self.datamart(datamart_id).live_schema_id()

    @cache  # noqa: B019 - an account lives as long as the run
    def _listed_types(self, datamart_id: str, schema_id: str) -> ObjectTypes:
        return ObjectTypes.from_list(self.datamart(datamart_id).object_types(schema_id))

    @cache  # noqa: B019 - an account lives as long as the run
    def _text(self, datamart_id: str, schema_id: str) -> str:
        return self.datamart(datamart_id).schema_text(schema_id)

    def _add_from_text(self, types: ObjectTypes, datamart_id: str, schema_id: str) -> None:
        """Add what only the schema's text names: its enumerations."""
        try:
            written = ObjectTypes.from_text(self._text(datamart_id, schema_id))
        except UnknownSchema as error:
            logger.info("the text of schema %s was not understood: %s", schema_id, error)
            return
        types.enumerations |= written.enumerations
        for name, fields in written.fields.items():
            types.fields.setdefault(name, fields)
