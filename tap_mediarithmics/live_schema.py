"""The parts of a datamart's live schema that queries need."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from singer_martech.http.errors import InvalidResponse, RequestRejected, Unauthorized
from tap_mediarithmics.object_types import ObjectTypes, UnknownSchema
from tap_mediarithmics.remedies import names_setting
from tap_mediarithmics.result_schema import unknown_names

if TYPE_CHECKING:
    from singer_martech.mediarithmics.datamart import Datamart
    from tap_mediarithmics.otql import Query

logger = logging.getLogger(__name__)


class LiveSchema:
    """The live schema of one datamart. Each part is requested once, when it is needed."""

    def __init__(self, datamart: Datamart) -> None:
        self._datamart = datamart

    def types_for(self, query: Query) -> ObjectTypes | None:
        """Return the types that ``query`` selects from, or None if they are not available.

        Raises:
            Unauthorized: The credentials are not valid.
        """
        try:
            if self._id is None:
                logger.warning("datamart %s has no live schema", self._datamart.id)
                return None
            types = self._listed
            if query.object_type not in types.fields or unknown_names(query, types):
                types = types.with_more(self._written)
        except Unauthorized:
            raise
        except (RequestRejected, InvalidResponse) as error:
            logger.warning("%s", error)
            return None
        return types

    @cached_property
    def _id(self) -> str | None:
        with names_setting("datamart_id"):
            return self._datamart.live_schema_id()

    @cached_property
    def _listed(self) -> ObjectTypes:
        return ObjectTypes.from_list(self._datamart.object_types(str(self._id)))

    @cached_property
    def _written(self) -> ObjectTypes:
        """The enumerations; only the text of the schema defines them."""
        try:
            return ObjectTypes.from_text(self._datamart.schema_text(str(self._id)))
        except UnknownSchema as error:
            logger.info("the text of schema %s cannot be parsed: %s", self._id, error)
            return ObjectTypes({})
