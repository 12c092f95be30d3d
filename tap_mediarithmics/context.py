"""What all streams of a run share: the client, the organisation and the time limits."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech.mediarithmics.datamart import Datamart
from singer_martech.mediarithmics.exports import Exports
from singer_martech.mediarithmics.settings import client_from_config
from singer_martech.mediarithmics.waiting import ExecutionWaiter
from singer_martech.values.timestamps import epoch_ms
from tap_mediarithmics import timestamps
from tap_mediarithmics.live_schema import LiveSchema
from tap_mediarithmics.remedies import names_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.mediarithmics.exports import Export
    from singer_martech.runtime.shutdown import ShutdownSignal


class OrganisationContext:
    """An organisation with the settings of one run.

    Attributes:
        may_launch: Whether executions may be launched. Discovery launches none.
    """

    def __init__(self, config: Mapping[str, Any], shutdown: ShutdownSignal) -> None:
        self.client = client_from_config(config, shutdown)
        poll_interval_seconds = float(config["poll_interval_seconds"])
        self.exports = Exports(self.client, config["organisation_id"], poll_interval_seconds)
        self.datamart_id: str | None = config.get("datamart_id")
        self.waiter = ExecutionWaiter(
            shutdown,
            poll_interval_seconds,
            float(config["execution_timeout_seconds"]),
            "the next run attaches to it",
        )
        self.may_launch = False
        self._live_schemas: dict[str, LiveSchema] = {}
        start = timestamps.parse(config.get("start_date") or "")
        self.start = None if start is None else epoch_ms(start)

    @cached_property
    def all_exports(self) -> list[Export]:
        """All exports of the organisation, requested once per run."""
        with names_setting("organisation_id"):
            return list(self.exports.all())

    def datamart(self, datamart_id: str) -> Datamart:
        """Return one datamart."""
        return Datamart(self.client, datamart_id)

    def live_schema(self, datamart_id: str) -> LiveSchema:
        """Return the live schema of a datamart. All streams of a run share it."""
        if datamart_id not in self._live_schemas:
            self._live_schemas[datamart_id] = LiveSchema(self.datamart(datamart_id))
        return self._live_schemas[datamart_id]
