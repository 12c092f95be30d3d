"""Get access tokens with assertions signed by the customer's private key.

Source: the vendor's pages on the Auth API.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase

from singer_martech._compat import override
from singer_martech.http.auth import Token, validate_token
from singer_martech.http.errors import NotFound, RequestRejected, UnexpectedContent
from singer_martech.runtime.redaction import register_secret
from singer_martech.values.timestamps import parse_timestamp
from target_monetate import envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from requests import PreparedRequest

    from singer_martech.http.client import HttpClient
    from singer_martech.http.response import Response

ALGORITHMS = ("RS256", "RS384", "RS512")
MIN_TTL_SECONDS, MAX_TTL_SECONDS = 900, 43_200

_LABEL = "Monetate login"


class Assertion(AuthBase):
    """Signs an assertion for each request, right before it is sent: it expires in a minute."""

    def __init__(self, username: str, private_key: RSAPrivateKey, algorithm: str) -> None:
        # Loads cryptography, which is slow, and not in the thread of a request: an import may loop
        # forever without memory (CPython issue 132508).
        import jwt  # noqa: PLC0415

        self._encode = jwt.encode
        self._username = username
        self._private_key = private_key
        self._algorithm = algorithm

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        claims = {"username": self._username, "iat": int(time.time())}
        assertion = self._encode(claims, self._private_key, algorithm=self._algorithm)
        register_secret(assertion)
        request.headers["Authorization"] = f"JWT {assertion}"
        return request


class Login:
    """Exchanges assertions for access tokens.

    Args:
        http: Sends the requests.
        api_url: Base URL of the APIs.
        assertion: Authenticates the requests.
        ttl_seconds: Requested lifetime of a token.
    """

    def __init__(
        self, http: HttpClient, api_url: str, assertion: Assertion, ttl_seconds: float
    ) -> None:
        self._http = http
        self._url = f"{api_url}/api/auth/v0/refresh/"
        self._assertion = assertion
        self._ttl = int(ttl_seconds)

    def token(self) -> Token:
        """Return a new token.

        Raises:
            RequestRejected: The user or the key is unknown or inactive.
        """
        try:
            response = self._http.request(
                "GET",
                self._url,
                label=_LABEL,
                params={"ttl": self._ttl},
                auth=self._assertion,
                validate=_validate,
            )
        except NotFound as rejection:
            raise rejection.with_message(f"{rejection}; check setting 'api_url'") from rejection
        except RequestRejected as rejection:
            raise envelope.explained(rejection, _LABEL) from rejection
        data = envelope.data_of(response)
        now = time.time()
        return Token(data["token"], now + _lifetime(data, now, self._ttl), now)


def _validate(response: Response) -> None:
    envelope.validate(response)
    data = envelope.data_of(response)
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str) or not token:
        raise UnexpectedContent("the response holds no token")
    validate_token(token, data.get("expires_in"))


def _lifetime(content: Mapping[str, Any], now: float, ttl: float) -> float:
    """Return the shortest lifetime, in seconds, that a field of the token states."""
    issued, expires = _epoch(content.get("issued_at")), _epoch(content.get("expires_at"))
    stated = content.get("expires_in")
    lifetimes = [ttl]
    if isinstance(stated, (int, float)):
        lifetimes.append(stated)
    if expires is not None:
        # the vendor's two times, because this machine's clock may be wrong
        lifetimes.append(expires - (now if issued is None else issued))
    return min(lifetimes)


def _epoch(value: Any) -> float | None:
    try:
        return None if value is None else parse_timestamp(value).timestamp()
    except (ValueError, OverflowError):
        return None
