"""Mona's REST export and its token service."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from tests.sandbox.mona_records import merge, overlaps, read_messages
from tests.sandbox.mona_rules import (
    as_text,
    message_fault,
    read_body,
    request_fault,
    timestamp_of,
)
from tests.sandbox.mona_tokens import TOKEN_PATH, TokenService
from tests.sandbox.recording import RECORD
from tests.sandbox.vendor import Section, Vendor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mona_records import Key
    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.server import Sandbox

_TABLES = (
    """CREATE TABLE IF NOT EXISTS mona_messages (
      number INTEGER PRIMARY KEY AUTOINCREMENT, request INTEGER, arc_class TEXT, context_id TEXT,
      given INTEGER, action TEXT, export_timestamp TEXT, message TEXT)""",
    """CREATE TABLE IF NOT EXISTS mona_refusals (
      request INTEGER, place INTEGER, reason TEXT, message TEXT)""",
)

FailureKeys = Literal[
    "index", "context_id", "both", "index_list", "none", "text", "null", "missing"
]

#: The paths for messages. The vendor's own client has an older and a newer name for each of two
#: paths, and sends no token to those in `_WITHOUT_TOKEN`.
_EXPORT_PATHS = ("/mona/export", "/mona/sendEvent", "/mona/monaExport", "/mona/monaSendEvent")
_WITHOUT_TOKEN = frozenset({"/mona/monaExport", "/mona/monaSendEvent"})


class Mona(Vendor):
    """Mona, for user 1234567890.

    Settings, reset to their defaults by a reset:
        user_id, client_id, client_secret: The credentials of a plugin.
        expires_in: The lifetime of an access token in seconds.
        single_use_refresh: A refresh token works once.
        refuse_if: A function from a message (as sent) to a reason, or None to accept it.
        failure_keys: How rejected messages are named: `index` and `context_id` map each to its
            reason (`context_id` cannot name a message without one), `both` has both kinds of keys,
            `index_list` maps a reason to the indexes, `none` is `{}`, `text` is the first reason as
            plain text, `null` is null, and `missing` omits `failure_reasons`. The vendor's real
            format is not public.
        refusal_body: The response to rejected messages: text is sent unchanged, anything else as
            JSON. None: according to `failure_keys`.
        takes_without_token: `/monaExport` and `/monaSendEvent` need no token. The vendor enables
            this for a user on request; False rejects them.
        max_request_bytes, max_messages: A larger request is a 413; None: no limit.
        success_status, success_body: The response to a request that is accepted completely.
    """

    name = "mona"
    prefixes = ("/mona", "/mona-auth")
    tables = _TABLES

    def __init__(self, sandbox: Sandbox) -> None:
        self.tokens = TokenService(self)
        super().__init__(sandbox)

    def reset(self) -> None:
        super().reset()
        self.user_id = "1234567890"
        self.client_id = "sandbox-client"
        self.client_secret = "sandbox-mona-secret"
        self.expires_in = 14400.0
        self.single_use_refresh = False
        self.refuse_if: Callable[[dict[str, Any]], str | None] | None = None
        self.failure_keys: FailureKeys = "index"
        self.refusal_body: Any = None
        self.takes_without_token = True
        self.max_request_bytes: int | None = None
        self.max_messages: int | None = None
        self.success_status = 200
        self.success_body = ""
        self.tokens.access_tokens.clear()
        self.tokens.refresh_tokens.clear()

    @property
    def auth_base_url(self) -> str:
        """The base URL of the token service."""
        return f"{self.sandbox.url}/mona-auth"

    @property
    def auth_url(self) -> str:
        """The complete URL for tokens, as in the vendor's documentation."""
        return self.auth_base_url + TOKEN_PATH

    def credentials(self) -> dict[str, Any]:
        return {
            "api_url": self.api_url,
            "auth_url": self.auth_url,
            "user_id": self.user_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"/mona-auth{TOKEN_PATH}", self.tokens.log_in),
            web.post(f"/mona-auth{TOKEN_PATH}/token/refresh", self.tokens.refresh),
            *(web.post(path, self._export) for path in _EXPORT_PATHS),
        ]

    def error_body(self, status: int, reason: str) -> Any:  # noqa: ARG002 - each vendor has a form
        return {"topLevelError": reason}

    # For tests

    def messages(self) -> list[dict[str, Any]]:
        """Every accepted message in order of arrival.

        Each has `request` (its number), `arc_class`, `context_id` (generated if none was given),
        `given`, `action`, `export_timestamp` (JSON text or None), `message`.
        """
        return read_messages(self.store)

    def records(self) -> dict[Key, dict[str, Any]]:
        """The merged records by (arc class, context id)."""
        return merge(self.messages())

    def refusals(self) -> list[dict[str, Any]]:
        """The rejected messages: `request`, `place` (index), `reason`, `message` (JSON text)."""
        return self.store.rows("SELECT * FROM mona_refusals ORDER BY request, place")

    @property
    def exports(self) -> list[RecordedRequest]:
        """The export requests; `notes["keys"]` has the keys of each."""
        return [item for item in self.requests_to("/mona/") if item.path in _EXPORT_PATHS]

    def overlaps(self) -> list[tuple[Key, RecordedRequest, RecordedRequest]]:
        """The pairs of concurrent exports that had the same key; should be empty."""
        return overlaps(self.exports)

    def sections(self) -> list[Section]:
        counts = self.store.rows(
            "SELECT arc_class, count(*) AS messages, count(DISTINCT context_id) AS records,"
            " max(message) AS sample FROM mona_messages GROUP BY arc_class ORDER BY arc_class",
        )
        refusals = self.store.rows("SELECT * FROM mona_refusals ORDER BY request DESC LIMIT 10")
        return [
            Section(
                "Received",
                ("arcClass", "messages", "records", "sample"),
                [tuple(row.values()) for row in counts],
            ),
            Section(
                "Rejected messages",
                ("request", "place", "reason", "message"),
                [tuple(row.values()) for row in refusals],
            ),
        ]

    def access_token(self, expires_in: float | None = None) -> str:
        """Return a new access token, like one copied from the dashboard."""
        return self.tokens.issue(expires_in)

    def expire_tokens(self) -> None:
        self.tokens.access_tokens.clear()

    # Exports

    async def _export(self, request: web.Request) -> web.Response:
        try:
            payload = self._checked(request, await request.read())
        except _Refused as refusal:
            return self.refuse(refusal.status, refusal.reason)
        messages = payload["messages"]
        refused = self._take(request[RECORD], messages, payload.get("defaultAction"))
        if refused:
            return self._partial_refusal(messages, refused)
        return web.Response(status=self.success_status, text=self.success_body)

    def _checked(self, request: web.Request, body: bytes) -> dict[str, Any]:
        needs_token = request.path not in _WITHOUT_TOKEN or not self.takes_without_token
        if needs_token and not self.tokens.authorizes(request):
            raise _Refused(401, "The access token is missing, wrong or expired")
        if request.content_type != "application/json":
            raise _Refused(400, "Content-Type is not application/json")
        if self.max_request_bytes is not None and len(body) > self.max_request_bytes:
            raise _Refused(413, "Payload too large")
        try:
            payload = read_body(body)
        except ValueError as error:
            raise _Refused(400, "The payload is not JSON") from error
        reason = request_fault(payload, self.user_id)
        if reason is not None:
            raise _Refused(400, reason)
        messages: list[Any] = payload["messages"]
        request[RECORD].notes.update(keys=_keys(messages), messages=len(messages))
        if self.max_messages is not None and len(messages) > self.max_messages:
            raise _Refused(413, "Too many messages")
        taken: dict[str, Any] = payload
        return taken

    def observe(self, record: RecordedRequest, body: bytes) -> None:
        if record.path not in _EXPORT_PATHS:
            return
        # An unreadable request has no keys; the vendor reports the error when it acts.
        with suppress(KeyError, TypeError, ValueError):
            messages = read_body(body)["messages"]
            record.notes.update(keys=_keys(messages), messages=len(messages))

    def _take(
        self,
        record: RecordedRequest,
        messages: list[Any],
        default_action: str | None,
    ) -> dict[int, str]:
        """Store the valid messages and return the reasons of the others, by index."""
        rows: list[tuple[Any, ...]] = []
        refused: dict[int, str] = {}
        for place, item in enumerate(messages):
            reason = message_fault(item)
            if reason is None and self.refuse_if is not None:
                reason = self.refuse_if(item)
            if reason is not None:
                refused[place] = reason
                continue
            context_id = item.get("contextId")
            stamp = timestamp_of(item)
            rows.append(
                (
                    record.number,
                    item["arcClass"],
                    str(uuid.uuid4()) if context_id is None else context_id,
                    context_id is not None,
                    item.get("action") or default_action or "OVERWRITE",
                    None if stamp is None else as_text(stamp),
                    as_text(item["message"]),
                ),
            )
        self._store(record, messages, rows, refused)
        return refused

    def _store(
        self,
        record: RecordedRequest,
        messages: list[Any],
        rows: list[tuple[Any, ...]],
        refused: dict[int, str],
    ) -> None:
        with self.store.transaction() as connection:
            connection.executemany(
                "INSERT INTO mona_messages (request, arc_class, context_id, given, action,"
                " export_timestamp, message) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.executemany(
                "INSERT INTO mona_refusals VALUES (?, ?, ?, ?)",
                [
                    (record.number, place, reason, as_text(messages[place]))
                    for place, reason in refused.items()
                ],
            )

    def _partial_refusal(self, messages: list[Any], refused: dict[int, str]) -> web.Response:
        if isinstance(self.refusal_body, str):
            return web.Response(status=400, text=self.refusal_body)
        body = self.refusal_body
        return web.json_response(
            self._failures(messages, refused) if body is None else body,
            status=400,
        )

    def _failures(self, messages: list[Any], refused: dict[int, str]) -> dict[str, Any]:
        if self.failure_keys == "missing":
            return {"failed": len(refused)}
        if self.failure_keys in {"text", "null"}:
            text = next(iter(refused.values())) if self.failure_keys == "text" else None
            return {"failed": len(refused), "failure_reasons": text}
        reasons: dict[str, Any] = {}
        for place, reason in refused.items():
            if self.failure_keys in {"index", "both"}:
                reasons[str(place)] = reason
            if self.failure_keys in {"context_id", "both"}:
                item = messages[place]
                if isinstance(item, dict) and item.get("contextId") is not None:
                    reasons[str(item["contextId"])] = reason
            if self.failure_keys == "index_list":
                reasons.setdefault(reason, []).append(place)
        return {"failed": len(refused), "failure_reasons": reasons}


class _Refused(Exception):
    """The whole request is rejected."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def _keys(messages: list[Any]) -> set[Key]:
    return {
        (str(item.get("arcClass")), str(item["contextId"]))
        for item in messages
        if isinstance(item, dict) and item.get("contextId") is not None
    }
