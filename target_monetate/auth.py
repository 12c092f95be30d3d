"""Getting access tokens by assertions that the customer's private key signs.

The facts come from the vendor's pages on the Auth API.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase

from singer_martech._compat import override
from singer_martech.http.auth import Token
from singer_martech.http.errors import InvalidResponse, RequestRejected
from singer_martech.runtime.redaction import register_secret
from singer_martech.values.timestamps import parse_timestamp
from target_monetate.envelope import data_of, explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from requests import PreparedRequest

    from singer_martech.http.client import HttpClient

ALGORITHMS = ("RS256", "RS384", "RS512")
SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS = 900, 43_200

_LABEL = "Monetate login"


class Assertion(AuthBase):
    """Signs an assertion for each request, right before it is sent: it ages in seconds.

    Args:
        username: The API user, ``api-…``.
        private_key: The key whose public half is registered for that user.
        algorithm: One of ``ALGORITHMS``.
    """

    def __init__(self, username: str, private_key: RSAPrivateKey, algorithm: str) -> None:
        """Sign nothing yet."""
        self._username = username
        self._private_key = private_key
        self._algorithm = algorithm

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        import jwt  # noqa: PLC0415 - brings cryptography, which takes its time to load

        claims = {"username": self._username, "iat": int(time.time())}
        assertion = jwt.encode(claims, self._private_key, algorithm=self._algorithm)
        register_secret(assertion)
        request.headers["Authorization"] = f"JWT {assertion}"
        return request


class Login:
    """Exchanges assertions for access tokens.

    Args:
        http: Sends the requests.
        api_url: Where the API is.
        assertion: Proves who asks.
        ttl_seconds: How long a token is to live.
    """

    def __init__(
        self, http: HttpClient, api_url: str, assertion: Assertion, ttl_seconds: float
    ) -> None:
        """Ask for nothing yet."""
        self._http = http
        self._url = f"{api_url}/api/auth/v0/refresh/"
        self._assertion = assertion
        self._ttl = int(ttl_seconds)

    def token(self) -> Token:
        """Return a new token.

        Raises:
            RequestRejected: The user or the key is not known, or no longer active.
        """
        params = {"ttl": self._ttl}
        try:
            response = self._http.request(
                "GET", self._url, label=_LABEL, params=params, auth=self._assertion
            )
        except RequestRejected as rejection:
            raise explained(rejection, _LABEL) from rejection
        content = data_of(response)
        value = content.get("token") if isinstance(content, dict) else None
        if not isinstance(value, str) or not value:
            raise InvalidResponse(f"{_LABEL}: the answer holds no token", response)
        now = time.time()
        return Token(value, now + _lifetime(content, now, self._ttl), now)


def _lifetime(content: Mapping[str, Any], now: float, ttl: float) -> float:
    """Return how many seconds a token lives, whichever of its fields says the least."""
    issued, expires = _epoch(content.get("issued_at")), _epoch(content.get("expires_at"))
    stated = content.get("expires_in")
    lifetimes = [ttl]
    if isinstance(stated, (int, float)):
        lifetimes.append(stated)
    if expires is not None:
        # between the vendor's own two times, since this machine's clock may be off
        lifetimes.append(expires - (now if issued is None else issued))
    return min(lifetimes)


def _epoch(value: Any) -> float | None:
    try:
        return None if value is None else parse_timestamp(value).timestamp()
    except (ValueError, OverflowError):
        return None
