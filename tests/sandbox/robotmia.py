"""robotmia's raw event export."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import math
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from aiohttp import web

from tests.sandbox.robotmia_data import EventData, Export
from tests.sandbox.robotmia_events import event_from
from tests.sandbox.robotmia_volume import big_day, compressed
from tests.sandbox.vendor import Section, Vendor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.robotmia_events import Event
    from tests.sandbox.server import Sandbox

_PARAMETERS = {"from_date", "to_date", "event", "where"}
_FORM = "application/x-www-form-urlencoded"

#: The vendor's texts for the statuses of a fault plan.
_REASONS = {
    400: "Unable to authenticate request",
    401: "Unable to authenticate request",
    402: "Your plan does not include API access",
    403: "Unable to authenticate request",
    429: "too many export requests in progress",
}


class Robotmia(Vendor):
    """robotmia, for one project of a shop.

    Settings, reset to their defaults by a reset:
        api_secret, project_timezone: Of the project.
        utc_times: The project's `time` is true UTC, as in some projects.
        events_per_day, history_days: The number of generated events per day, and of days up to
            today in the project's zone.
        refusal_status: The status for a rejected credential: 401, 400 or 403.
        has_api_access: False returns 402.
        max_concurrent_exports: More concurrent exports get a 429; None: no limit.
        hourly_budget, budget_seconds: Exports per period before a 429; None: no limit.
        send_retry_after: Whether a 429 of the budget has Retry-After.
        extra_keys: Keys of every generated event beside `event` and `properties`, as in rows of the
            same wire format elsewhere; for example `EXTRA_KEYS`. Events given by a test are
            exported unchanged.
        gzip_minimum_bytes: Smaller bodies are not compressed.
        chunked: Bodies are sent in chunks, without their length.
    """

    name = "robotmia"
    prefixes = ("/robotmia/api/2.0",)

    def __init__(self, sandbox: Sandbox) -> None:
        self.data = EventData(self)
        super().__init__(sandbox)

    def reset(self) -> None:
        super().reset()
        self.api_secret = "sandbox-robotmia-secret"
        self.project_timezone = "America/Los_Angeles"
        self.utc_times = False
        self.events_per_day = 300
        self.history_days = 30
        self.refusal_status = 401
        self.has_api_access = True
        self.max_concurrent_exports: int | None = None
        self.hourly_budget: int | None = None
        self.budget_seconds = 3600.0
        self.send_retry_after = False
        self.extra_keys: dict[str, Any] = {}
        self.gzip_minimum_bytes = 0
        self.chunked = True
        self._exports_at: list[float] = []
        self.data.clear()

    @property
    def today(self) -> date:
        """Today in the project's time zone, by the vendor's clock."""
        return self.now.astimezone(ZoneInfo(self.project_timezone)).date()

    def credentials(self) -> dict[str, Any]:
        return {
            "api_url": self.api_url,
            "api_secret": self.api_secret,
            "project_timezone": self.project_timezone,
            "start_date": (self.today - timedelta(days=self.history_days - 1)).isoformat(),
        }

    def routes(self) -> list[web.RouteDef]:
        # Clients of the same wire format omit the slash on the vendor's page.
        paths = [f"{self.prefixes[0]}/export/", f"{self.prefixes[0]}/export"]
        gets = [web.get(path, self._export, allow_head=False) for path in paths]
        return [*gets, *(web.post(path, self._export) for path in paths)]

    def error_body(self, status: int, reason: str) -> Any:  # noqa: ARG002 - each vendor has a form
        return {"error": reason}

    def planned_reason(self, status: int) -> str:
        return _REASONS.get(status, super().planned_reason(status))

    # For tests

    def set_events(self, events: Iterable[Event | dict[str, Any] | str | bytes]) -> None:
        """Set the events and generate none; each as for `add_event`."""
        self.data.set_events(events)

    def add_event(
        self,
        event: Event | dict[str, Any] | str | bytes,
        *,
        time: float | None = None,
        arrives_at: float = 0.0,
    ) -> None:
        """Add one event.

        Args:
            event: `{"event": …, "properties": {"time": raw, …}}`, or a line to send unchanged.
            time: The raw time that determines the line's day and order, if not its own.
            arrives_at: Epoch seconds before which exports do not contain it.
        """
        self.data.add(event_from(event, time=time, arrives_at=arrives_at))

    def set_body(self, day: date | str, body: bytes, *, gzipped: bool = False) -> None:
        """Set the body for a day, which is not filtered; if `gzipped`, it is sent unchanged."""
        self.data.set_body(_day(day), body, gzipped=gzipped)

    def set_big_day(self, day: date | str, lines: int) -> None:
        """Set the number of events of a day, with 26 properties and some 760 bytes per line."""
        chosen = _day(day)
        self.set_body(chosen, compressed(big_day(chosen, lines, self.sandbox.seed)), gzipped=True)

    def events(self, first: date | str, last: date | str | None = None) -> list[Event]:
        """Return the current content of an export of these days, in order."""
        export = Export(_day(first), _day(last or first))
        return [event for day in export.days for event in self.data.day(day)]

    @property
    def exports(self) -> list[RecordedRequest]:
        """The export requests; `parameters` has those of each."""
        return self.requests_to("/export/?$")

    def sections(self) -> list[Section]:
        days = [self.today - timedelta(days=number) for number in range(7)]
        rows = []
        for day in days:
            events = self.data.day(day)
            sample = events[len(events) // 2].line.decode() if events else None
            rows.append((day, len(events), sample))
        note = f"Project time zone {self.project_timezone}; days are the project's."
        return [Section("Events to export", ("day", "events by now", "sample"), rows, note)]

    # Exports

    async def _export(self, request: web.Request) -> web.Response:
        refusal = self._refused(request)
        if refusal is not None:
            return refusal
        if request.method == "POST" and request.content_type != _FORM:
            return self.refuse(400, f"expected a form, {_FORM}")
        if request.method == "POST" and request.query:
            return self.refuse(400, "parameters of a POST must be in its form")
        parameters = request.query if request.method == "GET" else await request.post()
        try:
            export = self._asked(parameters)
            body = await asyncio.to_thread(self.data.body, export)
        except ValueError as error:
            return self.refuse(400, str(error))
        return self._response(body, request)

    def _refused(self, request: web.Request) -> web.Response | None:
        if not self._is_authorized(request):
            return self.refuse(self.refusal_status, _REASONS[401])
        if not self.has_api_access:
            return self.refuse(402, _REASONS[402])
        most = self.max_concurrent_exports
        if most is not None and sum(item.ended is None for item in list(self.exports)) > most:
            return self.refuse(429, _REASONS[429])
        return self._over_budget()

    def _is_authorized(self, request: web.Request) -> bool:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return False
        try:
            # Clients of the same wire format use the URL-safe alphabet
            credential = base64.urlsafe_b64decode(encoded.replace("+", "-").replace("/", "_"))
        except ValueError:
            return False
        # and no colon.
        return credential in {f"{self.api_secret}:".encode(), self.api_secret.encode()}

    def _over_budget(self) -> web.Response | None:
        now = self.now.timestamp()
        self._exports_at = [at for at in self._exports_at if at > now - self.budget_seconds]
        budget = self.hourly_budget
        if budget is None or len(self._exports_at) < budget:
            self._exports_at.append(now)
            return None
        reason = f"{budget + 1}/{budget} queries in the last hour"
        if not self.send_retry_after or not self._exports_at:
            return self.refuse(429, reason)
        wait = self._exports_at[0] + self.budget_seconds - now
        return self.refuse(429, reason, {"Retry-After": str(max(1, math.ceil(wait)))})

    def _asked(self, parameters: Mapping[str, Any]) -> Export:
        unknown = sorted(set(parameters) - _PARAMETERS)
        if unknown:
            raise ValueError(f"unknown parameter: {unknown[0]}")
        days = {}
        for name in ("from_date", "to_date"):
            text = parameters.get(name)
            if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                raise ValueError(f"{name} is missing or not in the format yyyy-mm-dd")
            days[name] = date.fromisoformat(text)
        if days["to_date"] > self.today:
            raise ValueError("to_date cannot be later than today")
        if days["from_date"] > days["to_date"]:
            raise ValueError("from_date cannot be later than to_date")
        names = _names(parameters["event"]) if "event" in parameters else None
        where = str(parameters["where"]) if "where" in parameters else None
        if where is not None and not where.strip():
            raise ValueError("where is empty")
        return Export(days["from_date"], days["to_date"], names, where)

    def _response(self, body: bytes, request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        asked = re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", _accepted(request))
        plain = None
        if body and (not asked or self.gzip_minimum_bytes):
            plain = gzip.decompress(body)
        if plain is not None and (not asked or len(plain) < self.gzip_minimum_bytes):
            body = plain
        elif body:
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=body, headers=headers)
        if self.chunked:
            response.enable_chunked_encoding()
        return response


def _accepted(request: web.Request) -> str:
    return request.headers.get("Accept-Encoding", "")


def _day(day: date | str) -> date:
    return day if isinstance(day, date) else date.fromisoformat(day)


def _names(text: Any) -> tuple[str, ...]:
    reason = "event is expected to be a JSON array of names"
    try:
        names = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValueError(reason) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(reason)
    return tuple(names)
