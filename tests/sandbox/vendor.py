"""The base of the four vendors of the sandbox."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from tests.sandbox.recording import max_concurrent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.server import Sandbox

#: Not `str.isdigit`, which accepts superscripts; longer numbers are not realistic.
_DIGITS = re.compile(r"[0-9]{1,18}")


def whole_number(text: str) -> int | None:
    """Return the number written in plain digits in a parameter or path, or None."""
    return int(text) if _DIGITS.fullmatch(text) else None


@dataclass
class Section:
    """A table on the sandbox's page: title, column names, and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


class Vendor:
    """The base of each vendor of the sandbox.

    A vendor has path prefixes and tables, returns its routes, and resets its settings
    (attributes that a test may change) in `reset()`. Its handlers are coroutine methods
    `(self, request) -> web.Response` with complete bodies (`bytes` or text), so that a fault can
    cut them. The server handles faults, recording, 404 and 405.
    """

    #: The vendor's name in the fault plan and the records, and the attribute of the sandbox.
    name: ClassVar[str]
    #: The path prefixes, without a trailing slash; the first is that of its API.
    prefixes: ClassVar[tuple[str, ...]]
    #: `CREATE TABLE IF NOT EXISTS` statements; every table's name starts with the vendor's.
    tables: ClassVar[tuple[str, ...]] = ()

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.store = sandbox.store
        self.requests: list[RecordedRequest] = []
        self._now: datetime | None = None
        self.store.create(self.tables)
        self.reset()

    @property
    def api_url(self) -> str:
        """The value for the plugin's setting `api_url`."""
        return self.sandbox.url + self.prefixes[0]

    @property
    def now(self) -> datetime:
        """The vendor's clock in UTC: the real one unless a time is set; None resets it."""
        return self._now or datetime.now(timezone.utc)

    @now.setter
    def now(self, moment: datetime | None) -> None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("The clock needs a time with a time zone")
        self._now = moment and moment.astimezone(timezone.utc)

    @property
    def max_concurrent(self) -> int:
        """The maximum number of concurrent requests."""
        return max_concurrent(self.requests)

    def requests_to(self, path: str, method: str | None = None) -> list[RecordedRequest]:
        """Return the requests whose path matches the regular expression, oldest first."""
        return [
            request
            for request in list(self.requests)
            if re.search(path, request.path) and method in {None, request.method}
        ]

    def routes(self) -> list[web.RouteDef]:
        """Return the vendor's routes, with complete paths (`/mona/export`)."""
        raise NotImplementedError

    def credentials(self) -> dict[str, Any]:
        """Return the settings for the plugin of this vendor."""
        return {"api_url": self.api_url}

    def sections(self) -> list[Section]:
        """Return this vendor's tables for the page, beside its requests."""
        return []

    def error_body(self, status: int, reason: str) -> Any:
        """Return the JSON body (or text) of this vendor's error response."""
        return {"error": reason, "status": status}

    def planned_reason(self, status: int) -> str:  # noqa: ARG002 - vendors may distinguish them
        """Return the vendor's text for an error status of the fault plan."""
        return "planned fault"

    def refuse(
        self,
        status: int,
        reason: str,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        """Return an error response in the vendor's format."""
        body = self.error_body(status, reason)
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def observe(self, record: RecordedRequest, body: bytes) -> None:
        """Record the relevant content of a request whose response is replaced by a fault."""

    def expire_tokens(self) -> None:
        """Make every token issued so far invalid."""

    def reset(self) -> None:
        """Reset every setting and remove what is not in the store."""
        self.requests = []
        self._now = None
