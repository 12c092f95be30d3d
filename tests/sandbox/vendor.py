"""What the four vendors of the sandbox have in common."""

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

#: Not `str.isdigit`, which takes superscripts; a longer one is no number that anybody means.
_DIGITS = re.compile(r"[0-9]{1,18}")


def whole_number(text: str) -> int | None:
    """Return the number that a parameter or a path writes in plain digits, or None."""
    return int(text) if _DIGITS.fullmatch(text) else None


@dataclass
class Section:
    """A table on the sandbox's page: a title, column names, rows of anything that has a text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


class Vendor:
    """The base of each vendor of the sandbox.

    A vendor names its address prefixes and tables, gives its routes, and takes its settings
    (attributes that a test may change) back to their defaults in `reset()`. Its handlers are
    coroutine methods `(self, request) -> web.Response`, with whole bodies (`bytes` or text), so
    that a fault can cut them. Faults, recording, 404 and 405 are the server's work.
    """

    #: The vendor's name in the fault plan, the records and as attribute of the sandbox.
    name: ClassVar[str]
    #: The paths under which it answers, without a slash at the end; the first holds its API.
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
        """What the plugin's setting `api_url` is to be."""
        return self.sandbox.url + self.prefixes[0]

    @property
    def now(self) -> datetime:
        """The vendor's clock, in UTC: the real one until a moment is set; None sets it back."""
        return self._now or datetime.now(timezone.utc)

    @now.setter
    def now(self, moment: datetime | None) -> None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("The clock needs a moment with a time zone")
        self._now = moment and moment.astimezone(timezone.utc)

    @property
    def max_concurrent(self) -> int:
        """The largest number of requests that were under way at one moment."""
        return max_concurrent(self.requests)

    def requests_to(self, path: str, method: str | None = None) -> list[RecordedRequest]:
        """Return the requests whose path matches the regular expression, oldest first."""
        return [
            request
            for request in list(self.requests)
            if re.search(path, request.path) and method in {None, request.method}
        ]

    def routes(self) -> list[web.RouteDef]:
        """Return the vendor's routes, with whole paths (`/mona/export`)."""
        raise NotImplementedError

    def credentials(self) -> dict[str, Any]:
        """Return the settings with which the plugin reaches this vendor."""
        return {"api_url": self.api_url}

    def sections(self) -> list[Section]:
        """Return what the page shows of this vendor beside its requests."""
        return []

    def error_body(self, status: int, reason: str) -> Any:
        """Return the JSON body (or text) with which this vendor refuses a request."""
        return {"error": reason, "status": status}

    def planned_reason(self, status: int) -> str:  # noqa: ARG002 - vendors may tell them apart
        """Return what the vendor says when the fault plan has it answer with a status."""
        return "planned fault"

    def refuse(
        self,
        status: int,
        reason: str,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        """Return a refusal in the vendor's own form."""
        body = self.error_body(status, reason)
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def observe(self, record: RecordedRequest, body: bytes) -> None:
        """Note what matters of a request that a fault answers in the vendor's place."""

    def expire_tokens(self) -> None:
        """Make every token handed out so far invalid."""

    def reset(self) -> None:
        """Take every setting back to its default and forget what is not in the store."""
        self.requests = []
        self._now = None
