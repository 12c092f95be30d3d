"""One HTTP client for all vendors.

A request is retried until it succeeds, is rejected, or ``max_attempts`` is reached; see
:mod:`singer_martech.http.request`.
"""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Any

from singer_martech.http.auth import NoAuth
from singer_martech.http.content import accept_any, blocks_as_sent, raise_if_html
from singer_martech.http.interpretation import Interpreting
from singer_martech.http.request import Reachability, RetryingRequest
from singer_martech.http.response import Response
from singer_martech.http.session import Session, register_proxy_passwords
from singer_martech.http.settings import HttpSettings
from singer_martech.runtime.background import run_interruptibly
from singer_martech.runtime.shutdown import GRACE_SECONDS, ShutdownSignal
from singer_martech.runtime.temp_files import raise_if_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests
    from requests.auth import AuthBase

    from singer_martech.http.content import Validate
    from singer_martech.http.stats import RequestStats

MEBIBYTE = 1024 * 1024


class HttpClient:
    """Sends requests to one vendor.

    Args:
        settings: Timeouts and retry limits.
        auth: Puts the credentials on each request.
        shutdown: Ends waits when the run is asked to end.
        pool_size: Maximum idle connections per host.
        validate: Raises UnexpectedContent for a 2xx response that is not the vendor's, or that
            names an error. HTML is never valid, with any ``validate``.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        auth: AuthBase | None = None,
        shutdown: ShutdownSignal | None = None,
        pool_size: int = 10,
        validate: Validate = accept_any,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.shutdown = shutdown or ShutdownSignal()
        self._auth = auth or NoAuth()
        self._pool_size = pool_size
        self._validate = validate
        self._reachability = Reachability()
        register_proxy_passwords()
        self._session = self._new_session()

    def request(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        *,
        label: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | IO[bytes] | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        idempotent: bool = True,
        is_final: Callable[[Response], bool] | None = None,
        validate: Validate | None = None,
        stats: RequestStats | None = None,
        max_bytes: int = 64 * MEBIBYTE,
        url_setting: str = "api_url",
    ) -> Response:
        """Send a request until a valid 2xx response arrives.

        Args:
            method: The HTTP method.
            url: An absolute URL: https, or a loopback address.
            label: Names the request in messages.
            params: The query string.
            json: A body to send as JSON.
            data: A body to send as is (a file is read again for each attempt), or a form.
            headers: Further headers.
            auth: Overrides the client's credentials.
            idempotent: False if sending twice could do harm: then the request is
            retried only if the vendor cannot have processed it.
            is_final: Whether a response with an error status such as 500 is final.
            validate: Overrides the client's.
            stats: Counts what is sent.
            max_bytes: The largest response that is read.
            url_setting: The setting that the address comes from, for messages.

        Raises:
            RequestRejected: A 4xx status, or a final response.
            RetriesExhausted: All attempts failed.
            RateLimited: 429 for too long.
            OutcomeUnknown: See ``idempotent``.
            InvalidResponse: The response is larger than ``max_bytes``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "json": json, "data": data, "headers": headers}
        retrying_request = self._retrying_request(method, url, label, arguments, stats, auth)
        retrying_request.is_final = is_final
        retrying_request.url_setting = url_setting

        def read(http_response: requests.Response) -> Response:
            response = retrying_request.read(http_response, max_bytes)
            raise_if_html(response.headers, response.body)
            _validate(response, validate or self._validate)
            return response

        return self._run(retrying_request, read, idempotent=idempotent)

    def download(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        *,
        label: str,
        into: IO[bytes],
        check: Callable[[Response], None] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Write a complete body to a file as it was sent, compressed or not.

        Every attempt truncates the file first.

        Args:
            method: The HTTP method.
            url: An absolute URL: https, or a loopback address.
            label: Names the request in messages.
            into: A seekable file; its position is left at the end.
            check: Called with the complete body in ``into``; raises IncompleteBody or
                UnexpectedContent if the attempt failed.
            params: The query string.
            data: A form.
            headers: Further headers.

        Raises:
            DiskFull: The disk has no room for the body.
            HttpError: As for ``request``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "data": data, "headers": headers}
        retrying_request = self._retrying_request(method, url, label, arguments)

        def read(http_response: requests.Response) -> Response:
            response = Response(label, http_response.status_code, http_response.headers)
            into.seek(0)
            into.truncate()
            try:
                blocks = blocks_as_sent(http_response)
                for index, block in enumerate(blocks):
                    self.shutdown.check()
                    if index == 0:
                        raise_if_html(response.headers, block, blocks)
                    into.write(block)
                into.flush()
            except OSError as error:
                raise_if_disk_full(error, label)
                raise
            _validate(response, check or accept_any)
            return response

        return self._run(retrying_request, read, idempotent=True)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _run(
        self,
        retrying_request: RetryingRequest,
        read: Callable[[requests.Response], Response],
        *,
        idempotent: bool,
    ) -> Response:
        # A run that ends does not need the responses of reads.
        grace_seconds = 0.0 if retrying_request.method == "GET" else GRACE_SECONDS
        work = partial(retrying_request.run, read, idempotent=idempotent)
        return run_interruptibly(work, self.shutdown, grace_seconds)

    def _retrying_request(  # noqa: PLR0913, PLR0917 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        label: str,
        arguments: dict[str, Any],
        stats: RequestStats | None = None,
        auth: AuthBase | None = None,
    ) -> RetryingRequest:
        return RetryingRequest(
            sessions=lambda is_new: self._new_session() if is_new else self._session,
            limits=self.settings,
            shutdown=self.shutdown,
            method=method,
            url=url,
            label=label,
            arguments=arguments,
            auth=auth or self._auth,
            stats=stats,
            reachability=self._reachability,
        )

    def _new_session(self) -> Session:
        return Session(self.settings.user_agent, self._pool_size)


def _validate(response: Response, validate: Validate) -> None:
    with Interpreting(response):
        validate(response)
