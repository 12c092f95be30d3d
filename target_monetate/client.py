"""Client of the Monetate Auth and Data APIs.

Sources: the vendor's OpenAPI description of the Data API, its pages on the Auth API, and its
page "Update a Customer Attributes Dataset via the Data API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from singer_martech.errors import MartechError
from singer_martech.http.auth import HeaderAuth, TokenAuth
from singer_martech.http.client import HttpClient
from singer_martech.http.errors import InvalidResponse, NotFound, RequestRejected
from singer_martech.http.interpretation import Interpreting
from singer_martech.http.settings import HttpSettings
from target_monetate import envelope
from target_monetate.auth import ALGORITHMS, Assertion, Login
from target_monetate.dataset import Dataset, InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from singer_martech.http.response import Response
    from singer_martech.http.stats import RequestStats
    from singer_martech.runtime.shutdown import ShutdownSignal

API_URL = "https://api.monetate.net"
ENVELOPE = (b'{"schema_rows":[', b"]}")
"""The start and the end of a request body; the rows are between them."""

_MAX_PAGES = 50


class NoSuchDataset(MartechError):
    """There is no dataset with this name."""


class MonetateClient:
    """Reads datasets and sends rows.

    Args:
        retailer: The retailer's short name, as in the API's base URL.
        username: The API user, ``api-…``.
        private_key: The key whose public half is registered for that user.
        algorithm: Signs the assertions.
        token_ttl_seconds: Lifetime of a token, from 900 to 43200.
        api_url: Base URL of the APIs.
        settings: Timeouts and retry limits.
        shutdown: Ends waits when the run is asked to end.
        pool_size: Maximum number of requests in flight.
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
        api_url = api_url.rstrip("/")
        self._data_url = f"{api_url}/api/data/v1/{quote(retailer, safe='')}/production"
        # there are no refresh tokens, so each token comes from a login
        self._auth = TokenAuth(lambda _: self._login.token(), scheme="Token")
        self._http = HttpClient(
            settings,
            auth=self._auth,
            shutdown=shutdown,
            pool_size=pool_size,
            validate=envelope.validate,
        )
        assertion = Assertion(username, private_key, algorithm)
        self._login = Login(self._http, api_url, assertion, token_ttl_seconds)

    def check_login(self) -> None:
        """Get an access token, and check that the retailer accepts it.

        Raises:
            HttpError: One of the two failed.
        """
        self._auth.token()
        self._list_datasets({})

    def rows_url(self, dataset: str) -> str:
        """Return the URL of a dataset's rows."""
        return f"{self._data_url}/data/{quote(dataset, safe='')}/"

    @staticmethod
    def body(rows: Sequence[bytes]) -> bytes:
        """Return the body of a request with these rows."""
        before, after = ENVELOPE
        return b"".join((before, b",".join(rows), after))

    def dataset(self, name: str) -> Dataset:
        """Return the current description of a dataset.

        Raises:
            NoSuchDataset: There is no dataset with this name.
            RequestRejected: The credentials do not permit it.
        """
        label = f"Monetate dataset '{name}'"
        try:
            response = self._request("GET", self._schema_url(name), label)
        except NotFound as rejection:
            raise NoSuchDataset(f"{label}: there is no dataset with this name") from rejection
        with Interpreting(response):
            try:
                return Dataset.from_description(name, envelope.data_of(response))
            except InvalidDescription as error:
                message = f"{label}: the response cannot be used: {error}"
                raise InvalidResponse(message, response) from error

    def dataset_names(self) -> list[str]:
        """Return the names of all datasets."""
        names: list[str] = []
        page: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            response = self._list_datasets(page)
            with Interpreting(response):
                names += _names_in(response)
                next_page = _next_page(response)
            if not next_page or next_page == page:
                break
            page = next_page
        return list(dict.fromkeys(names))

    def add_fields(self, dataset: str, types: Mapping[str, str]) -> list[str]:
        """Add fields to a dataset, given their data types by name.

        Returns:
            The vendor's warnings.

        Raises:
            RequestRejected: The vendor rejects them, for instance because a field exists already.
        """
        fields = {name: {"data_type": data_type} for name, data_type in types.items()}
        label = f"Monetate dataset '{dataset}'"
        response = self._request("PATCH", self._schema_url(dataset), label, json={"fields": fields})
        return envelope.texts(envelope.meta_of(response).get("warnings"))

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
            idempotent: False if the dataset has no unique key: the vendor would add rows that
                are sent twice a second time.
            stats: Counts what is sent.

        Returns:
            The vendor's warnings.

        Raises:
            RequestRejected: Not all rows were accepted.
            OutcomeUnknown: They may have been accepted and must not be sent twice.
        """
        response = self._request(
            "POST",
            self.rows_url(dataset),
            f"Monetate dataset '{dataset}'",
            data=self.body(rows),
            headers={"Content-Type": "application/json"},
            idempotent=idempotent,
            stats=stats,
        )
        with Interpreting(response, idempotent=idempotent):
            return envelope.texts(envelope.meta_of(response).get("warnings"))

    def record(self, dataset: str, record_id: str) -> dict[str, Any] | None:
        """Return one record for a person to look at, or None if there is none.

        The vendor permits this for manual spot checks only, at most once a second, and never
        in a program (OpenAPI description, Get Data). The request is never repeated.

        Raises:
            HttpError: The request failed.
        """
        label = f"Monetate record '{record_id}'"
        once = self._client_without_retries()
        try:
            response = once.request(
                "GET", self.rows_url(dataset), label=label, params={"id": record_id}
            )
        except NotFound:
            return None
        except RequestRejected as rejection:
            raise envelope.explained(rejection, label) from rejection
        finally:
            once.close()
        return _record_in(response, label)

    def _client_without_retries(self) -> HttpClient:
        settings = HttpSettings(
            self._http.settings.request_timeout_seconds,
            max_attempts=1,
            max_rate_limit_wait_seconds=0,
            user_agent=self._http.settings.user_agent,
        )
        # a fixed header: with TokenAuth, a rejected token would be renewed and the request repeated
        auth = HeaderAuth(f"Token {self._auth.token().value}")
        return HttpClient(
            settings, auth=auth, shutdown=self._http.shutdown, validate=envelope.validate
        )

    def _list_datasets(self, page: Mapping[str, str]) -> Response:
        return self._request("GET", f"{self._data_url}/schema/", "Monetate datasets", page)

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
            raise envelope.explained(rejection, label) from rejection

    def _schema_url(self, dataset: str) -> str:
        return f"{self._data_url}/schema/{quote(dataset, safe='')}/"


def _names_in(response: Response) -> list[str]:
    listed = envelope.data_of(response)
    if not isinstance(listed, list):
        return []
    return [str(each["name"]) for each in listed if isinstance(each, dict)]


def _next_page(response: Response) -> dict[str, str]:
    """Return the query of the next page; credentials are sent to the configured URL only."""
    following = envelope.meta_of(response).get("next")
    return dict(parse_qsl(urlsplit(str(following or "")).query))


def _record_in(response: Response, label: str) -> dict[str, Any] | None:
    rows = envelope.data_of(response, exact=True)
    if isinstance(rows, dict) and isinstance(rows.get("schema_rows"), list):
        rows = rows["schema_rows"]
    if isinstance(rows, list):
        rows = rows[0] if rows else None
    if rows is not None and not isinstance(rows, dict):
        raise InvalidResponse(f"{label}: the response holds no record: {response.head}", response)
    return rows or None
