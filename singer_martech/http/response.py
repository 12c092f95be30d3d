"""A vendor's response to one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_CHARACTERS = 300
"""Maximum characters of a response body, or of a cause, in a message."""


@dataclass(frozen=True)
class Response:
    """A complete response.

    Attributes:
        label: Names the request in messages.
        status: The HTTP status.
        headers: The headers; names are case-insensitive.
        body: The decoded body, empty after a download.
    """

    label: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def head(self) -> str:
        """The first characters of the body on one line, redacted."""
        return redacted_head(self.body, HEAD_CHARACTERS)
