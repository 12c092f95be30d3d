"""The Mona REST export endpoint: who may send, and how messages are sent.

The facts come from the vendor's page "Export data directly via REST endpoint" and from
its Python client.
"""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from singer_martech.errors import SettingError
from singer_martech.http.auth import HeaderAuth, NoAuth, Token, TokenAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.content import json_body
from singer_martech.http.errors import (
    Forbidden,
    InvalidResponse,
    RequestRejected,
    RetriesExhausted,
    Unauthorized,
)
from target_mona.partial_failures import is_partial, rejected_indexes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from requests.auth import AuthBase

    from singer_martech.http.client import HttpSettings
    from singer_martech.http.request import RequestStats
    from singer_martech.http.response import Response
    from singer_martech.runtime.shutdown import ShutdownSignal

API_URL = "https://incoming{user_id}.monalabs.io"
AUTH_URL = "https://monalabs.frontegg.com/identity/resources/auth/v1/api-token"
_PART_OF_HOST = re.compile(r"[\w-]+", re.ASCII)
_AUTH_PATH = urlsplit(AUTH_URL).path


class PartialFailure(RequestRejected):
    """Mona took some of the messages and refused others.

    Attributes:
        reasons: The reasons by place in the request, or None when the answer does not
            let them be told apart.
    """

    def __init__(self, message: str, response: Response, reasons: dict[int, str] | None) -> None:
        """Keep what could be told from the answer."""
        super().__init__(message, response)
        self.reasons = reasons


class MonaClient:
    """Sends messages to Mona.

    Args:
        user_id: The user id; taken from the access token when left out.
        client_id: Gets access tokens, together with ``client_secret``.
        client_secret: See ``client_id``.
        access_token: A token that was fetched elsewhere, instead of the two.
        api_url: The designated URL from the dashboard, with or without ``/export``.
        auth_url: Where tokens are fetched.
        settings: Timeouts and patience.
        shutdown: Ends waits when the run is asked to end.
        pool_size: How many requests may be in flight at once.
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        *,
        user_id: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        access_token: str | None = None,
        api_url: str = API_URL,
        auth_url: str = AUTH_URL,
        settings: HttpSettings | None = None,
        shutdown: ShutdownSignal | None = None,
        pool_size: int = 10,
    ) -> None:
        """Send nothing yet."""
        self._user_id = user_id
        self._credentials = {"clientId": client_id, "secret": client_secret}
        self._access_token = access_token
        self._api_url = api_url.rstrip("/").removesuffix("/export")
        self._auth_url = _token_url(auth_url)
        self._auth: AuthBase
        if access_token:
            self._auth = HeaderAuth(f"Bearer {access_token}")
        else:
            self._auth = self._token_auth = TokenAuth(self._fetch_token)
        self._http = HttpClient(settings, auth=self._auth, shutdown=shutdown, pool_size=pool_size)

    @cached_property
    def user_id(self) -> str:
        """The user id, as given or as the access token says.

        Raises:
            SettingError: The token does not say it.
        """
        if self._user_id:
            return self._user_id
        token = self._access_token or self._token_auth.token().value
        tenant = _claims(token).get("tenantId")
        if not tenant:
            raise SettingError(
                "setting 'user_id' is required, because the access token does not carry it"
            )
        return str(tenant)

    @cached_property
    def url(self) -> str:
        """Where messages are sent."""
        if "{user_id}" in self._api_url and not _PART_OF_HOST.fullmatch(self.user_id):
            raise SettingError(
                "setting 'user_id' may hold letters, digits, '-' and '_' only: it becomes a part "
                "of the host's name"
            )
        return f"{self._api_url.replace('{user_id}', self.user_id)}/export"

    @cached_property
    def envelope(self) -> tuple[bytes, bytes]:
        """What stands before and after the messages in a request's body."""
        return b'{"userId":%s,"messages":[' % msgspec.json.encode(self.user_id), b"]}"

    def body(self, messages: Sequence[bytes]) -> bytes:
        """Return the body of a request."""
        before, after = self.envelope
        return b"".join((before, b",".join(messages), after))

    def export(
        self,
        messages: Sequence[bytes],
        *,
        idempotent: bool = True,
        stats: RequestStats | None = None,
    ) -> None:
        """Send messages in one request.

        Args:
            messages: Each a JSON object with ``arcClass``, ``message`` and, as wanted,
                ``contextId``, ``exportTimestamp`` and ``action``.
            idempotent: False where Mona would count a message twice: without a contextId,
                or with the action ADD.
            stats: Counts what is sent.

        Raises:
            PartialFailure: Some were taken.
            RequestRejected: None was taken.
            OutcomeUnknown: Nobody knows, and they must not be sent twice.
        """
        try:
            response = self._http.request(
                "POST",
                self.url,
                label="Mona export",
                data=self.body(messages),
                headers={"Content-Type": "application/json"},
                idempotent=idempotent,
                # the vendor documents no status for a refusal of some messages
                is_final=lambda response: is_partial(_content(response)),
                stats=stats,
            )
        except RequestRejected as rejection:
            raise self._explained(rejection, messages) from rejection
        content = _content(response)
        if is_partial(content):
            message = f"Mona export: refused in part with status {response.status}: {response.head}"
            raise PartialFailure(message, response, rejected_indexes(content, messages))
        if isinstance(content, dict) and content.get("topLevelError"):
            message = f"Mona export: refused with status {response.status}: {response.head}"
            raise RequestRejected(message, response)

    def _explained(self, rejection: RequestRejected, messages: Sequence[bytes]) -> RequestRejected:
        response = rejection.response
        if response is None:
            return rejection.with_message(str(rejection))
        if isinstance(rejection, (Unauthorized, Forbidden)):
            names = "'access_token'" if self._access_token else "'client_id' and 'client_secret'"
            return rejection.with_message(
                f"{rejection}; check {names}, and that 'user_id' is yours"
            )
        content = _content(response)
        if is_partial(content):
            return PartialFailure(str(rejection), response, rejected_indexes(content, messages))
        return rejection.with_message(str(rejection))

    def _fetch_token(self, old: Token | None) -> Token:
        if old is not None and old.refresh_value:
            try:
                return self._token(
                    f"{self._auth_url}/token/refresh", {"refreshToken": old.refresh_value}
                )
            except (RequestRejected, RetriesExhausted, InvalidResponse):
                pass  # such as when the refresh token has ended too: log in afresh
        try:
            return self._token(self._auth_url, self._credentials)
        except RequestRejected as rejection:
            raise rejection.with_message(
                f"{rejection}; check 'client_id' and 'client_secret'"
            ) from rejection

    def _token(self, url: str, body: dict[str, Any]) -> Token:
        response = self._http.request("POST", url, label="Mona login", json=body, auth=NoAuth())
        content = json_body(response)
        value = content.get("accessToken") if isinstance(content, dict) else None
        if not isinstance(value, str) or not value:
            raise RequestRejected(
                f"Mona login: the answer holds no accessToken: {response.head}", response
            )
        now = time.time()
        lifetime = content.get("expiresIn")
        expiry = now + lifetime if isinstance(lifetime, (int, float)) else _claims(value).get("exp")
        expires_at = expiry if isinstance(expiry, (int, float)) else None
        refresh = content.get("refreshToken")
        return Token(value, expires_at, now, refresh if isinstance(refresh, str) else None)


def _token_url(url: str) -> str:
    """Accept the vendor's host alone as well as the whole address."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else url + _AUTH_PATH


def _content(response: Response) -> Any:
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _claims(token: str) -> dict[str, Any]:
    """Read a token's claims; whether it is genuine is for Mona to judge."""
    import jwt  # noqa: PLC0415 - with cryptography, it would double the time of --version

    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
