"""Reading the content of a response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from singer_martech.http.errors import InvalidResponse

if TYPE_CHECKING:
    from singer_martech.http.response import Response


def json_body(response: Response) -> Any:
    """Return the JSON value of the body.

    Raises:
        InvalidResponse: The body is not JSON.
    """
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        message = (
            f"{response.label}: the response (status {response.status}) is not JSON: "
            f"{response.head or 'it is empty'}"
        )
        raise InvalidResponse(message, response) from None
