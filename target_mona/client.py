"""Client of Mona's REST export.

Sources: the vendor's page "Export data directly via REST endpoint", and its Python client.
"""

from __future__ import annotations

import contextlib
import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from singer_martech.errors import SettingError
from singer_martech.http.auth import HeaderAuth, NoAuth, Token, TokenAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.content import accept_any, json_or_none
from singer_martech.http.errors import (
    Forbidden,
    InvalidResponse,
    NotFound,
    OutcomeUnknown,
    RequestRejected,
    RetriesExhausted,
    Unauthorized,
)
from singer_martech.http.interpretation import Interpreting
from target_mona.access_token import claims_of, expiry_of, user_id_of
from target_mona.partial_failures import is_partial, rejected_indexes
from target_mona.responses import (
    PartialFailure,
    content_of,
    is_unreadable,
    raise_if_partial,
    validate_export,
    validate_login,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from requests.auth import AuthBase

    from singer_martech.http.response import Response
    from singer_martech.http.settings import HttpSettings
    from singer_martech.http.stats import RequestStats
    from singer_martech.runtime.shutdown import ShutdownSignal

API_URL = "https://incoming{user_id}.monalabs.io"
AUTH_URL = "https://monalabs.frontegg.com/identity/resources/auth/v1/api-token"
_HOST_LABEL = re.compile(r"[\w-]+", re.ASCII)
_AUTH_PATH = urlsplit(AUTH_URL).path
_MAX_LIFETIME_SECONDS = 365 * 86400
_ABOUT_USER_ID = re.compile(r"user[ _-]?id", re.IGNORECASE)


class MonaClient:
    """Sends messages to Mona.

    Args:
        user_id: The user id; by default the one in the access token.
        client_id: Gets access tokens, together with ``client_secret``.
        client_secret: See ``client_id``.
        access_token: A token to use instead of the two.
        api_url: The designated URL from the dashboard, with or without ``/export``.
        auth_url: URL of the token service.
        settings: Timeouts and retry limits.
        shutdown: Ends waits when the run is asked to end.
        pool_size: Maximum number of requests in flight.
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
        self._http = HttpClient(
            settings,
            auth=self._auth,
            shutdown=shutdown,
            pool_size=pool_size,
            validate=validate_export,
        )

    def check_login(self) -> None:
        """Get an access token, or check that the given one has not expired.

        Raises:
            SettingError: The given token has expired.
            HttpError: The login failed.
        """
        expiry = expiry_of(self._token_claims())
        if expiry is not None and expiry < time.time():
            raise SettingError("setting 'access_token' has expired; get another")

    def check_user_id(self) -> None:
        """Check that the user id is known, and that it is the one in the access token.

        Raises:
            SettingError: It is not.
        """
        tenant = user_id_of(self._token_claims())
        if tenant and tenant != self.user_id:
            raise SettingError(
                f"setting 'user_id' is '{self.user_id}', but the access token is of user '{tenant}'"
            )

    def check_connection(self) -> None:
        """Check that a server responds at ``api_url``; nothing is sent to the export.

        Mona's response there is not documented, so every status is accepted.

        Raises:
            HttpError: There is no connection, or the response is an HTML page.
        """
        with contextlib.suppress(RequestRejected):
            self._http.request(
                "GET",
                self.url.removesuffix("export"),
                label="Mona",
                auth=NoAuth(),
                is_final=lambda _: True,
                validate=accept_any,
            )

    @cached_property
    def user_id(self) -> str:
        """The user id, as given or from the access token.

        Raises:
            SettingError: The token does not contain it.
        """
        if self._user_id:
            return self._user_id
        tenant = user_id_of(self._token_claims())
        if not tenant:
            raise SettingError(
                "setting 'user_id' is required, because the access token does not contain it"
            )
        return tenant

    @cached_property
    def url(self) -> str:
        """The URL that messages are sent to."""
        if "{user_id}" in self._api_url and not _HOST_LABEL.fullmatch(self.user_id):
            raise SettingError(
                "setting 'user_id' may hold letters, digits, '-' and '_' only, because it becomes "
                "part of the host name"
            )
        return f"{self._api_url.replace('{user_id}', self.user_id)}/export"

    @cached_property
    def envelope(self) -> tuple[bytes, bytes]:
        """The start and the end of a request body; the messages are between them."""
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
            messages: JSON objects with ``arcClass``, ``message`` and optionally ``contextId``,
                ``exportTimestamp`` and ``action``.
            idempotent: False if Mona would count a message twice: without a contextId, or with
                the action ADD.
            stats: Counts what is sent.

        Raises:
            PartialFailure: Some messages were accepted.
            RequestRejected: No message was accepted.
            OutcomeUnknown: They may have been accepted and must not be sent twice.
        """
        try:
            response = self._http.request(
                "POST",
                self.url,
                label="Mona export",
                data=self.body(messages),
                headers={"Content-Type": "application/json"},
                idempotent=idempotent,
                # the status of a partial rejection is not documented
                is_final=lambda response: is_partial(content_of(response)),
                stats=stats,
            )
        except RequestRejected as rejection:
            raise self._explained(rejection, messages, idempotent=idempotent) from rejection
        with Interpreting(response, idempotent=idempotent):
            raise_if_partial(response, messages)

    def _explained(
        self, rejection: RequestRejected, messages: Sequence[bytes], *, idempotent: bool
    ) -> RequestRejected:
        response = rejection.response
        if response is None:
            return rejection.with_message(str(rejection))
        if is_unreadable(response) and not idempotent:
            message = f"{rejection}; it is not JSON; whether messages were accepted is unknown"
            raise OutcomeUnknown(message, response) from rejection
        with Interpreting(response, idempotent=idempotent):
            return self._explained_by(response, rejection, messages)

    def _explained_by(
        self, response: Response, rejection: RequestRejected, messages: Sequence[bytes]
    ) -> RequestRejected:
        if isinstance(rejection, (Unauthorized, Forbidden)):
            names = (
                "setting 'access_token'"
                if self._access_token
                else "settings 'client_id' and 'client_secret'"
            )
            return rejection.with_message(
                f"{rejection}; check {names}, and that 'user_id' is yours"
            )
        if isinstance(rejection, NotFound):
            return rejection.with_message(f"{rejection}; check settings 'api_url' and 'user_id'")
        content = content_of(response)
        if is_partial(content):
            return PartialFailure(str(rejection), response, rejected_indexes(content, messages))
        if isinstance(content, dict) and _ABOUT_USER_ID.search(str(content.get("topLevelError"))):
            # it concerns the run, not a record, so it must not be a BodyRejected
            return RequestRejected(f"{rejection}; check setting 'user_id'", response)
        return rejection.with_message(str(rejection))

    def _token_claims(self) -> dict[str, Any]:
        return claims_of(self._access_token or self._token_auth.token().value)

    def _fetch_token(self, old: Token | None) -> Token:
        if old is not None and old.refresh_value:
            try:
                return self._token(
                    f"{self._auth_url}/token/refresh", {"refreshToken": old.refresh_value}
                )
            except (RequestRejected, RetriesExhausted, InvalidResponse):
                pass  # for instance because the refresh token has expired: log in
        try:
            return self._token(self._auth_url, self._credentials)
        except NotFound as rejection:
            raise rejection.with_message(f"{rejection}; check setting 'auth_url'") from rejection
        except RequestRejected as rejection:
            raise rejection.with_message(
                f"{rejection}; check settings 'client_id' and 'client_secret'"
            ) from rejection

    def _token(self, url: str, body: dict[str, Any]) -> Token:
        response = self._http.request(
            "POST",
            url,
            label="Mona login",
            json=body,
            auth=NoAuth(),
            validate=validate_login,
            url_setting="auth_url",
        )
        content = json_or_none(response)
        value = content["accessToken"]
        now = time.time()
        lifetime = content.get("expiresIn")
        expires_at: float | None
        if isinstance(lifetime, (int, float)):
            expires_at = now + min(lifetime, _MAX_LIFETIME_SECONDS)
        else:
            expires_at = expiry_of(claims_of(value))
        refresh = content.get("refreshToken")
        return Token(value, expires_at, now, refresh if isinstance(refresh, str) else None)


def _token_url(url: str) -> str:
    """Return the URL of the token service, given with or without its path."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else url + _AUTH_PATH
