"""The record of every request to the sandbox."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Bodies up to this size in bytes are recorded; of larger ones only the size is.
KEPT_BODY_BYTES = 64 * 1024

_SECRET_FIELD = re.compile(r"secret|token|key|password", re.IGNORECASE)


@dataclass
class RecordedRequest:
    """One request as seen by the server.

    `started` and `ended` are seconds of a monotonic clock; a request has ended when its response
    is ready to be written, which is before the client can have read it. `status` is None while
    the request is in progress and if the connection was reset. Of the value of `Authorization`
    only the scheme is recorded; `authorized` tells whether there was one.
    """

    number: int
    vendor: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    started: float
    ended: float | None = None
    status: int | None = None
    fault: str | None = None
    size: int = 0
    body: bytes | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def authorized(self) -> bool:
        """Whether the request had a credential in its headers."""
        return "authorization" in self.headers

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is not JSON or was too large to be recorded."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form body; empty if the body is not a form."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("application/x-www-form-urlencoded") or not self.body:
            return {}
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def parameters(self) -> dict[str, str]:
        """The fields of query and form together."""
        return {**self.query, **self.form}

    def as_dict(self) -> dict[str, Any]:
        """Return the public members for HTTP and the page, without secrets."""
        return {
            "number": self.number,
            "vendor": self.vendor,
            "method": self.method,
            "path": self.path,
            "parameters": {
                name: "***" if _SECRET_FIELD.search(name) else value
                for name, value in self.parameters.items()
            },
            "headers": self.headers,
            "status": self.status,
            "fault": self.fault,
            "size": self.size,
            "seconds": None if self.ended is None else round(self.ended - self.started, 4),
        }


#: The request key under which a handler finds its record.
RECORD: web.RequestKey[RecordedRequest] = web.RequestKey("record", RecordedRequest)


def safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with lower-case names, and credentials reduced to their scheme."""
    kept = {name.lower(): value for name, value in headers.items()}
    if "authorization" in kept:
        scheme, separator, _ = kept["authorization"].partition(" ")
        kept["authorization"] = f"{scheme} ***" if separator else "***"
    return kept


def max_concurrent(requests: Iterable[RecordedRequest]) -> int:
    """Return the maximum number of concurrent requests."""
    steps: list[tuple[float, int]] = []
    for request in requests:
        steps.append((request.started, 1))
        if request.ended is not None:
            steps.append((request.ended, -1))
    running = most = 0
    for _, change in sorted(steps):
        running += change
        most = max(most, running)
    return most
