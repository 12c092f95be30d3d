"""The settings that both mediarithmics plugins have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech.http.settings import HttpSettings
from singer_martech.mediarithmics.client import DEFAULT_API_URL, MediarithmicsClient
from singer_martech.singer import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.runtime.shutdown import ShutdownSignal


def access_settings() -> list[th.Property[Any]]:
    """Declare the API token and the URL."""
    return [
        th.Property(
            "api_token",
            th.StringType,
            required=True,
            secret=True,
            title="API token",
            description="API token, such as api:…, sent as is in the Authorization header.",
        ),
        settings.api_url(DEFAULT_API_URL),
    ]


def waiting_settings(
    poll_interval_seconds: float, execution_timeout_seconds: float, when_over: str
) -> list[th.Property[Any]]:
    """Declare the limits of the wait for an execution, given defaults and the consequence."""
    return [
        th.Property(
            "poll_interval_seconds",
            th.NumberType(exclusive_minimum=0),
            default=poll_interval_seconds,
            title="Poll interval",
            description="Seconds between two polls of a running execution.",
        ),
        th.Property(
            "execution_timeout_seconds",
            th.NumberType(minimum=0),
            default=execution_timeout_seconds,
            title="Execution timeout",
            description=f"Maximum seconds to wait for an execution. {when_over}",
        ),
    ]


def client_from_config(config: Mapping[str, Any], shutdown: ShutdownSignal) -> MediarithmicsClient:
    """Return a client with these settings. It sends no request yet."""
    return MediarithmicsClient(
        config["api_token"],
        config["api_url"],
        settings=HttpSettings.from_config(config),
        shutdown=shutdown,
    )
