"""Recognize Mona's responses, as opposed to those of proxies and portals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from singer_martech.http.auth import validate_token
from singer_martech.http.content import expect_json
from singer_martech.http.errors import RequestRejected, UnexpectedContent
from singer_martech.values.json_codec import exact_integer
from target_mona.partial_failures import is_partial, rejected_indexes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_martech.http.response import Response

_ERROR_STATUS = re.compile(
    r"error|fail|denied|forbidden|invalid|refused|rejected|unauthori[sz]ed|unavailable"
    r"|(?:bad|internal|not|service|too) |[45]\d\d\b",
    re.IGNORECASE,
)


class PartialFailure(RequestRejected):
    """Mona accepted some of the messages and rejected others.

    Attributes:
        reasons: The reasons by index in the request, or None if the response does not identify
            the rejected messages.
    """

    def __init__(self, message: str, response: Response, reasons: dict[int, str] | None) -> None:
        super().__init__(message, response)
        self.reasons = reasons


def content_of(response: Response) -> Any:
    """Return the JSON value of the body, with numbers of any length; None if it is not JSON."""
    try:
        return json.loads(response.body, parse_int=exact_integer)
    except (ValueError, RecursionError):
        return None


def is_unreadable(response: Response) -> bool:
    """Whether the body begins like a JSON object but is none, for instance because it is cut."""
    return response.body.lstrip().startswith(b"{") and content_of(response) is None


def validate_login(response: Response) -> None:
    """Check that a 2xx response to a login has a usable access token.

    Raises:
        UnexpectedContent: It has none.
    """
    content = expect_json(response)
    value = content.get("accessToken") if isinstance(content, dict) else None
    if not isinstance(value, str) or not value:
        raise UnexpectedContent(f"the response holds no accessToken: {response.head}")
    validate_token(value, content.get("expiresIn"))


def validate_export(response: Response) -> None:
    """Check that a 2xx response to an export names no error.

    The body of a success is not documented.

    Raises:
        UnexpectedContent: It names an error, or may name rejected messages but is unreadable.
    """
    content = content_of(response)
    if is_unreadable(response):
        raise UnexpectedContent(
            f"the response (status {response.status}) is not JSON: {response.head}"
        )
    if not is_partial(content) and _names_error(content):
        raise UnexpectedContent(
            f"the response (status {response.status}) names an error: {response.head}"
        )


def raise_if_partial(response: Response, messages: Sequence[bytes]) -> None:
    """Check that all messages were accepted.

    Raises:
        PartialFailure: Some were rejected.
    """
    content = content_of(response)
    if is_partial(content):
        message = f"Mona export: rejected in part with status {response.status}: {response.head}"
        raise PartialFailure(message, response, rejected_indexes(content, messages))


def _names_error(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    status = content.get("status")
    is_error_status = isinstance(status, (str, int)) and _ERROR_STATUS.match(str(status))
    return bool(
        content.get("error")
        or content.get("errors")
        or content.get("topLevelError")
        or content.get("success") is False
        or is_error_status
        or _names_error(content.get("meta"))
    )
