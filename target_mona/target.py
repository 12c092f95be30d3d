"""The target: its settings and checks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.delivery.settings import delivery_settings
from singer_martech.delivery.target import MartechTarget
from singer_martech.http.settings import HttpSettings
from singer_martech.singer.command import Check
from singer_martech.singer.settings import api_url, http_settings
from target_mona.client import API_URL, AUTH_URL, MonaClient
from target_mona.destination import ExportDestination
from target_mona.sinks import MonaSink
from target_mona.stream_mapping import ArcClasses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class TargetMona(MartechTarget):
    """Loads Singer streams into Mona, which monitors data and models, through its REST export."""

    name = "target-mona"
    default_sink_class = MonaSink
    config_jsonschema = th.PropertiesList(
        th.Property(
            "user_id",
            th.StringType,
            title="User ID",
            description=(
                "User id from the dashboard. It may be omitted if the access token contains it."
            ),
        ),
        th.Property(
            "client_id",
            th.StringType,
            title="Client ID",
            description="Client id of the API token, for use with client_secret.",
        ),
        th.Property(
            "client_secret",
            th.StringType,
            secret=True,
            description="Secret of the API token, for use with client_id.",
        ),
        th.Property(
            "access_token",
            th.StringType,
            secret=True,
            description=(
                "Access token to use instead of client_id and client_secret. It cannot be renewed."
            ),
        ),
        api_url(
            API_URL,
            "Designated URL from the dashboard, with or without /export. {user_id} in it is "
            "replaced by the user id.",
        ),
        th.Property(
            "auth_url",
            th.StringType,
            default=AUTH_URL,
            title="Auth URL",
            description="URL of the token service.",
        ),
        *delivery_settings(max_request_rows=1000, max_request_bytes=4 * 1024 * 1024),
        *http_settings(),
    ).to_dict()

    def __init__(self, **options: Any) -> None:
        """Check the configuration; nothing is sent yet."""
        self.arc_classes = ArcClasses()
        super().__init__(**options)

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterator[str]:
        if not config.get("access_token"):
            given = [name for name in ("client_id", "client_secret") if config.get(name)]
            if not given:
                yield "settings 'client_id' and 'client_secret', or 'access_token', are required"
            elif len(given) == 1:
                other = {"client_id": "client_secret", "client_secret": "client_id"}[given[0]]
                yield f"setting '{other}' is required together with '{given[0]}'"
        yield from super().check_settings(config)

    @override
    def checks(self) -> Iterator[Check]:
        yield Check("login", self._client.check_login, is_prerequisite=True)
        yield Check("user id", self._client.check_user_id, is_prerequisite=True)
        yield Check("connection to 'api_url'", self._client.check_connection)
        yield from super().checks()

    @property
    @override
    def account(self) -> str:
        return f"{self.config['api_url']}, user {self._client.user_id}"

    @cached_property
    def export_destination(self) -> ExportDestination:
        """The destination that all streams share."""
        config = self.config
        return ExportDestination(
            self._client, config["max_request_rows"], config["max_request_bytes"]
        )

    @cached_property
    def _client(self) -> MonaClient:
        config = self.config
        return MonaClient(
            user_id=config.get("user_id"),
            client_id=config.get("client_id"),
            client_secret=config.get("client_secret"),
            access_token=config.get("access_token"),
            api_url=config["api_url"],
            auth_url=config["auth_url"],
            settings=HttpSettings.from_config(config),
            shutdown=self.shutdown,
            pool_size=config["parallel_requests"],
        )
