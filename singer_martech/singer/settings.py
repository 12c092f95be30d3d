"""The settings that all plugins declare."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th


def api_url(default: str, description: str) -> th.Property[Any]:
    """Declare ``api_url`` with the vendor's address as its default."""
    return th.Property(
        "api_url", th.StringType, default=default, title="API URL", description=description
    )


def http_settings(request_timeout_seconds: float = 60) -> list[th.Property[Any]]:
    """Declare the settings of :class:`singer_martech.http.client.HttpSettings`."""
    return [
        th.Property(
            "request_timeout_seconds",
            th.NumberType(exclusive_minimum=0),
            default=request_timeout_seconds,
            title="Request timeout",
            description=(
                "A try counts as failed when its connection is silent for longer than this, in "
                "seconds."
            ),
        ),
        th.Property(
            "max_attempts",
            th.IntegerType(minimum=1),
            default=6,
            title="Max attempts",
            description=(
                "One request is tried this often before the run fails. Answers of 429 do not "
                "count; refusals (other 4xx) are never repeated."
            ),
        ),
        th.Property(
            "max_rate_limit_wait_seconds",
            th.NumberType(minimum=0),
            default=3900,
            title="Max rate limit wait",
            description=(
                "Answers of 429 in a row are waited out for this long, in seconds, before the "
                "run fails."
            ),
        ),
        th.Property(
            "user_agent",
            th.StringType,
            title="User agent",
            description=(
                "Every request carries this User-Agent header. The default is "
                "singer-martech/<version>."
            ),
        ),
    ]
