"""Read the claims of an access token, which is a JWT. Its signature is not verified."""

from __future__ import annotations

from typing import Any

from singer_martech.values.json_codec import is_unicode

_END_OF_SECONDS = 1e12
"""The year 33658. Larger numbers are not dates."""


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, or none if it has none that can be read."""
    import jwt  # noqa: PLC0415 - with cryptography, it would double the time of --version

    try:
        return jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError, UnicodeEncodeError):
        return {}


def expiry_of(claims: dict[str, Any]) -> float | None:
    """Return the Unix time in seconds at which a token expires, if its claims say so."""
    expiry = claims.get("exp")
    if isinstance(expiry, (int, float)) and abs(expiry) < _END_OF_SECONDS:
        return float(expiry)
    return None


def user_id_of(claims: dict[str, Any]) -> str | None:
    """Return the user id in the claims of a token, if they have a usable one."""
    tenant = str(claims.get("tenantId") or "")
    return tenant if tenant and is_unicode(tenant) else None
