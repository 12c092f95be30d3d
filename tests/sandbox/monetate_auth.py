"""Monetate's Auth API: tokens for signed assertions."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.recording import RECORD
from tests.sandbox.vendor import whole_number

if TYPE_CHECKING:
    from aiohttp import web
    from jwt.types import Options

    from tests.sandbox.monetate import Monetate

_ALGORITHMS = ["RS256", "RS384", "RS512"]
#: The age is checked separately, by the vendor's rule and clock.
_SIGNATURE_ONLY: Options = {"verify_iat": False, "verify_exp": False, "verify_nbf": False}
_ASSERTION_SKEW_SECONDS = 60
_SHORTEST_TTL, _LONGEST_TTL, _DEFAULT_TTL = 900, 43200, 3600


@dataclass
class _Token:
    key: str
    expires_at: float


@functools.cache
def key_pair() -> tuple[str, str]:
    """Return a private and a public key as PEM, the same ones within a process."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return private.decode(), public.decode()


class AssertionRefusedError(Exception):
    """The reason why an assertion is rejected."""


class Tokens:
    """The known keys and the valid tokens of one `Monetate`."""

    def __init__(self, vendor: Monetate) -> None:
        self._vendor = vendor
        #: Public keys by user name.
        self.public_keys: dict[str, list[str]] = {}
        self.revoked_keys: set[str] = set()
        #: Valid tokens by their text.
        self.live: dict[str, _Token] = {}
        self.issued = 0

    async def refresh(self, request: web.Request) -> web.Response:
        """Return a token for an assertion."""
        scheme, _, assertion = request.headers.get("Authorization", "").partition(" ")
        if scheme != "JWT" or not assertion:
            return self._vendor.refuse(401, "Authorization must be: JWT <assertion>")
        try:
            username, key = self._verify(assertion)
        except AssertionRefusedError as error:
            return self._vendor.refuse(401, str(error))
        if key in self.revoked_keys:
            return self._vendor.refuse(403, "This key has been deactivated")
        ttl = whole_number(request.query.get("ttl", str(_DEFAULT_TTL)))
        if ttl is None or not _SHORTEST_TTL <= ttl <= _LONGEST_TTL:
            return self._vendor.refuse(
                400, f"ttl must lie between {_SHORTEST_TTL} and {_LONGEST_TTL}"
            )
        issued = self._vendor.now.timestamp()
        expires = issued + (
            ttl if self._vendor.token_lifetime is None else self._vendor.token_lifetime
        )
        token = secrets.token_urlsafe(36)
        self.live[token] = _Token(key, expires)
        self.issued += 1
        request[RECORD].notes["username"] = username
        return self._vendor.response(
            200,
            {
                "token": token,
                "issued_at": issued,
                "expires_in": ttl if self._vendor.token_lifetime is None else expires - issued,
                "expires_at": expires,
            },
        )

    def _verify(self, assertion: str) -> tuple[str, str]:
        """Return the user name of an assertion and the public key of its signature.

        Raises:
            AssertionRefusedError: It is invalid.
        """
        try:
            algorithm = jwt.get_unverified_header(assertion).get("alg")
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise AssertionRefusedError("the assertion is not a JSON Web Token") from error
        if algorithm not in _ALGORITHMS:
            raise AssertionRefusedError(f"the assertion must be signed by one of {_ALGORITHMS}")
        username, issued = claims.get("username"), claims.get("iat")
        if not isinstance(username, str) or not username.startswith("api-"):
            raise AssertionRefusedError("the claim username must be that of an API user")
        if not isinstance(issued, (int, float)) or isinstance(issued, bool):
            raise AssertionRefusedError("the claim iat is missing")
        key = self._signer(assertion, algorithm, username)
        if abs(self._vendor.now.timestamp() - issued) > _ASSERTION_SKEW_SECONDS:
            raise AssertionRefusedError("the assertion is too old, or from the future")
        return username, key

    def _signer(self, assertion: str, algorithm: str, username: str) -> str:
        for key in self.public_keys.get(username, []):
            try:
                jwt.decode(assertion, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
            except jwt.PyJWTError:
                continue
            return key
        raise AssertionRefusedError("the signature matches no public key of this user")

    def unauthorized(self, request: web.Request) -> web.Response | None:
        """Return the error for a request without a valid token of this retailer."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token" or not text:
            return self._vendor.refuse(401, "Authorization must be: Token <token>")
        token = self.live.get(text)
        if token is None or token.expires_at <= self._vendor.now.timestamp():
            return self._vendor.refuse(401, "Invalid token.")
        if token.key in self.revoked_keys:
            return self._vendor.refuse(403, "This token has been revoked")
        if request.match_info["retailer"] != self._vendor.retailer:
            return self._vendor.refuse(403, "You have no access to this retailer")
        return None
