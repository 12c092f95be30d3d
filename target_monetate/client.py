"""The Monetate Auth and Data APIs: proving who sends, datasets, and rows.

The facts come from the vendor's OpenAPI description of the Data API, from its pages on
the Auth API, and from its page "Update a Customer Attributes Dataset via the Data API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from singer_martech.errors import MartechError
from singer_martech.http.auth import HeaderAuth, TokenAuth
from singer_martech.http.client import HttpClient, HttpSettings
from singer_martech.http.errors import InvalidResponse, NotFound, RequestRejected
from target_monetate.auth import ALGORITHMS, Assertion, Login
from target_monetate.dataset import Dataset, UnreadableDataset
from target_monetate.envelope import data_of, explained, joined, meta_of, texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from singer_martech.http.auth import Token
    from singer_martech.http.request import RequestStats
    from singer_martech.http.response import Response
    from singer_martech.runtime.shutdown import ShutdownSignal

API_URL = "https://api.monetate.net"
ENVELOPE = (b'{"schema_rows":[', b"]}")
"""What stands before and after the rows in a request's body."""

_MAX_PAGES = 50


class NoSuchDataset(MartechError):
    """There is no dataset of this name."""


class MonetateClient:
    """Reads datasets and sends rows.

    Args:
        retailer: The short name of the retailer, as in the API's base URL.
        username: The API user, ``api-…``.
        private_key: The key whose public half is registered for that user.
        algorithm: How assertions are signed.
        token_ttl_seconds: How long a token is to live, from 900 to 43200.
        api_url: Where the API is.
        settings: Timeouts and patience.
        shutdown: Ends waits when the run is asked to end.
        pool_size: How many requests may be in flight at once.
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        *,
        retailer: str,
        username: str,
        private_key: RSAPrivateKey,
        algorithm: str = ALGORITHMS[0],
        token_ttl_seconds: float = 3600,
        api_url: str = API_URL,
        settings: HttpSettings | None = None,
        shutdown: ShutdownSignal | None = None,
        pool_size: int = 10,
    ) -> None:
        """Send nothing yet."""
        api_url = api_url.rstrip("/")
        self._data_url = f"{api_url}/api/data/v1/{quote(retailer, safe='')}/production"
        self._auth = TokenAuth(self._fetch_token, scheme="Token")
        self._http = HttpClient(settings, auth=self._auth, shutdown=shutdown, pool_size=pool_size)
        assertion = Assertion(username, private_key, algorithm)
        self._login = Login(self._http, api_url, assertion, token_ttl_seconds)

    def rows_url(self, dataset: str) -> str:
        """Where the rows of a dataset go."""
        return f"{self._data_url}/data/{quote(dataset, safe='')}/"

    @staticmethod
    def body(rows: Sequence[bytes]) -> bytes:
        """Return the body of a request that sends these rows."""
        before, after = ENVELOPE
        return b"".join((before, b",".join(rows), after))

    def dataset(self, name: str) -> Dataset:
        """Return a dataset as it stands.

        Raises:
            NoSuchDataset: There is none of this name.
            RequestRejected: The credentials do not allow it.
        """
        label = f"Monetate dataset '{name}'"
        try:
            response = self._request("GET", self._schema_url(name), label)
        except NotFound as rejection:
            raise NoSuchDataset(f"{label}: there is no dataset of this name") from rejection
        try:
            return Dataset.from_description(name, data_of(response))
        except UnreadableDataset as error:
            raise InvalidResponse(
                f"{label}: the answer cannot be used: {error}", response
            ) from error

    def dataset_names(self) -> list[str]:
        """Return the names of all datasets."""
        names: list[str] = []
        page: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            response = self._request("GET", f"{self._data_url}/schema/", "Monetate datasets", page)
            listed = data_of(response)
            if isinstance(listed, list):
                names += [str(each["name"]) for each in listed if isinstance(each, dict)]
            following = meta_of(response).get("next")
            # only its query counts: credentials go nowhere but to the URL of the settings
            next_page = dict(parse_qsl(urlsplit(str(following or "")).query))
            if not next_page or next_page == page:
                break
            page = next_page
        return list(dict.fromkeys(names))

    def add_fields(self, dataset: str, types: Mapping[str, str]) -> list[str]:
        """Add fields to a dataset.

        Args:
            dataset: Its name.
            types: The new fields' data types by name.

        Returns:
            What the vendor warns about.

        Raises:
            RequestRejected: It refuses; with status 400, for instance, because one exists already.
        """
        fields = {name: {"data_type": data_type} for name, data_type in types.items()}
        label = f"Monetate dataset '{dataset}'"
        response = self._request("PATCH", self._schema_url(dataset), label, json={"fields": fields})
        return texts(meta_of(response).get("warnings"))

    def post_rows(
        self,
        dataset: str,
        rows: Sequence[bytes],
        *,
        idempotent: bool = True,
        stats: RequestStats | None = None,
    ) -> list[str]:
        """Send rows in one request.

        Args:
            dataset: Its name.
            rows: Each a JSON object.
            idempotent: False where the dataset has no unique key: then the vendor would add
                rows that are sent twice a second time.
            stats: Counts what is sent.

        Returns:
            What the vendor warns about.

        Raises:
            RequestRejected: Not all were taken.
            OutcomeUnknown: Nobody knows, and they must not be sent twice.
        """
        label = f"Monetate dataset '{dataset}'"
        response = self._request(
            "POST",
            self.rows_url(dataset),
            label,
            data=self.body(rows),
            headers={"Content-Type": "application/json"},
            idempotent=idempotent,
            stats=stats,
        )
        meta = meta_of(response)
        complaints = texts(meta.get("errors"))
        if complaints:
            raise RequestRejected(f"{label}: refused: {joined(complaints)}", response)
        return texts(meta.get("warnings"))

    def record(self, dataset: str, record_id: str) -> dict[str, Any] | None:
        """Return one record for a person's eyes, or None.

        The vendor allows this for manual spot checks only, once a second at most, never
        from a program (its description: Get Data). It is sent once, whatever comes of it.

        Raises:
            HttpError: It was not answered.
        """
        label = f"Monetate record '{record_id}'"
        settings = HttpSettings(
            self._http.settings.request_timeout_seconds,
            max_attempts=1,
            max_rate_limit_wait_seconds=0,
            user_agent=self._http.settings.user_agent,
        )
        # a fixed header, since a refused token would be renewed and the request repeated
        auth = HeaderAuth(f"Token {self._auth.token().value}")
        once = HttpClient(settings, auth=auth, shutdown=self._http.shutdown, pool_size=1)
        try:
            response = once.request(
                "GET", self.rows_url(dataset), label=label, params={"id": record_id}
            )
        except NotFound:
            return None
        except RequestRejected as rejection:
            raise explained(rejection, label) from rejection
        finally:
            once.close()
        rows = data_of(response, exact=True)
        if isinstance(rows, dict) and isinstance(rows.get("schema_rows"), list):
            rows = rows["schema_rows"]
        if isinstance(rows, list):
            rows = rows[0] if rows else None
        if rows is not None and not isinstance(rows, dict):
            raise InvalidResponse(f"{label}: the answer holds no record: {response.head}", response)
        return rows or None

    def _request(
        self,
        method: str,
        url: str,
        label: str,
        params: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> Response:
        try:
            return self._http.request(method, url, label=label, params=params, **rest)
        except RequestRejected as rejection:
            raise explained(rejection, label) from rejection

    def _schema_url(self, dataset: str) -> str:
        return f"{self._data_url}/schema/{quote(dataset, safe='')}/"

    def _fetch_token(self, old: Token | None) -> Token:
        del old  # a new one is got in the same way as the first
        return self._login.token()
