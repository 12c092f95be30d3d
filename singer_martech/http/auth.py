"""Access tokens that several threads share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from requests.auth import AuthBase

from singer_martech._compat import override
from singer_martech.http.errors import LoginRejected, RequestRejected
from singer_martech.runtime.redaction import register_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

_MAX_MARGIN_SECONDS = 60.0


class NoAuth(AuthBase):
    """Sends no credentials, not even those that a .netrc file holds for the host."""

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request


class HeaderAuth(AuthBase):
    """Sends one fixed ``Authorization`` header, which never shows in a log.

    Args:
        value: The whole value of the header.
    """

    def __init__(self, value: str) -> None:
        """Keep the header's value."""
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
        expires_at: Seconds since 1970, or None where the vendor did not say.
        fetched_at: Seconds since 1970.
        refresh_value: What renews it, where the vendor has such a thing.
    """

    value: str
    expires_at: float | None
    fetched_at: float
    refresh_value: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether it can still be used: some margin before it expires, it cannot."""
        if self.expires_at is None:
            return True
        lifetime = self.expires_at - self.fetched_at
        margin = min(_MAX_MARGIN_SECONDS, lifetime / 10)
        return time.time() < self.expires_at - margin


class TokenAuth(AuthBase):
    """Sends a token that is fetched once, shared, and renewed before it expires.

    Args:
        fetch: Gets a new token; it is given the one to be replaced, or None.
        scheme: What stands before the token in the ``Authorization`` header.
    """

    def __init__(self, fetch: Callable[[Token | None], Token], scheme: str = "Bearer") -> None:
        """Begin without a token: the first request fetches it."""
        self._fetch = fetch
        self._scheme = scheme
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._after_error_status: str | None = None

    def token(self) -> Token:
        """Return a token that can be used now, fetching one where needed."""
        with self._lock:
            token = self._token
            if token is None or not token.is_fresh or token.value == self._after_error_status:
                token = self._new(token)
                register_secret(token.value)
                if token.refresh_value:
                    register_secret(token.refresh_value)
                self._token = token
            return token

    def _new(self, old: Token | None) -> Token:
        try:
            return self._fetch(old)
        except RequestRejected as rejection:
            # or it would pass for a refusal of the request that wanted the token
            raise LoginRejected(str(rejection), rejection.response) from rejection

    def refuse(self, header: str | None) -> None:
        """Note that the vendor refused the token in this ``Authorization`` header."""
        if header:
            with self._lock:
                self._after_error_status = header.rpartition(" ")[2]

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"{self._scheme} {self.token().value}"
        return request
