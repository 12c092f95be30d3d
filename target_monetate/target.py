"""The target: its settings and checks."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech._compat import override
from singer_martech.delivery.settings import delivery_settings
from singer_martech.delivery.target import MartechTarget
from singer_martech.errors import SettingError
from singer_martech.http.settings import HttpSettings
from singer_martech.mapping.stream_mappings import is_glob
from singer_martech.singer.command import Check
from singer_martech.singer.settings import api_url, http_settings
from target_monetate.auth import ALGORITHMS, MAX_TTL_SECONDS, MIN_TTL_SECONDS
from target_monetate.client import API_URL, MonetateClient
from target_monetate.destination import DatasetDestination
from target_monetate.row_coercion import REJECT, UNKNOWN_FIELDS
from target_monetate.sinks import MonetateSink
from target_monetate.stream_mapping import check_row_fields, dataset_name, usable_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


class TargetMonetate(MartechTarget):
    """Loads Singer streams into Monetate datasets through the Data API."""

    name = "target-monetate"
    default_sink_class = MonetateSink
    config_jsonschema = th.PropertiesList(
        th.Property(
            "retailer",
            th.StringType,
            required=True,
            description=(
                "Short name of the retailer. It precedes /production in the base URL of Monetate's "
                "API documentation."
            ),
        ),
        th.Property(
            "username",
            th.StringType,
            required=True,
            description="Name of the API user, such as api-123-retailer.",
        ),
        th.Property(
            "private_key",
            th.StringType,
            secret=True,
            description=(
                "Private key of the API user in PEM format. Line ends may be written as \\n."
            ),
        ),
        th.Property(
            "private_key_path",
            th.StringType,
            description="File with the private key. It takes precedence over private_key.",
        ),
        th.Property(
            "private_key_passphrase",
            th.StringType,
            secret=True,
            description="Passphrase of an encrypted private key.",
        ),
        th.Property(
            "jwt_algorithm",
            th.StringType,
            allowed_values=list(ALGORITHMS),
            default=ALGORITHMS[0],
            title="JWT algorithm",
            description="Algorithm that signs the assertion for an access token.",
        ),
        th.Property(
            "token_ttl_seconds",
            th.NumberType(minimum=MIN_TTL_SECONDS, maximum=MAX_TTL_SECONDS),
            default=3600,
            title="Token lifetime",
            description="Lifetime of an access token in seconds. It is renewed before it expires.",
        ),
        th.Property(
            "add_missing_fields",
            th.BooleanType,
            default=False,
            description=(
                "Add the fields of a stream that its dataset does not have, with the types of the "
                "stream's schema. Monetate cannot remove a field."
            ),
        ),
        th.Property(
            "unknown_fields",
            th.StringType,
            allowed_values=list(UNKNOWN_FIELDS),
            default=REJECT,
            description=(
                "Handling of a field that the dataset does not have: reject the record, leave the "
                "field out (leave_out) or send it (send)."
            ),
        ),
        api_url(API_URL),
        *delivery_settings(max_request_rows=500, max_request_bytes=4 * 1024 * 1024),
        *http_settings(),
    ).to_dict()

    def __init__(self, **options: Any) -> None:
        """Check the configuration and the private key; nothing is sent yet."""
        self._key: RSAPrivateKey | None = None
        super().__init__(**options)
        self._destinations: dict[str, DatasetDestination] = {}

    @override
    def check_settings(self, config: Mapping[str, Any]) -> Iterator[str]:
        try:
            self._key_of(config)
        except SettingError as error:
            yield str(error)
        yield from super().check_settings(config)

    @override
    def checks(self) -> Iterator[Check]:
        yield Check("login", self.client.check_login, is_prerequisite=True)
        for name, mapping in self.mappings:
            # under a glob, each stream may have a dataset of its own
            if not is_glob(name) or "{{" not in (mapping.get("schema") or "{{"):
                dataset = dataset_name(name, mapping)
                run = partial(self._check_dataset, name, dataset, mapping)
                yield Check(f"stream '{name}': dataset '{dataset}'", run)
        yield from super().checks()

    def _check_dataset(self, stream: str, name: str, mapping: Mapping[str, Any]) -> None:
        dataset = usable_dataset(self.client, stream, name, mapping)
        if self.config["unknown_fields"] == REJECT and not self.config["add_missing_fields"]:
            check_row_fields(dataset, mapping.get("row"))

    def _key_of(self, config: Mapping[str, Any]) -> RSAPrivateKey:
        # loads cryptography, which is slow and not needed for --version or --about
        from target_monetate import private_key  # noqa: PLC0415

        if self._key is None:
            self._key = private_key.from_settings(config)
        return self._key

    @cached_property
    def client(self) -> MonetateClient:
        """The client that all streams share."""
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

    @property
    @override
    def account(self) -> str:
        return f"{self.config['api_url']}, retailer {self.config['retailer']}"

    def dataset_destination(self, name: str) -> DatasetDestination:
        """Return the destination of a dataset, the same for all streams."""
        if name not in self._destinations:
            self._destinations[name] = DatasetDestination(
                self.client,
                name,
                self.config["max_request_rows"],
                self.config["max_request_bytes"],
            )
        return self._destinations[name]
