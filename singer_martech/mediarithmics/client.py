"""The client of the API: credentials, envelopes, pages and files.

Every response is an envelope, ``{"status": "ok", "data": …}`` or ``{"status": "error",
"error": …, "error_id": …}``; the ``error_id`` is in every message, for the vendor's
support. Dates are epoch milliseconds. Ids arrive as text or numbers and are text here.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, TypeVar

from singer_martech.http.auth import HeaderAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.content import expect_json, json_body, json_or_none
from singer_martech.http.errors import (
    Forbidden,
    HttpError,
    InvalidResponse,
    NotFound,
    RequestRejected,
    Unauthorized,
    UnexpectedContent,
)
from singer_martech.runtime.redaction import redact, redacted_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_martech.http.response import Response
    from singer_martech.http.settings import HttpSettings
    from singer_martech.runtime.shutdown import ShutdownSignal

DEFAULT_API_URL = "https://api.mediarithmics.com/v1"

_PAGE_ROWS = 50
_MAX_PAGES = 2000
_ERROR_CHARACTERS = 500
_SHOWN_CHARACTERS = 200
_MAX_ID_CHARACTERS = 100

_T = TypeVar("_T")


class UnexpectedResponse(InvalidResponse):
    """The response lacks fields that the vendor documents."""


class MediarithmicsClient:
    """Sends requests with one token.

    Args:
        api_token: Sent as is in ``Authorization``.
        api_url: The API's base address.
        settings: Timeouts and retry limits.
        shutdown: Ends waits when the run is asked to end.
    """

    def __init__(
        self,
        api_token: str,
        api_url: str = DEFAULT_API_URL,
        *,
        settings: HttpSettings | None = None,
        shutdown: ShutdownSignal | None = None,
    ) -> None:
        self.http = HttpClient(
            settings, auth=HeaderAuth(api_token), shutdown=shutdown, validate=_validate
        )
        self._api_url = api_url.rstrip("/")

    def send(self, method: str, path: str, *, label: str, **arguments: Any) -> Response:
        """Send a request. The message of an error has the vendor's ``error_id``.

        Args:
            method: The HTTP method.
            path: The path below the base URL, with quoted segments.
            label: Names the request in messages.
            arguments: As for :meth:`singer_martech.http.client.HttpClient.request`.
        """
        try:
            return self.http.request(method, f"{self._api_url}/{path}", label=label, **arguments)
        except HttpError as error:
            raise _with_error_id(error) from error

    def call(self, method: str, path: str, *, label: str, **arguments: Any) -> Any:
        """Send a request and return the ``data`` of its envelope."""
        return _envelope(self.send(method, path, label=label, **arguments))["data"]

    def pages(
        self, path: str, *, label: str, params: Mapping[str, str] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a list in pages, each row once.

        Raises:
            UnexpectedResponse: The list repeats itself before its total, or does not end.
        """
        seen: set[str] = set()
        first = 0
        for number in range(1, _MAX_PAGES + 1):
            response = self._page(path, first, label, params or {})
            envelope = _envelope(response)
            rows = _rows(envelope, response)
            fresh = _fresh(rows, seen)
            if rows and not fresh:
                if not isinstance(envelope.get("total"), int):
                    return  # a list without pages
                message = f"{label}: the list does not end, page {number} repeats earlier ones"
                raise UnexpectedResponse(message, response)
            yield fresh
            first += len(rows)
            if _is_last(envelope, len(rows), first):
                return
        raise UnexpectedResponse(f"{label}: the list does not end within {_MAX_PAGES} pages")

    def _page(self, path: str, first: int, label: str, params: Mapping[str, str]) -> Response:
        window = {"first_result": str(first), "max_results": str(_PAGE_ROWS)}
        return self.send("GET", path, label=label, params={**params, **window})

    def download(
        self,
        path: str,
        *,
        label: str,
        into: IO[bytes],
        check: Callable[[Response], None] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Response:
        """Download a file to ``into`` as it is sent: plain or gzip.

        ``check`` is that of :meth:`singer_martech.http.client.HttpClient.download`.
        """
        headers = {"Accept-Encoding": "gzip"}
        try:
            return self.http.download(
                "GET",
                f"{self._api_url}/{path}",
                label=label,
                into=into,
                check=check,
                params=params,
                headers=headers,
            )
        except HttpError as error:
            raise _with_error_id(error) from error


def read(read_fields: Callable[[Mapping[str, Any]], _T], fields: Any, label: str) -> _T:
    """Convert the fields of a response.

    Raises:
        UnexpectedResponse: A required field is missing, or has a value that cannot be used.
    """
    try:
        return read_fields(fields)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        message = (
            f"{label}: the response lacks a required field, or has one that cannot be used: "
            f"{redacted_head(str(fields), _SHOWN_CHARACTERS)}"
        )
        raise UnexpectedResponse(message) from None


def id_text(value: Any) -> str:
    """Return an id as text, which can be part of an address. The vendor writes some as numbers.

    Raises:
        TypeError: It is not an id.
        ValueError: It is longer than an id, or has control characters or lone surrogates.
    """
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise TypeError(value)
    text = str(value)
    if len(text) > _MAX_ID_CHARACTERS or not text.isprintable():
        raise ValueError("it is not an id")
    return text


def optional_id(value: Any) -> str | None:
    """Return an id as text, or None if there is none; raises what ``id_text`` raises."""
    return None if value is None or value == "" else id_text(value)


def _validate(response: Response) -> None:
    """Accept the vendor's envelope of a success only."""
    value = expect_json(response)
    if not isinstance(value, dict) or value.get("status") != "ok":
        names_error = isinstance(value, dict) and ("error" in value or "error_id" in value)
        reason = _vendor_error(value) if names_error else response.head or "it is empty"
        raise UnexpectedContent(f"the response does not say 'status: ok': {reason}")


def validate_text(response: Response) -> None:
    """Accept any text.

    Raises:
        UnexpectedContent: The response is empty.
    """
    if not response.body.strip():
        raise UnexpectedContent("the response is empty")


def _envelope(response: Response) -> dict[str, Any]:
    """Return the envelope of a success."""
    value: dict[str, Any] = json_body(response)
    if "data" in value:
        return value
    message = f"{response.label}: the response has no 'data': {response.head}"
    raise UnexpectedResponse(message, response)


def _with_error_id(error: HttpError) -> HttpError:
    """Add the vendor's message to an error, if the response has one."""
    response = error.response
    if response is None or not response.body:
        return error.with_message(str(error))
    value = json_or_none(response)
    if not isinstance(value, dict) or not (value.get("error") or value.get("error_id")):
        is_other_server = isinstance(error, NotFound)
        return error.with_remedy("check setting 'api_url'" if is_other_server else "")
    if isinstance(error, RequestRejected):
        message = f"{response.label}: {_vendor_error(value)} (status {response.status})"
        is_refused = isinstance(error, (Unauthorized, Forbidden))
        return type(error)(message, response, "check setting 'api_token'" if is_refused else "")
    return error.with_message(f"{error}; {_vendor_error(value)}")


def _vendor_error(envelope: Mapping[str, Any]) -> str:
    error = envelope.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error
    text = redacted_head(str(error or "no reason given"), _ERROR_CHARACTERS)
    error_id = envelope.get("error_id")
    return redact(f"{text}, error_id {error_id}" if error_id else text)


def _rows(envelope: Mapping[str, Any], response: Response) -> list[dict[str, Any]]:
    rows = envelope["data"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = (
            f"{response.label}: 'data' of the response is not a list of objects: {response.head}"
        )
        raise UnexpectedResponse(message, response)
    return rows


def _fresh(rows: Sequence[dict[str, Any]], seen: set[str]) -> list[dict[str, Any]]:
    """Return the rows that were not seen before, and mark them as seen."""
    fresh = [row for row in rows if _row_id(row) not in seen]
    seen.update(map(_row_id, rows))
    return fresh


def _row_id(row: Mapping[str, Any]) -> str:
    return str(row.get("id") or row.get("name") or sorted(row.items(), key=str))


def _is_last(envelope: Mapping[str, Any], count: int, read_so_far: int) -> bool:
    """Whether a page is the last: by the total of the list, or because it is not full."""
    total, asked = envelope.get("total"), envelope.get("max_results")
    if count == 0:
        return True
    if isinstance(total, int):
        return read_so_far >= total
    return count != (asked if isinstance(asked, int) else _PAGE_ROWS)
