"""A datamart: stored queries, the query check, and the schema."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from singer_martech.http.content import json_body
from singer_martech.http.errors import Forbidden, MethodNotAllowed, NotFound
from singer_martech.mediarithmics.client import id_text, read, validate_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.mediarithmics.client import MediarithmicsClient

logger = logging.getLogger(__name__)


class InvalidQuery(ValueError):
    """The vendor's query check rejects a query. The message has the position."""


class Datamart:
    """One datamart."""

    def __init__(self, client: MediarithmicsClient, datamart_id: str) -> None:
        self.id = datamart_id
        self._client = client
        self._path = f"datamarts/{quote(datamart_id, safe='')}"

    def query_text(self, query_id: str) -> str:
        """Return the text of a stored query."""
        label = f"query {query_id} of datamart {self.id}"
        data = self._client.call("GET", self._query_path(query_id), label=label)
        return read(lambda fields: str(fields.get("query_text") or ""), data, label)

    def create_query(self, text: str) -> str:
        """Store an OTQL query and return its id."""
        label = "creation of a query"
        body = {"query_language": "OTQL", "query_text": text}
        data = self._client.call("POST", f"{self._path}/queries", label=label, json=body)
        return read(lambda fields: id_text(fields["id"]), data, label)

    def rewrite_query(self, query_id: str, text: str) -> None:
        """Replace the text of a stored query."""
        body = {"query_language": "OTQL", "query_text": text}
        label = f"rewriting of query {query_id}"
        self._client.call("PUT", self._query_path(query_id), label=label, json=body)

    def check_query(self, text: str) -> None:
        """Run the vendor's query check. Without it, an invalid query gives an empty file.

        Raises:
            InvalidQuery: The query is invalid.
        """
        path = f"{self._path}/query_check/otql"
        try:
            data = self._client.call("POST", path, label="query check", json={"query": text})
        except (Forbidden, MethodNotAllowed, NotFound) as error:
            logger.warning("%s; the query runs unchecked", error)
            return
        kind = read(_result_type, data, "query check")
        if kind in {"PARSING_ERROR", "VALIDATION_ERROR"}:
            raise InvalidQuery(_problem(kind, data.get("error")))

    def live_schema_id(self) -> str | None:
        """Return the id of the schema that queries use."""
        label = f"schemas of datamart {self.id}"
        for page in self._client.pages(f"{self._path}/graphdb_runtime_schemas", label=label):
            for row in page:
                if row.get("status") == "LIVE":
                    return read(lambda fields: id_text(fields["id"]), row, label)
        return None

    def object_types(self, schema_id: str) -> list[Mapping[str, Any]]:
        """Return a schema's object types, each with its ``fields``."""
        path = f"{self._schema_path(schema_id)}/object_types/deep"
        pages = self._client.pages(path, label=f"types of schema {schema_id}")
        return [row for page in pages for row in page]

    def schema_text(self, schema_id: str) -> str:
        """Return a schema in GraphQL's schema definition language."""
        label = f"text of schema {schema_id}"
        path = f"{self._schema_path(schema_id)}/text"
        response = self._client.send("GET", path, label=label, validate=validate_text)
        text = response.body.decode("utf-8", "replace")
        if text.lstrip().startswith(('{"', '"')) and not text.lstrip().startswith('"""'):
            value = json_body(response)  # an envelope is not documented, but possible
            data = value.get("data") if isinstance(value, dict) else value
            text = data if isinstance(data, str) else ""
        return text

    def _query_path(self, query_id: str) -> str:
        return f"{self._path}/queries/{quote(query_id, safe='')}"

    def _schema_path(self, schema_id: str) -> str:
        return f"{self._path}/graphdb_runtime_schemas/{quote(schema_id, safe='')}"


def _result_type(result: Any) -> str | None:
    """Return the type of a result of the query check, if it has one."""
    kind = result.get("type") if isinstance(result, dict) else None
    if kind is not None and not isinstance(kind, str):
        raise TypeError(kind)
    return kind


def _problem(kind: str, error: Any) -> str:
    """Return the message of the query check with its position."""
    fields = error if isinstance(error, dict) else {"message": error}
    position = fields.get("position")
    where = ""
    if isinstance(position, dict):
        where = f" at line {position.get('row')}, column {position.get('col')}"
    return f"{kind}{where}: {fields.get('message') or 'no reason given'}"
