"""Credentials of requests, and access tokens that threads share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from singer_martech._compat import override
from singer_martech.http.errors import LoginRejected, RequestRejected, UnexpectedContent
from singer_martech.runtime.redaction import register_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

_MAX_MARGIN_SECONDS = 60.0
_MAX_LIFETIME_SECONDS = 10**9


class NoAuth(AuthBase):
    """Sends no credentials, not even those of a .netrc file."""

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request


class HeaderAuth(AuthBase):
    """Sends a fixed ``Authorization`` header, which is redacted in logs."""

    def __init__(self, value: str) -> None:
        register_secret(value)
        self._value = value

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


@dataclass(frozen=True)
class Token:
    """An access token.

    Attributes:
        value: What is sent.
        expires_at: Unix time in seconds, or None if the vendor does not say.
        fetched_at: Unix time in seconds.
        refresh_value: The refresh token, if the vendor issues one.
    """

    value: str
    expires_at: float | None
    fetched_at: float
    refresh_value: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the token can be used; False shortly before it expires."""
        if self.expires_at is None:
            return True
        lifetime = self.expires_at - self.fetched_at
        margin = min(_MAX_MARGIN_SECONDS, lifetime / 10)
        return time.time() < self.expires_at - margin


def validate_token(value: str, lifetime: object) -> None:
    """Check that the access token in a response to a login can be used.

    Args:
        value: The token.
        lifetime: Its lifetime in seconds as received, if it is a number.

    Raises:
        UnexpectedContent: It cannot; the message does not show it.
    """
    if not (value.isascii() and value.isprintable()):
        raise UnexpectedContent("the access token has characters that headers cannot contain")
    if isinstance(lifetime, (int, float)) and not lifetime > -_MAX_LIFETIME_SECONDS:
        raise UnexpectedContent("the lifetime of the access token is out of range")


class TokenAuth(AuthBase):
    """Sends an access token, which is fetched once, shared, and renewed before it expires.

    Args:
        fetch: Fetches a token. It gets the token to be replaced, which may hold a refresh
            token, or None for a login: at first, and when a token was rejected at once.
        scheme: Precedes the token in the ``Authorization`` header.
    """

    def __init__(self, fetch: Callable[[Token | None], Token], scheme: str = "Bearer") -> None:
        """Fetch no token yet: the first request does."""
        self._fetch = fetch
        self._scheme = scheme
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._is_accepted = False
        self._is_rejected = False
        self._is_from_login = False

    def token(self) -> Token:
        """Return a token that can be used now, fetching one where needed."""
        with self._lock:
            token = self._token
            if token is None or self._is_rejected or not token.is_fresh:
                token = self._renewed()
            return token

    def _renewed(self) -> Token:
        is_login_needed = self._is_rejected and not self._is_accepted
        old = None if is_login_needed else self._token
        try:
            token = self._fetch(old)
        except RequestRejected as rejection:
            # Otherwise it would look like a rejection of the caller's request.
            raise LoginRejected(str(rejection), rejection.response) from rejection
        register_secret(token.value)
        if token.refresh_value:
            register_secret(token.refresh_value)
        self._token = token
        self._is_from_login = old is None or old.refresh_value is None
        self._is_accepted = self._is_rejected = False
        return token

    def accept(self, header: str | None) -> None:
        """Record that the vendor accepted the token in this ``Authorization`` header."""
        with self._lock:
            if self._is_current(header):
                self._is_accepted = True

    def reject(self, header: str | None) -> bool:
        """Record that the vendor rejected the token in this ``Authorization`` header.

        Returns:
            Whether the token was fresh from login: the current one, and never accepted.
        """
        with self._lock:
            if not self._is_current(header):
                return False
            self._is_rejected = True
            return self._is_from_login and not self._is_accepted

    def _is_current(self, header: str | None) -> bool:
        value = (header or "").rpartition(" ")[2]
        return self._token is not None and self._token.value == value

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"{self._scheme} {self.token().value}"
        return request
