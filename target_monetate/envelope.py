"""The envelope of every answer, and what the vendor complains and warns about in it.

The vendor's OpenAPI description leaves open what the entries of ``meta.errors`` and
``meta.warnings`` look like.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import time
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from singer_martech.http.content import json_body
from singer_martech.http.errors import Forbidden, NotFound, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_martech.http.errors import RequestRejected
    from singer_martech.http.response import Response

_MESSAGE_KEYS = ("message", "detail", "reason", "description", "error")
_MAX_CHARACTERS = 500
_SKEW_SECONDS = 60


def data_of(response: Response, *, exact: bool = False) -> Any:
    """Return the envelope's ``data``.

    Args:
        response: The answer.
        exact: Numbers with a point become decimals, to the digit.

    Raises:
        InvalidResponse: It is not JSON.
    """
    content = json_body(response)
    if exact:
        with contextlib.suppress(ArithmeticError):  # an exponent beyond all bounds
            content = json.loads(response.body, parse_float=Decimal)
    return content.get("data") if isinstance(content, dict) else None


def meta_of(response: Response) -> dict[str, Any]:
    """Return the envelope's ``meta``; empty where an answer has none."""
    try:
        content = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    meta = content.get("meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def explained(rejection: RequestRejected, label: str) -> RequestRejected:
    """Word a refusal by what the vendor complains about, and say what to do."""
    response = rejection.response
    if response is None:
        return rejection.with_message(str(rejection))
    complaints = joined(texts(meta_of(response).get("errors")))
    line = (
        f"{label}: refused with status {response.status}: {complaints}" if complaints else rejection
    )
    return rejection.with_message(f"{line}{_advice(rejection, response)}")


def texts(complaints: Any) -> list[str]:
    """Return the entries of ``meta.errors`` or ``meta.warnings``, each as one text."""
    return list(dict.fromkeys(text for text in _texts(complaints) if text))


def joined(complaints: Iterable[str]) -> str:
    """Put texts onto one line of bearable length."""
    line = "; ".join(complaints)
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]} …"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _texts_of_object(value)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield " ".join(str(value).split())


def _texts_of_object(value: dict[str, Any]) -> Iterator[str]:
    key = next((key for key in _MESSAGE_KEYS if isinstance(value.get(key), str)), None)
    if key is None:
        for name, inner in value.items():
            for text in _texts(inner):
                yield f"{name}: {text}"
        return
    place = ", ".join(
        f"{name} {inner}"
        for name, inner in value.items()
        if name != key and inner is not None and not isinstance(inner, (dict, list))
    )
    yield f"{place}: {value[key]}" if place else value[key]


def _advice(rejection: RequestRejected, response: Response) -> str:
    if isinstance(rejection, Forbidden):
        return (
            "; check that the API key of 'username' is active in Monetate's Manage API Keys and "
            "that 'retailer' is yours"
        )
    if isinstance(rejection, Unauthorized):
        off = _clock_difference(response)
        if abs(off) > _SKEW_SECONDS:
            return f"; this machine's clock is {abs(off):.0f} s {'fast' if off > 0 else 'slow'}"
        return (
            "; check 'username', and that the public key of 'private_key' is registered for it "
            "in Monetate's Manage API Keys"
        )
    if isinstance(rejection, NotFound):
        return "; check 'retailer', and that the dataset still exists"
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
