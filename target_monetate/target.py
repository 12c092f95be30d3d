"""The Singer target for Monetate: its settings."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.delivery.settings import delivery_settings
from singer_martech.delivery.target import MartechTarget
from singer_martech.errors import SettingError
from singer_martech.http.client import HttpSettings
from singer_martech.singer.settings import api_url, http_settings
from target_monetate.auth import ALGORITHMS, LONGEST_TTL_SECONDS, SHORTEST_TTL_SECONDS
from target_monetate.client import API_URL, MonetateClient
from target_monetate.destination import DatasetDestination
from target_monetate.sinks import MonetateSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


class TargetMonetate(MartechTarget):
    """Loads rows into the datasets of Monetate by its Data API."""

    name = "target-monetate"
    default_sink_class = MonetateSink
    config_jsonschema = th.PropertiesList(
        th.Property(
            "retailer",
            th.StringType,
            required=True,
            title="Retailer",
            description=(
                "The retailer is given by its short name, which stands before /production in the "
                "base URL of Monetate's own API documentation."
            ),
        ),
        th.Property(
            "username",
            th.StringType,
            required=True,
            title="Username",
            description="The API user has this name, such as api-123-retailer.",
        ),
        th.Property(
            "private_key",
            th.StringType,
            secret=True,
            title="Private key",
            description=(
                "The private key of the API user is given in PEM form; its line ends may be "
                "written as \\n."
            ),
        ),
        th.Property(
            "private_key_path",
            th.StringType,
            title="Private key path",
            description="File with the private key. It takes precedence over private_key.",
        ),
        th.Property(
            "private_key_passphrase",
            th.StringType,
            secret=True,
            title="Private key passphrase",
            description="This passphrase opens an encrypted private key.",
        ),
        th.Property(
            "jwt_algorithm",
            th.StringType,
            allowed_values=list(ALGORITHMS),
            default=ALGORITHMS[0],
            title="JWT algorithm",
            description="The assertion that gets an access token is signed by this algorithm.",
        ),
        th.Property(
            "token_ttl_seconds",
            th.NumberType(minimum=SHORTEST_TTL_SECONDS, maximum=LONGEST_TTL_SECONDS),
            default=3600,
            title="Token lifetime",
            description="An access token is to live this long, in seconds; it is renewed in time.",
        ),
        th.Property(
            "add_missing_fields",
            th.BooleanType,
            default=False,
            title="Add missing fields",
            description=(
                "If true, fields of a stream that its dataset does not have are added to the "
                "dataset, typed from the stream's schema. Monetate cannot remove them again."
            ),
        ),
        api_url(API_URL),
        *delivery_settings(max_request_rows=500, max_request_bytes=4 * 1024 * 1024),
        *http_settings(),
    ).to_dict()

    def __init__(self, **options: Any) -> None:
        """Check the configuration, the key included; nothing is sent yet."""
        self._key: RSAPrivateKey | None = None
        super().__init__(**options)
        self._destinations: dict[str, DatasetDestination] = {}
        self._said: set[tuple[str, str]] = set()

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterator[str]:
        try:
            self._key_of(config)
        except SettingError as error:
            yield str(error)
        yield from super().check_settings(config)

    def _key_of(self, config: Mapping[str, Any]) -> RSAPrivateKey:
        # cryptography takes its time to load, which no --version or --about needs to wait for
        from target_monetate import private_key  # noqa: PLC0415

        if self._key is None:
            self._key = private_key.from_settings(config)
        return self._key

    @cached_property
    def client(self) -> MonetateClient:
        """The one client, whose token all requests share."""
        config = self.config
        return MonetateClient(
            retailer=config["retailer"],
            username=config["username"],
            private_key=self._key_of(config),
            algorithm=config["jwt_algorithm"],
            token_ttl_seconds=config["token_ttl_seconds"],
            api_url=config["api_url"],
            settings=HttpSettings.from_config(config),
            shutdown=self.shutdown,
            pool_size=config["parallel_requests"],
        )

    def dataset_destination(self, name: str) -> DatasetDestination:
        """Return the channel to a dataset, the same for all streams that feed it."""
        if name not in self._destinations:
            self._destinations[name] = DatasetDestination(
                self.client,
                name,
                self.config["max_request_rows"],
                self.config["max_request_bytes"],
            )
        return self._destinations[name]

    def warn_once(self, stream: str, topic: str, message: str) -> None:
        """Log a warning, but only one of a stream and topic in a run."""
        if (stream, topic) not in self._said:
            self._said.add((stream, topic))
            self.logger.warning("stream '%s': %s", stream, message)
