"""The API's wire: credentials, envelopes, lists in pages, and files.

Every answer is an envelope, ``{"status": "ok", "data": …}`` or ``{"status": "error",
"error": …, "error_id": …}``; the ``error_id`` is in every message, for the vendor's
support. Dates are epoch milliseconds. Ids come as text or as numbers and are text here.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from typing import IO, TYPE_CHECKING, Any, TypeVar

from singer_martech._compat import override
from singer_martech.http.auth import HeaderAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.errors import BadAnswer, HttpFailure, Refused
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_martech.http.client import HttpSettings
    from singer_martech.http.errors import Answer
    from singer_martech.runtime.shutdown import Stop

DEFAULT_API_URL = "https://api.mediarithmics.com/v1"

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_PAGE_ROWS = 50
_MOST_PAGES = 2000
_ERROR_CHARACTERS = 500
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 31

_T = TypeVar("_T")


class UnexpectedAnswer(BadAnswer):
    """The vendor answered with other fields than it documents."""


class Connection:
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

    def send(self, method: str, path: str, *, what: str, **arguments: Any) -> Answer:
        """Send a request; a failure's message holds the vendor's ``error_id``.

        Args:
            method: The HTTP method.
            path: The path below the base address, its parts quoted.
            what: The request in a person's words, for messages.
            arguments: As for :meth:`singer_martech.http.client.HttpClient.request`.
        """
        try:
            return self.http.request(method, f"{self._api_url}/{path}", what=what, **arguments)
        except HttpFailure as error:
            raise _with_error_id(error) from error

    def call(self, method: str, path: str, *, what: str, **arguments: Any) -> Any:
        """Send a request and return the ``data`` of the answer's envelope."""
        return _envelope(self.send(method, path, what=what, **arguments))["data"]

    def pages(
        self, path: str, *, what: str, params: Mapping[str, str] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a list a page at a time, each row once.

        Raises:
            UnexpectedAnswer: The list repeats itself before its total, or does not end.
        """
        seen: set[str] = set()
        first = 0
        for number in range(1, _MOST_PAGES + 1):
            window = {"first_result": str(first), "max_results": str(_PAGE_ROWS)}
            answer = self.send("GET", path, what=what, params={**(params or {}), **window})
            envelope = _envelope(answer)
            rows = _rows(envelope, answer)
            fresh = [row for row in rows if _row_id(row) not in seen]
            if rows and not fresh:
                if not isinstance(envelope.get("total"), int):
                    return  # a list that knows no pages was whole at once
                message = f"{what}: the list does not end, page {number} repeats earlier ones"
                raise UnexpectedAnswer(message, answer)
            seen.update(map(_row_id, rows))
            yield fresh
            first += len(rows)
            if _is_last(envelope, len(rows), first):
                return
        message = f"{what}: the list does not end within {_MOST_PAGES} pages"
        raise UnexpectedAnswer(message)

    def download(
        self,
        path: str,
        *,
        what: str,
        into: IO[bytes],
        check: Callable[[Answer], None] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Write a file to ``into`` as it was sent: plain or gzip.

        ``check`` is that of :meth:`singer_martech.http.client.HttpClient.download`.
        """
        headers = {"Accept-Encoding": "gzip"}
        try:
            return self.http.download(
                "GET",
                f"{self._api_url}/{path}",
                what=what,
                into=into,
                check=check,
                params=params,
                headers=headers,
                raw=True,
            )
        except HttpFailure as error:
            raise _with_error_id(error) from error


def read(read_fields: Callable[[Mapping[str, Any]], _T], fields: Any, what: str) -> _T:
    """Make a value of an answer's fields.

    Raises:
        UnexpectedAnswer: A field that cannot be done without is missing.
    """
    try:
        return read_fields(fields)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        message = f"{what}: the answer lacks an id or a date: {redact(str(fields))[:200]}"
        raise UnexpectedAnswer(message) from None


def id_text(value: Any) -> str:
    """Return an id as text; the vendor writes some as numbers.

    Raises:
        TypeError: It is no id.
    """
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise TypeError(value)
    return str(value)


def optional_id(value: Any) -> str | None:
    """Return an id as text, and None where there is none."""
    return None if value is None or value == "" else str(value)


def head_of(download: Callable[[IO[bytes]], object], size: int) -> bytes:
    """Return about the first ``size`` bytes of a file, without reading it all.

    Args:
        download: Downloads the file into what it is given.
        size: How many bytes are enough.
    """
    head = _Head(size)
    with contextlib.suppress(_Enough):
        download(head)
    return head.content()


class _Enough(Exception):
    """The head of a file has been read."""


class _Head(io.BytesIO):
    """Takes the place of a file, keeps its first bytes, and ends the download."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    @override
    def write(self, block: Any) -> int:
        count = super().write(block)
        if self.tell() >= self._size:
            raise _Enough
        return count

    def content(self) -> bytes:
        """Return what has come, inflated where it is gzip."""
        content = self.getvalue()
        if not content.startswith(_GZIP_MAGIC):
            return content[: self._size]
        try:
            return zlib.decompressobj(_GZIP_BITS).decompress(content, self._size)
        except zlib.error:
            return b""


def _envelope(answer: Answer) -> dict[str, Any]:
    """Open an answer's envelope.

    Raises:
        Refused: It says that the request failed, though its status is 2xx.
        UnexpectedAnswer: It is no envelope.
    """
    value = answer.json()
    if isinstance(value, dict) and value.get("status") == "error":
        message = f"{answer.what}: {_vendor_error(value)}"
        raise Refused(message, answer)
    if isinstance(value, dict) and "data" in value:
        return value
    message = f"{answer.what}: the answer has no 'data': {answer.head}"
    raise UnexpectedAnswer(message, answer)


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
    if isinstance(error, Refused):
        remedy = "; check 'api_token'" if answer.status in {_UNAUTHORIZED, _FORBIDDEN} else ""
        message = f"{answer.what}: {_vendor_error(value)} (status {answer.status}){remedy}"
    else:
        message = f"{error}; {_vendor_error(value)}"
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


def _is_last(envelope: Mapping[str, Any], count: int, read_so_far: int) -> bool:
    """Whether a page was the last: by the list's total, or because it was not full."""
    total, asked = envelope.get("total"), envelope.get("max_results")
    if count == 0:
        return True
    if isinstance(total, int):
        return read_so_far >= total
    return count != (asked if isinstance(asked, int) else _PAGE_ROWS)
