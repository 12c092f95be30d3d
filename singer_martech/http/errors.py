"""What a vendor answers, and the ways in which a request does not succeed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_CHARACTERS = 300
"""How much of an answer, or of a cause, a message shows."""

_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Response:
    """A vendor's answer, whole.

    Attributes:
        label: The request it answers, as a person would name it.
        status: The HTTP status.
        headers: Its headers; names are compared without regard to case.
        body: The decoded body, empty after a download.
    """

    label: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def head(self) -> str:
        """The first characters of the body on one line, without secrets."""
        # far more than is shown: a secret that the cut goes through would not be known for one
        text = redact(self.body[:_HEAD_BYTES].decode("utf-8", "replace"))
        return redact(" ".join(text.split()))[:HEAD_CHARACTERS]

    def json(self) -> Any:
        """Return the body's JSON value.

        Raises:
            InvalidResponse: It is not JSON, such as the HTML page of a proxy.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            message = (
                f"{self.label}: the answer (status {self.status}) is not JSON: "
                f"{self.head or 'it is empty'}"
            )
            raise InvalidResponse(message, self) from None


class HttpError(MartechError):
    """A request did not succeed.

    Attributes:
        status: The HTTP status of the last answer, or None when there was none.
        response: The last answer, or None.
    """

    def __init__(self, message: str, response: Response | None = None) -> None:
        """Keep the answer for whoever can read more from it."""
        super().__init__(redact(message))
        self.response = response
        self.status = None if response is None else response.status


class RequestRejected(HttpError):
    """The vendor refused the request; the same request would be refused again."""


class RetriesExhausted(HttpError):
    """All tries failed. Whether the vendor acted on one of them is unknown."""


class RateLimited(HttpError):
    """The vendor asked to wait for longer than ``max_rate_limit_wait_seconds``."""


class LoginRejected(HttpError):
    """No token is given; unlike a refusal of records, this is about none of them."""


class OutcomeUnknown(HttpError):
    """The vendor may have acted on a request that must not be sent twice."""


class InvalidResponse(HttpError):
    """The vendor answered something that this client cannot read."""


class IncompleteBody(Exception):
    """A downloaded body is not whole; the try failed and is repeated."""
