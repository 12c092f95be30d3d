"""The mediarithmics API: exports, their executions and files, queries and schemas.

The module knows the vendor's wire and nothing of Singer; it can be used alone::

    api = Mediarithmics("api:…")
    for export in api.exports("1426"):
        print(export.id, export.name)

Every answer is an envelope, ``{"status": "ok", "data": …}`` or ``{"status": "error",
"error": …, "error_id": …}``; the ``error_id`` is in every message, for the vendor's
support. Dates are epoch milliseconds. Ids come as text or as numbers and are text here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from singer_martech._compat import override
from singer_martech.auth import HeaderAuth
from singer_martech.http import BadAnswer, HttpClient, HttpFailure, Refused
from singer_martech.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_martech.http import Answer, HttpSettings
    from singer_martech.stop import Stop

logger = logging.getLogger(__name__)

DEFAULT_API_URL = "https://api.mediarithmics.com/v1"

_SUCCEEDED = frozenset({"SUCCEEDED", "SUCCESS"})
_FAILED = frozenset({"FAILED", "CANCELED", "CANCELLED"})
_UNDER_WAY = frozenset({"PENDING", "RUNNING", "SCHEDULED", "WAITING_DEPENDENT_JOB"})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 401, 403, 404, 405
_PAGE_ROWS = 50
_MOST_PAGES = 2000
_ERROR_HEAD_BYTES = 1000
_ERROR_CHARACTERS = 500

GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 31

_T = TypeVar("_T")


class UnexpectedAnswer(BadAnswer):
    """The vendor answered with other fields than it documents."""


class QueryFault(ValueError):  # noqa: N818 - what the vendor found in the query
    """The vendor's query check refuses an OTQL text; the message names the place."""


@dataclass(frozen=True)
class Export:
    """The definition of an export (vendor page: Query exports)."""

    id: str
    name: str
    query_id: str | None
    datamart_id: str | None
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Export:
        """Read one as the vendor sends it."""
        return cls(
            id=str(fields["id"]),
            name=str(fields.get("name") or ""),
            query_id=_optional_id(fields.get("query_id")),
            datamart_id=_optional_id(fields.get("datamart_id")),
            fields=fields,
        )


@dataclass(frozen=True)
class Execution:
    """One run of an export or of a document import.

    Attributes:
        created: When it was created, in epoch milliseconds.
        fields: All fields, as the vendor sent them.
    """

    id: str
    status: str
    created: int
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Execution:
        """Read one as the vendor sends it."""
        return cls(
            id=str(fields["id"]),
            status=str(fields.get("status") or ""),
            created=int(fields["creation_date"]),
            fields=fields,
        )

    @property
    def position(self) -> tuple[int, int, str]:
        """Sorts executions from old to new, those of one millisecond by id."""
        return (self.created, *id_order(self.id))

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status in _SUCCEEDED

    @property
    def failed(self) -> bool:
        """Whether it ended without a result."""
        return self.status in _FAILED

    @property
    def is_under_way(self) -> bool:
        """Whether it waits or runs; the vendor's internal troubles do not count."""
        return self.status in _UNDER_WAY

    @property
    def error(self) -> str:
        """What the vendor says went wrong: null, a text, or an object with a message."""
        error = self.fields.get("error")
        if isinstance(error, dict):
            error = error.get("message") or error
        return redact(str(error)) if error else ""

    @property
    def output_files(self) -> list[str]:
        """Names of the files of the result; one named ``export`` where none is named."""
        result = self.fields.get("result")
        names = result.get("output_files") if isinstance(result, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            names = []
        return [name for name in names if name] or ["export"]

    def tasks(self, which: str) -> int | None:
        """Count of ``num``, ``completed`` or ``erroneous`` tasks, where it is known."""
        count = self.fields.get(f"{which}_tasks")
        return count if isinstance(count, int) and not isinstance(count, bool) else None


def id_order(identifier: str) -> tuple[int, str]:
    """Sort ids as numbers, which most are, and others by their text."""
    return (int(identifier) if identifier.isascii() and identifier.isdigit() else -1, identifier)


class Mediarithmics:
    """Speaks to the API with one token.

    Args:
        api_token: Sent as it is in ``Authorization``.
        api_url: The API's base address.
        settings: Timeouts and patience.
        stop: Ends waits when the run is asked to end.
    """

    def __init__(
        self,
        api_token: str,
        api_url: str = DEFAULT_API_URL,
        *,
        settings: HttpSettings | None = None,
        stop: Stop | None = None,
    ) -> None:
        """Open no connection yet."""
        self.http = HttpClient(settings, auth=HeaderAuth(api_token), stop=stop)
        self._api_url = api_url.rstrip("/")

    # Exports and their executions

    def exports(self, organisation_id: str) -> Iterator[Export]:
        """Yield every export of an organisation."""
        pages = self._pages("exports", "list of exports", {"organisation_id": organisation_id})
        return (_read(Export.read, row, "list of exports") for page in pages for row in page)

    def export(self, organisation_id: str, export_id: str) -> Export:
        """Read the definition of one export."""
        what = f"export {export_id}"
        params = {"organisation_id": organisation_id}
        data = self.call("GET", f"exports/{quote(export_id, safe='')}", what=what, params=params)
        return _read(Export.read, data, what)

    def create_export(self, organisation_id: str, name: str, query_id: str) -> Export:
        """Create an export of a stored query.

        Raises:
            OutcomeUnknown: It may have been created all the same; look for its name.
        """
        what = f"creation of export {name!r}"
        data = self.call(
            "POST",
            "exports",
            what=what,
            params={"organisation_id": organisation_id},
            json={"name": name, "output_format": "JSON", "query_id": query_id, "type": "QUERY"},
            repeatable=False,
        )
        return _read(Export.read, data, what)

    def executions(self, export_id: str) -> Iterator[list[Execution]]:
        """Yield the executions of an export, newest first, a page at a time."""
        what = f"executions of export {export_id}"
        for page in self._pages(f"exports/{quote(export_id, safe='')}/executions", what, {}):
            yield [_read(Execution.read, row, what) for row in page]

    def launch(self, export_id: str) -> Execution:
        """Start an execution.

        Raises:
            OutcomeUnknown: It may have been started all the same; look at the executions.
        """
        what = f"launch of export {export_id}"
        path = f"exports/{quote(export_id, safe='')}/executions"
        data = self.call("POST", path, what=what, json={}, repeatable=False)
        return _read(Execution.read, data, what)

    def download(  # noqa: PLR0913 - what, whose, where to
        self,
        organisation_id: str,
        export_id: str,
        execution_id: str,
        name: str,
        *,
        into: IO[bytes],
        check: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Write one file of a result to ``into``, as it was sent: plain or gzip.

        The exports API is asked first, and where it fails, the data_file API.
        """
        what = f"file {name} of execution {execution_id}"
        execution = quote(execution_id, safe="")
        path = (
            f"exports/{quote(export_id, safe='')}/executions/{execution}"
            f"/files/technical_name={quote(name, safe='')}"
        )
        try:
            return self._download(path, what=what, into=into, check=check)
        except HttpFailure as error:
            if error.status == _UNAUTHORIZED:
                raise
            logger.warning("%s; trying the data_file API", error)
            first = error
        try:
            return self._data_file(
                self._result_uri(organisation_id, execution_id, f"{name}.data"),
                what=f"{what} by the data_file API",
                into=into,
                check=check,
            )
        except HttpFailure as error:
            message = f"{first}; {error}"
            raise type(error)(message, error.answer) from error

    def head(self, organisation_id: str, export_id: str, execution: Execution, size: int) -> bytes:
        """Return about the first ``size`` bytes of a result, without reading it all."""
        head = _Head(size)
        name = execution.output_files[0]
        with contextlib.suppress(_Enough):
            self.download(organisation_id, export_id, execution.id, name, into=head)
        return head.content()

    def error_file_head(self, organisation_id: str, execution_id: str) -> str:
        """Return the beginning of a failed execution's error file, or nothing."""
        head = _Head(_ERROR_HEAD_BYTES)
        uri = self._result_uri(organisation_id, execution_id, "export.error")
        try:
            self._data_file(uri, what=f"error file of execution {execution_id}", into=head)
        except _Enough:
            pass
        except HttpFailure as error:
            logger.debug("%s", error)
            return ""
        return redact(" ".join(head.content().decode("utf-8", "replace").split()))

    # Queries

    def query_text(self, datamart_id: str, query_id: str) -> str:
        """Return the text of a stored query."""
        what = f"query {query_id}"
        data = self.call("GET", self._query_path(datamart_id, query_id), what=what)
        return str(data.get("query_text") or "") if isinstance(data, dict) else ""

    def create_query(self, datamart_id: str, text: str) -> str:
        """Store an OTQL query and return its id."""
        what = "creation of a query"
        body = {"query_language": "OTQL", "query_text": text}
        data = self.call("POST", self._query_path(datamart_id), what=what, json=body)
        return _read(lambda fields: str(fields["id"]), data, what)

    def rewrite_query(self, datamart_id: str, query_id: str, text: str) -> None:
        """Replace the text of a stored query."""
        body = {"query_language": "OTQL", "query_text": text}
        path = self._query_path(datamart_id, query_id)
        self.call("PUT", path, what=f"rewriting of query {query_id}", json=body)

    def check_query(self, datamart_id: str, text: str) -> None:
        """Let the vendor check an OTQL text, which is otherwise run into an empty file.

        Raises:
            QueryFault: The vendor finds a fault.
        """
        path = f"datamarts/{quote(datamart_id, safe='')}/query_check/otql"
        try:
            data = self.call("POST", path, what="query check", json={"query": text})
        except Refused as error:
            if error.status not in {_FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED}:
                raise
            logger.warning("%s; the query runs unchecked", error)
            return
        kind = data.get("type") if isinstance(data, dict) else None
        if kind in {"PARSING_ERROR", "VALIDATION_ERROR"}:
            raise QueryFault(_query_fault(kind, data.get("error")))

    # Schemas of a datamart

    def live_schema_id(self, datamart_id: str) -> str | None:
        """Return the id of the schema that queries are run against."""
        path = f"datamarts/{quote(datamart_id, safe='')}/graphdb_runtime_schemas"
        for page in self._pages(path, f"schemas of datamart {datamart_id}", {}):
            for row in page:
                if row.get("status") == "LIVE":
                    return str(row["id"])
        return None

    def object_types(self, datamart_id: str, schema_id: str) -> list[Mapping[str, Any]]:
        """Return a schema's object types, each with its ``fields``."""
        path = f"{self._schema_path(datamart_id, schema_id)}/object_types/deep"
        return [row for page in self._pages(path, f"types of schema {schema_id}", {}) for row in page]

    def schema_text(self, datamart_id: str, schema_id: str) -> str:
        """Return a schema in GraphQL's schema definition language."""
        path = f"{self._schema_path(datamart_id, schema_id)}/text"
        answer = self.send("GET", path, what=f"text of schema {schema_id}")
        text = answer.body.decode("utf-8", "replace")
        if text.lstrip().startswith(("{", '"')):
            value = answer.json()
            data = value.get("data") if isinstance(value, dict) else value
            text = data if isinstance(data, str) else ""
        return text

    # The wire

    def call(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        repeatable: bool = True,
    ) -> Any:
        """Send a request and return the ``data`` of the answer's envelope."""
        answer = self.send(
            method, path, what=what, params=params, json=json, repeatable=repeatable
        )
        return _envelope(answer).get("data")

    def send(self, method: str, path: str, *, what: str, **arguments: Any) -> Answer:
        """Send a request; a failure's message holds the vendor's ``error_id``.

        The arguments are those of :meth:`singer_martech.http.HttpClient.request`.
        """
        try:
            return self.http.request(method, f"{self._api_url}/{path}", what=what, **arguments)
        except HttpFailure as error:
            raise _with_error_id(error) from error

    def _pages(
        self, path: str, what: str, params: Mapping[str, str]
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a list a page at a time, each row once."""
        seen: set[str] = set()
        first = 0
        for number in range(1, _MOST_PAGES + 1):
            window = {"first_result": str(first), "max_results": str(_PAGE_ROWS)}
            answer = self.send("GET", path, what=what, params={**params, **window})
            envelope = _envelope(answer)
            rows = _rows(envelope, answer)
            fresh = [row for row in rows if _row_id(row) not in seen]
            if rows and not fresh:
                message = f"{what}: the list does not end, page {number} repeats earlier ones"
                raise UnexpectedAnswer(message, answer)
            seen.update(map(_row_id, rows))
            yield fresh
            first += len(rows)
            if _is_last(envelope, len(rows), first):
                return
        message = f"{what}: the list does not end within {_MOST_PAGES} pages"
        raise UnexpectedAnswer(message)

    def _download(self, path: str, *, what: str, into: Any, **arguments: Any) -> Answer:
        url = f"{self._api_url}/{path}"
        headers = {"Accept-Encoding": "gzip"}
        try:
            return self.http.download(
                "GET", url, what=what, into=into, raw=True, headers=headers, **arguments
            )
        except HttpFailure as error:
            raise _with_error_id(error) from error

    def _data_file(self, uri: str, *, what: str, into: Any, **arguments: Any) -> Answer:
        return self._download("data_file/data", what=what, into=into, params={"uri": uri}, **arguments)

    @staticmethod
    def _result_uri(organisation_id: str, execution_id: str, name: str) -> str:
        return (
            f"mics://data_file/tenants/{organisation_id}/jobs/executions/{execution_id}"
            f"/result/{name}"
        )

    @staticmethod
    def _query_path(datamart_id: str, query_id: str | None = None) -> str:
        path = f"datamarts/{quote(datamart_id, safe='')}/queries"
        return path if query_id is None else f"{path}/{quote(query_id, safe='')}"

    @staticmethod
    def _schema_path(datamart_id: str, schema_id: str) -> str:
        datamart, schema = quote(datamart_id, safe=""), quote(schema_id, safe="")
        return f"datamarts/{datamart}/graphdb_runtime_schemas/{schema}"


class _Enough(Exception):  # noqa: N818 - ends a download on purpose
    """The head of a file has been read."""


class _Head(io.BytesIO):
    """Takes the place of a file, keeps its first bytes, and ends the download."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    @override
    def write(self, block: Any) -> int:
        size = super().write(block)
        if self.tell() >= self._limit:
            raise _Enough
        return size

    def content(self) -> bytes:
        """Return what has come, inflated where it is gzip."""
        content = self.getvalue()
        if not content.startswith(GZIP_MAGIC):
            return content[: self._limit]
        try:
            return zlib.decompressobj(_GZIP_BITS).decompress(content, self._limit)
        except zlib.error:
            return b""


def _envelope(answer: Answer) -> dict[str, Any]:
    """Open an answer's envelope.

    Raises:
        Refused: It says that the request failed, though its status is 2xx.
        UnexpectedAnswer: It is no envelope.
    """
    value = answer.json()
    if not isinstance(value, dict) or ("data" not in value and value.get("status") != "error"):
        message = f"{answer.what}: the answer has no 'data': {answer.head}"
        raise UnexpectedAnswer(message, answer)
    if value.get("status") == "error" and "data" not in value:
        message = f"{answer.what}: {_vendor_error(value)}"
        raise Refused(message, answer)
    return value


def _with_error_id(error: HttpFailure) -> HttpFailure:
    """Word a failure with what the vendor says, where it says something."""
    answer = error.answer
    if answer is None or not answer.body:
        return error
    try:
        value = answer.json()
    except BadAnswer:
        return error
    if not isinstance(value, dict) or not (value.get("error") or value.get("error_id")):
        return error
    reason = _vendor_error(value)
    if isinstance(error, Refused):
        remedy = "; check 'api_token'" if answer.status in {_UNAUTHORIZED, _FORBIDDEN} else ""
        message = f"{answer.what}: {reason} (status {answer.status}){remedy}"
    else:
        message = f"{error}; {reason}"
    return type(error)(message, answer)


def _vendor_error(envelope: Mapping[str, Any]) -> str:
    error = envelope.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error
    text = " ".join(str(error or "no reason given").split())[:_ERROR_CHARACTERS]
    error_id = envelope.get("error_id")
    return redact(f"{text}, error_id {error_id}" if error_id else text)


def _rows(envelope: Mapping[str, Any], answer: Answer) -> list[dict[str, Any]]:
    rows = envelope["data"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = f"{answer.what}: the answer's 'data' is no list of objects: {answer.head}"
        raise UnexpectedAnswer(message, answer)
    return rows


def _row_id(row: Mapping[str, Any]) -> str:
    return str(row.get("id") or row.get("name") or sorted(row.items(), key=str))


def _is_last(envelope: Mapping[str, Any], count: int, read: int) -> bool:
    """Whether a page was the last: by the list's total, or because it was not full."""
    total, asked = envelope.get("total"), envelope.get("max_results")
    if count == 0:
        return True
    if isinstance(total, int):
        return read >= total
    return count != (asked if isinstance(asked, int) else _PAGE_ROWS)


def _read(read: Callable[[Mapping[str, Any]], _T], fields: Any, what: str) -> _T:
    """Make a value of an answer's fields.

    Raises:
        UnexpectedAnswer: A field that cannot be done without is missing.
    """
    try:
        return read(fields)
    except (AttributeError, KeyError, TypeError, ValueError):
        message = f"{what}: the answer lacks an id or a date: {redact(str(fields))[:200]}"
        raise UnexpectedAnswer(message) from None


def _optional_id(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _query_fault(kind: str, error: Any) -> str:
    """Word what the query check found, with its place."""
    error = error if isinstance(error, dict) else {"message": error}
    place = error.get("position")
    where = ""
    if isinstance(place, dict):
        where = f" at line {place.get('row')}, column {place.get('col')}"
    return f"{kind}{where}: {error.get('message') or 'no reason given'}"
