"""Recognize Mona's responses, as opposed to those of proxies and portals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from singer_martech.http.content import expect_json, json_or_none
from singer_martech.http.errors import UnexpectedContent
from target_mona.partial_failures import is_partial

if TYPE_CHECKING:
    from singer_martech.http.response import Response

_ERROR_STATUS = re.compile(
    r"error|fail|denied|forbidden|invalid|refused|rejected|unauthori[sz]ed|unavailable"
    r"|(?:bad|internal|not|service|too) |[45]\d\d\b",
    re.IGNORECASE,
)


def validate_login(response: Response) -> None:
    """Check that a 2xx response to a login has an access token.

    Raises:
        UnexpectedContent: It has none.
    """
    content = expect_json(response)
    value = content.get("accessToken") if isinstance(content, dict) else None
    if not isinstance(value, str) or not value:
        raise UnexpectedContent(f"the response holds no accessToken: {response.head}")


def validate_export(response: Response) -> None:
    """Check that a 2xx response to an export names no error.

    The body of a success is not documented.

    Raises:
        UnexpectedContent: It names an error.
    """
    content = json_or_none(response)
    if not is_partial(content) and _names_error(content):
        raise UnexpectedContent(
            f"the response (status {response.status}) names an error: {response.head}"
        )


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
