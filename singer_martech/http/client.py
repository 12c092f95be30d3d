"""One HTTP client for all vendors: retries, patience, limits, and no leaks.

A request is tried until it succeeds, is refused, or its tries are used up; see
:mod:`singer_martech.http.request`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from singer_martech._compat import override
from singer_martech.http.auth import NoAuth
from singer_martech.http.errors import InvalidResponse, RequestRejected
from singer_martech.http.request import RetryingRequest
from singer_martech.http.response import Response
from singer_martech.http.retry import RetryPolicy
from singer_martech.http.urls import is_loopback
from singer_martech.runtime.background import run_interruptibly
from singer_martech.runtime.shutdown import GRACE_SECONDS, ShutdownSignal
from singer_martech.runtime.temp_files import raise_if_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests.auth import AuthBase

    from singer_martech.http.request import RequestStats

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class HttpSettings:
    """How patient a client is; the settings of the same names."""

    request_timeout_seconds: float = 60.0
    max_attempts: int = 6
    max_rate_limit_wait_seconds: float = 3900.0
    user_agent: str = field(default_factory=lambda: f"singer-martech/{version('singer-martech')}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HttpSettings:
        """Take them from a plugin's validated configuration."""
        names = cls.__dataclass_fields__
        return cls(**{name: config[name] for name in names if config.get(name) is not None})


class _Session(requests.Session):
    """Follows redirects of reads only, and takes no credentials along to another host."""

    @override
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        url = urljoin(resp.url, target)
        old, new = urlsplit(resp.url), urlsplit(url)
        if resp.request.method not in {"GET", "HEAD"}:
            reason = "a request that writes is not sent on to another address"
        elif new.scheme != "https" and not (
            is_loopback(new.hostname) and is_loopback(old.hostname)
        ):
            reason = "that address is not https"
        else:
            return target
        message = (
            f"the vendor's address redirects to {new.scheme}://{new.netloc}, but {reason}; "
            "check the URL setting"
        )
        raise RequestRejected(message, Response("redirect", resp.status_code, resp.headers))

    @override
    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, http_response: requests.Response
    ) -> None:
        old, new = http_response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


class HttpClient:
    """Sends requests to one vendor.

    Args:
        settings: Timeouts and patience.
        auth: Puts the credentials on each request.
        shutdown: Ends waits when the run is asked to end.
        pool_size: How many connections are kept open.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        auth: AuthBase | None = None,
        shutdown: ShutdownSignal | None = None,
        pool_size: int = 10,
    ) -> None:
        """Open no connection yet."""
        self.settings = settings or HttpSettings()
        self.shutdown = shutdown or ShutdownSignal()
        self._auth = auth or NoAuth()
        self._pool_size = pool_size
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
        stats: RequestStats | None = None,
        max_bytes: int = 64 * MEBIBYTE,
    ) -> Response:
        """Send a request until it is answered with 2xx.

        Args:
            method: The HTTP method.
            url: Where to; https, or a loopback address.
            label: The request in a person's words, for messages.
            params: The query string.
            json: A body to send as JSON.
            data: A body to send as it is (a file is read again for each try), or a form.
            headers: Further headers.
            auth: Other credentials than the client's.
            idempotent: False where sending twice could do harm: then the request is
                repeated only when the vendor surely did not take it.
            is_final: Tells an answer that is the vendor's last word though its status,
                such as 500, would ask for another try.
            stats: Counts what is sent.
            max_bytes: The largest answer that is read.

        Raises:
            RequestRejected: A 4xx that no repetition changes, or a verdict.
            RetriesExhausted: All tries failed.
            RateLimited: 429 for too long.
            OutcomeUnknown: See ``idempotent``.
            InvalidResponse: The answer is larger than ``max_bytes``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "json": json, "data": data, "headers": headers}
        retrying_request = self._retrying_request(method, url, label, arguments, stats, auth)
        retrying_request.is_final = is_final

        def read(http_response: requests.Response) -> Response:
            return retrying_request.read(http_response, max_bytes)

        return self._run(retrying_request, read, idempotent=idempotent)

    def download(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        *,
        label: str,
        into: IO[bytes],
        check: Callable[[Response], None] | None = None,
        raw: bool = False,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        stats: RequestStats | None = None,
    ) -> Response:
        """Write a body to a file, which holds it whole when this returns.

        Every try starts the file anew.

        Args:
            method: The HTTP method.
            url: Where from.
            label: The request in a person's words, for messages.
            into: A file that can seek; it is left at its end.
            check: Called when the body has come; raises BrokenBody when it is not whole.
            raw: Keep the body as it was sent, compressed or not.
            params: The query string.
            data: A form.
            headers: Further headers.
            max_bytes: The largest body that is written.
            stats: Counts what is sent.

        Raises:
            DiskFull: There is no room for the body.
            HttpError: As for ``request``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "data": data, "headers": headers}
        retrying_request = self._retrying_request(method, url, label, arguments, stats)

        def read(http_response: requests.Response) -> Response:
            response = Response(label, http_response.status_code, http_response.headers)
            into.seek(0)
            into.truncate()
            size = 0
            for block in retrying_request.blocks(http_response, raw=raw):
                self.shutdown.check()
                size += len(block)
                if max_bytes is not None and size > max_bytes:
                    message = f"{label}: the answer is larger than {max_bytes} bytes"
                    raise InvalidResponse(message, response)
                try:
                    into.write(block)
                except OSError as error:
                    raise_if_disk_full(error, label)
                    raise
            into.flush()
            if check is not None:
                check(response)
            return response

        return self._run(retrying_request, read, idempotent=True)

    def retry_policy(self, label: str) -> RetryPolicy:
        """Return a retry policy with this client's limits, for a request named ``label``."""
        limits = self.settings
        return RetryPolicy(label, limits.max_attempts, limits.max_rate_limit_wait_seconds)

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
        # what only reads is not worth waiting for when the run is to end
        grace_seconds = 0.0 if retrying_request.method == "GET" else GRACE_SECONDS
        work = partial(retrying_request.run, read, idempotent=idempotent)
        return run_interruptibly(work, self.shutdown, grace_seconds)

    def _retrying_request(  # noqa: PLR0913, PLR0917 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        label: str,
        arguments: dict[str, Any],
        stats: RequestStats | None,
        auth: AuthBase | None = None,
    ) -> RetryingRequest:
        return RetryingRequest(
            sessions=lambda new: self._new_session() if new else self._session,
            limits=self.settings,
            shutdown=self.shutdown,
            method=method,
            url=url,
            label=label,
            arguments=arguments,
            auth=auth or self._auth,
            stats=stats,
        )

    def _new_session(self) -> _Session:
        session = _Session()
        session.headers["User-Agent"] = self.settings.user_agent
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=self._pool_size)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session
