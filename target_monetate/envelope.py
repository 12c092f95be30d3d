"""The JSON envelope of every response: its data, errors and warnings.

Source: the vendor's OpenAPI description of the Data API (``Response``, ``ResponseMeta``). It does
not describe the entries of ``meta.errors`` and ``meta.warnings``.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import time
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from singer_martech.http.content import expect_json, json_or_none
from singer_martech.http.errors import Forbidden, NotFound, Unauthorized, UnexpectedContent
from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.http.errors import RequestRejected
    from singer_martech.http.response import Response

_MESSAGE_KEYS = ("message", "detail", "reason", "description", "error")
_MAX_CHARACTERS = 500
_MAX_CLOCK_SKEW_SECONDS = 60
_FIRST_ERROR_CODE = 400
_MAX_DEPTH = 20


def validate(response: Response) -> None:
    """Check that a 2xx response has the vendor's envelope and names no error.

    Raises:
        UnexpectedContent: It does not come from the Data API, or names an error.
    """
    content = expect_json(response)
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or "data" not in content:
        raise UnexpectedContent(
            f"the response (status {response.status}) is not Monetate's: {response.head}"
        )
    errors = joined(texts(meta.get("errors")))
    code = meta.get("code")
    if errors or (isinstance(code, int) and code >= _FIRST_ERROR_CODE):
        raise UnexpectedContent(
            f"the response (status {response.status}) names an error: {errors or response.head}"
        )


def data_of(response: Response, *, exact: bool = False) -> Any:
    """Return the ``data`` of a valid response; if ``exact``, numbers with a point are decimals."""
    content = json.loads(response.body)
    if exact:
        with contextlib.suppress(ArithmeticError):  # an exponent that Decimal cannot hold
            content = json.loads(response.body, parse_float=Decimal)
    return content["data"]


def meta_of(response: Response) -> dict[str, Any]:
    """Return the ``meta`` of a response; empty if it has none."""
    content = json_or_none(response)
    meta = content.get("meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def explained(rejection: RequestRejected, label: str) -> RequestRejected:
    """Return a rejection with the vendor's error messages, and what to do."""
    response = rejection.response
    if response is None:
        return rejection.with_message(str(rejection))
    errors = joined(texts(meta_of(response).get("errors")))
    line = f"{label}: rejected with status {response.status}: {errors}" if errors else rejection
    return rejection.with_message(f"{line}{_advice(rejection, response)}")


def texts(entries: Any) -> list[str]:
    """Return the entries of ``meta.errors`` or ``meta.warnings``, one text each."""
    return list(dict.fromkeys(text for text in _texts(entries) if text))


def joined(lines: Iterable[str]) -> str:
    """Join texts to one redacted line of limited length."""
    return redacted_head("; ".join(lines), _MAX_CHARACTERS)


def _texts(value: Any, depth: int = _MAX_DEPTH) -> Iterator[str]:
    if depth == 0:
        yield "…"
    elif isinstance(value, dict):
        yield from _texts_of_object(value, depth - 1)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, depth - 1)
    elif value is not None:
        yield " ".join(str(value).split())


def _texts_of_object(value: dict[str, Any], depth: int) -> Iterator[str]:
    key = next((key for key in _MESSAGE_KEYS if isinstance(value.get(key), str)), None)
    if key is None:
        for name, inner in value.items():
            for text in _texts(inner, depth):
                yield f"{name}: {text}"
        return
    details = ", ".join(
        f"{name} {inner}"
        for name, inner in value.items()
        if name != key and inner is not None and not isinstance(inner, (dict, list))
    )
    yield f"{details}: {value[key]}" if details else value[key]


def _advice(rejection: RequestRejected, response: Response) -> str:
    if isinstance(rejection, Forbidden):
        return (
            "; check that the API key of 'username' is active in Monetate's Manage API Keys and "
            "that 'retailer' is yours"
        )
    if isinstance(rejection, Unauthorized):
        difference = _clock_difference(response)
        if abs(difference) > _MAX_CLOCK_SKEW_SECONDS:
            direction = "fast" if difference > 0 else "slow"
            return f"; this machine's clock is {abs(difference):.0f} s {direction}"
        return (
            "; check setting 'username', and that the public key of 'private_key' is registered "
            "for it in Monetate's Manage API Keys"
        )
    if isinstance(rejection, NotFound):
        return "; check settings 'api_url' and 'retailer'"
    return ""


def _clock_difference(response: Response) -> float:
    """Return by how many seconds this machine's clock is ahead of the vendor's."""
    try:
        theirs = parsedate_to_datetime(response.headers.get("Date", ""))
    except (TypeError, ValueError):
        return 0.0
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=datetime.timezone.utc)
    return time.time() - theirs.timestamp()
