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
class Answer:
    """A vendor's answer, whole.

    Attributes:
        what: The request it answers, as a person would name it.
        status: The HTTP status.
        headers: Its headers; names are compared without regard to case.
        body: The decoded body, empty after a download.
    """

    what: str
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
            BadAnswer: It is not JSON, such as the HTML page of a proxy.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            message = (
                f"{self.what}: the answer (status {self.status}) is not JSON: "
                f"{self.head or 'it is empty'}"
            )
            raise BadAnswer(message, self) from None


class HttpFailure(MartechError):
    """A request did not succeed.

    Attributes:
        status: The HTTP status of the last answer, or None when there was none.
        answer: The last answer, or None.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        """Keep the answer for whoever can read more from it."""
        super().__init__(redact(message))
        self.answer = answer
        self.status = None if answer is None else answer.status


class Refused(HttpFailure):
    """The vendor refused the request; the same request would be refused again."""


class Exhausted(HttpFailure):
    """All tries failed. Whether the vendor acted on one of them is unknown."""


class RateLimited(HttpFailure):
    """The vendor asked to wait for longer than ``max_rate_limit_wait_seconds``."""


class LoginRefused(HttpFailure):
    """No token is given; unlike a refusal of records, this is about none of them."""


class OutcomeUnknown(HttpFailure):
    """The vendor may have acted on a request that must not be sent twice."""


class BadAnswer(HttpFailure):
    """The vendor answered something that this client cannot read."""


class BrokenBody(Exception):
    """A downloaded body is not whole; the try failed and is repeated."""
