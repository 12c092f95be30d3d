"""Query exports: definitions, executions and result files (vendor page: Query exports)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from singer_martech.http.errors import HttpError, Unauthorized
from singer_martech.http.recovery import recover_lost
from singer_martech.mediarithmics.client import id_text, optional_id, read
from singer_martech.mediarithmics.executions import Execution, id_order
from singer_martech.mediarithmics.file_head import head_of
from singer_martech.runtime.redaction import HEAD_BYTES, redacted_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_martech.http.response import Response
    from singer_martech.mediarithmics.client import MediarithmicsClient

logger = logging.getLogger(__name__)

_ERROR_CHARACTERS = 1000


@dataclass(frozen=True)
class Export:
    """The definition of an export.

    Attributes:
        fields: All fields, as received.
    """

    id: str
    name: str
    query_id: str | None
    datamart_id: str | None
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Export:
        """Create it from the vendor's fields."""
        return cls(
            id=id_text(fields["id"]),
            name=str(fields.get("name") or ""),
            query_id=optional_id(fields.get("query_id")),
            datamart_id=optional_id(fields.get("datamart_id")),
            fields=fields,
        )

    def __str__(self) -> str:
        """Name it for messages."""
        return f"export {self.id} ({self.name})"


class Exports:
    """The exports of one organisation.

    ``poll_interval_seconds`` is the pause before the effect of a lost request is looked for.
    """

    def __init__(
        self,
        client: MediarithmicsClient,
        organisation_id: str,
        poll_interval_seconds: float = 5.0,
    ) -> None:
        self._client = client
        self._poll_interval = poll_interval_seconds
        self._organisation = organisation_id
        self._params = {"organisation_id": organisation_id}

    def all(self) -> Iterator[Export]:
        """Yield every export of the organisation."""
        label = f"exports of organisation {self._organisation}"
        for page in self._client.pages("exports", label=label, params=self._params):
            yield from (read(Export.read, row, label) for row in page)

    def get(self, export_id: str) -> Export:
        """Read the definition of one export."""
        label = f"export {export_id}"
        data = self._client.call("GET", _path(export_id), label=label, params=self._params)
        return read(Export.read, data, label)

    def create(self, name: str, query_id: str) -> Export:
        """Create an export of a stored query, once: names need not be unique at the vendor."""
        label = f"creation of export {name!r}"
        body = {"name": name, "output_format": "JSON", "query_id": query_id, "type": "QUERY"}

        def send() -> Export:
            data = self._client.call(
                "POST", "exports", label=label, params=self._params, json=body, idempotent=False
            )
            return read(Export.read, data, label)

        def find(_: HttpError) -> Export | None:
            self._pause()
            found = [each for each in self.all() if (each.name, each.query_id) == (name, query_id)]
            return max(found, key=lambda each: id_order(each.id), default=None)

        return recover_lost(self._client.http, send, find, label=label)

    def executions(self, export_id: str) -> Iterator[list[Execution]]:
        """Yield the executions of an export in pages, newest first."""
        label = f"executions of export {export_id}"
        for page in self._client.pages(f"{_path(export_id)}/executions", label=label):
            yield [read(Execution.read, row, label) for row in page]

    def newest_execution(self, export_id: str) -> Execution | None:
        """Return the execution that was created last, if there is one."""
        page = next(self.executions(export_id), [])
        return max(page, key=lambda each: each.position, default=None)

    def launch(self, export_id: str) -> Execution:
        """Start an execution, once.

        If the response is lost, any execution created since then counts as this one: its
        result is the same.
        """
        label = f"launch of export {export_id}"
        path = f"{_path(export_id)}/executions"
        before = self.newest_execution(export_id)

        def send() -> Execution:
            data = self._client.call("POST", path, label=label, json={}, idempotent=False)
            return read(Execution.read, data, label)

        def find(_: HttpError) -> Execution | None:
            self._pause()
            newest = self.newest_execution(export_id)
            is_new = newest and (before is None or newest.position > before.position)
            return newest if is_new else None

        return recover_lost(self._client.http, send, find, label=label)

    def _pause(self) -> None:
        self._client.http.shutdown.wait(self._poll_interval)

    def download(
        self,
        export_id: str,
        execution: Execution,
        name: str,
        *,
        into: IO[bytes],
        check: Callable[[Response], None] | None = None,
    ) -> None:
        """Download one file of a result to ``into``, as it is sent: plain or gzip.

        If the exports API fails, the data_file API is used.
        """
        label = f"file {name} of execution {execution.id}"
        path = (
            f"{_path(export_id)}/executions/{quote(execution.id, safe='')}"
            f"/files/technical_name={quote(name, safe='')}"
        )
        try:
            self._client.download(path, label=label, into=into, check=check)
        except Unauthorized:
            raise
        except HttpError as error:
            first = error
        else:
            return
        logger.warning("%s; trying the data_file API", first)
        try:
            self.download_data_file(execution, f"{name}.data", into=into, check=check)
        except HttpError as error:
            raise error.with_message(f"{first}; {error}") from error

    def head(self, export_id: str, execution: Execution, size: int) -> bytes:
        """Return about the first ``size`` bytes of a result without downloading all of it."""
        name = execution.output_files[0]
        return head_of(lambda into: self.download(export_id, execution, name, into=into), size)

    def error_file_head(self, execution: Execution) -> str:
        """Return the beginning of a failed execution's error file, or nothing."""
        try:
            head = head_of(
                lambda into: self.download_data_file(execution, "export.error", into=into),
                HEAD_BYTES,
            )
        except HttpError as error:
            logger.debug("%s", error)
            return ""
        return redacted_head(head, _ERROR_CHARACTERS)

    def download_data_file(
        self,
        execution: Execution,
        name: str,
        *,
        into: IO[bytes],
        check: Callable[[Response], None] | None = None,
    ) -> None:
        """Download a data file of an execution to ``into``, such as ``export.data``."""
        uri = (
            f"mics://data_file/tenants/{self._organisation}/jobs/executions/"
            f"{quote(execution.id, safe='')}/result/{quote(name, safe='')}"
        )
        label = f"data file {name} of execution {execution.id}"
        self._client.download(
            "data_file/data", label=label, into=into, check=check, params={"uri": uri}
        )


def _path(export_id: str) -> str:
    return f"exports/{quote(export_id, safe='')}"
