"""Check that credentials may be sent to a URL."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from singer_martech.errors import SettingError


def is_loopback(host: str | None) -> bool:
    """Whether ``host`` is this machine: 127.0.0.0/8, ::1 or localhost."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, name: str) -> str:
    """Return ``url`` without its trailing slash if credentials may be sent there.

    Raises:
        SettingError: It is not a URL, contains a password, or is plain http:// to another
            machine, which would send the credentials unencrypted.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingError(f"setting '{name}' must be a URL such as https://host/path")
    if parts.username or parts.password:
        raise SettingError(
            f"setting '{name}' must not contain a user name or password; "
            "use the settings for credentials"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingError(
            f"setting '{name}' must start with https://, because plain http:// would "
            f"send credentials to {host} unencrypted (only this machine is exempt)"
        )
    return url.rstrip("/")
