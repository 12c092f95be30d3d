"""Mona's token service: login, refresh, and token validation."""

from __future__ import annotations

import uuid
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import jwt
from aiohttp import web

from tests.sandbox.json_text import read_json

if TYPE_CHECKING:
    from tests.sandbox.mona import Mona

TOKEN_PATH = "/identity/resources/auth/v1/api-token"

_SIGNING_KEY = "the sandbox alone signs and reads these tokens"


class TokenService:
    """Issues access and refresh tokens for the credentials of its Mona."""

    def __init__(self, mona: Mona) -> None:
        self._mona = mona
        self.access_tokens: set[str] = set()
        self.refresh_tokens: set[str] = set()

    def issue(self, expires_in: float | None = None) -> str:
        """Return a new access token."""
        issued = self._mona.now.timestamp()
        identity = str(uuid.uuid4())
        self.access_tokens.add(identity)
        claims = {
            "sub": self._mona.client_id,
            "tenantId": self._mona.user_id,
            "type": "tenantApiToken",
            "jti": identity,
            "iat": int(issued),
            "exp": issued + (self._mona.expires_in if expires_in is None else expires_in),
        }
        return jwt.encode(claims, _SIGNING_KEY, algorithm="HS256")

    def authorizes(self, request: web.Request) -> bool:
        """Return whether the request has a valid token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return False
        try:
            claims = jwt.decode(
                token,
                _SIGNING_KEY,
                algorithms=["HS256"],
                # Uses the vendor's clock, which a test may have set.
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return False
        good: bool = claims["exp"] > self._mona.now.timestamp()
        return good and claims["jti"] in self.access_tokens

    async def log_in(self, request: web.Request) -> web.Response:
        """Return tokens for `{"clientId", "secret"}`."""
        fields = _fields(request, await request.read(), {"clientId", "secret"})
        if fields is None:
            return _refusal(400, "clientId and secret are expected, as JSON")
        if fields != {"clientId": self._mona.client_id, "secret": self._mona.client_secret}:
            return _refusal(401, "Invalid authentication")
        return self._tokens()

    async def refresh(self, request: web.Request) -> web.Response:
        """Return tokens for `{"refreshToken"}`."""
        fields = _fields(request, await request.read(), {"refreshToken"})
        if fields is None:
            return _refusal(400, "refreshToken is expected, as JSON")
        if fields["refreshToken"] not in self.refresh_tokens:
            return _refusal(401, "Refresh token is not valid")
        if self._mona.single_use_refresh:
            self.refresh_tokens.discard(fields["refreshToken"])
        return self._tokens()

    def _tokens(self) -> web.Response:
        refresh = str(uuid.uuid4())
        self.refresh_tokens.add(refresh)
        return web.json_response(
            {
                "accessToken": self.issue(),
                "refreshToken": refresh,
                "expiresIn": self._mona.expires_in,
                # An HTTP date, as in the vendor's own client, which reads `expiresIn`.
                "expires": format_datetime(
                    self._mona.now + timedelta(seconds=self._mona.expires_in),
                    usegmt=True,
                ),
            },
        )


def _fields(request: web.Request, body: bytes, names: set[str]) -> dict[str, str] | None:
    if request.content_type != "application/json":
        return None
    try:
        fields = read_json(body)
    except ValueError:
        return None
    if not isinstance(fields, dict) or set(fields) != names:
        return None
    return fields


def _refusal(status: int, reason: str) -> web.Response:
    return web.json_response({"errors": [reason]}, status=status)
