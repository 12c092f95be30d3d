"""The settings that all plugins declare."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th

from singer_martech.http.settings import HttpSettings


def api_url(default: str, description: str = "Base URL of the API.") -> th.Property[Any]:
    """Declare ``api_url`` with the vendor's address as its default."""
    return th.Property(
        "api_url", th.StringType, default=default, title="API URL", description=description
    )


def http_settings(
    request_timeout_seconds: float = HttpSettings.request_timeout_seconds,
) -> list[th.Property[Any]]:
    """Declare the settings of :class:`singer_martech.http.settings.HttpSettings`."""
    return [
        th.Property(
            "request_timeout_seconds",
            th.NumberType(exclusive_minimum=0),
            default=request_timeout_seconds,
            title="Request timeout",
            description=(
                "Longest silence on a connection, in seconds, before an attempt counts as failed."
            ),
        ),
        th.Property(
            "max_attempts",
            th.IntegerType(minimum=1),
            default=HttpSettings.max_attempts,
            description=(
                "Maximum attempts per request before the run fails. Responses with status 429 do "
                "not count. Other 4xx responses are never retried."
            ),
        ),
        th.Property(
            "max_rate_limit_wait_seconds",
            th.NumberType(minimum=0),
            default=HttpSettings.max_rate_limit_wait_seconds,
            title="Max rate limit wait",
            description=(
                "Longest wait, in seconds, over consecutive responses with status 429 before the "
                "run fails."
            ),
        ),
        th.Property(
            "user_agent",
            th.StringType,
            description=(
                "User-Agent header of every request. The default is singer-martech/<version>."
            ),
        ),
    ]
