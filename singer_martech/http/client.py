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
from singer_martech.http.errors import Answer, BadAnswer, Refused
from singer_martech.http.request import Exchange
from singer_martech.http.urls import is_loopback
from singer_martech.runtime.background import aside
from singer_martech.runtime.shutdown import GRACE_SECONDS, Stop
from singer_martech.runtime.temp_files import raise_if_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests.auth import AuthBase

    from singer_martech.http.request import Traffic

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
        raise Refused(message, Answer("redirect", resp.status_code, resp.headers))

    @override
    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        old, new = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


class HttpClient:
    """Sends requests to one vendor.

    Args:
        settings: Timeouts and patience.
        auth: Puts the credentials on each request.
        stop: Ends waits when the run is asked to end.
        pool_size: How many connections are kept open.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        auth: AuthBase | None = None,
        stop: Stop | None = None,
        pool_size: int = 10,
    ) -> None:
        """Open no connection yet."""
        self.settings = settings or HttpSettings()
        self.stop = stop or Stop()
        self._auth = auth or NoAuth()
        self._pool_size = pool_size
        self._session = self._new_session()

    def request(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        *,
        what: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | IO[bytes] | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        repeatable: bool = True,
        is_verdict: Callable[[Answer], bool] | None = None,
        traffic: Traffic | None = None,
        max_bytes: int = 64 * MEBIBYTE,
    ) -> Answer:
        """Send a request until it is answered with 2xx.

        Args:
            method: The HTTP method.
            url: Where to; https, or a loopback address.
            what: The request in a person's words, for messages.
            params: The query string.
            json: A body to send as JSON.
            data: A body to send as it is (a file is read again for each try), or a form.
            headers: Further headers.
            auth: Other credentials than the client's.
            repeatable: False where sending twice could do harm: then the request is
                repeated only when the vendor surely did not take it.
            is_verdict: Tells an answer that is the vendor's last word though its status,
                such as 500, would ask for another try.
            traffic: Counts what is sent.
            max_bytes: The largest answer that is read.

        Raises:
            Refused: A 4xx that no repetition changes, or a verdict.
            Exhausted: All tries failed.
            RateLimited: 429 for too long.
            OutcomeUnknown: See ``repeatable``.
            BadAnswer: The answer is larger than ``max_bytes``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "json": json, "data": data, "headers": headers}
        exchange = self._exchange(method, url, what, arguments, traffic, auth)
        exchange.is_verdict = is_verdict

        def read(response: requests.Response) -> Answer:
            return exchange.read(response, max_bytes)

        return self._carried_out(exchange, read, repeatable=repeatable)

    def download(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        *,
        what: str,
        into: IO[bytes],
        check: Callable[[Answer], None] | None = None,
        raw: bool = False,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        traffic: Traffic | None = None,
    ) -> Answer:
        """Write a body to a file, which holds it whole when this returns.

        Every try starts the file anew.

        Args:
            method: The HTTP method.
            url: Where from.
            what: The request in a person's words, for messages.
            into: A file that can seek; it is left at its end.
            check: Called when the body has come; raises BrokenBody when it is not whole.
            raw: Keep the body as it was sent, compressed or not.
            params: The query string.
            data: A form.
            headers: Further headers.
            max_bytes: The largest body that is written.
            traffic: Counts what is sent.

        Raises:
            DiskFull: There is no room for the body.
            HttpFailure: As for ``request``.
            Stopped: The run was asked to end.
        """
        arguments = {"params": params, "data": data, "headers": headers}
        exchange = self._exchange(method, url, what, arguments, traffic)

        def read(response: requests.Response) -> Answer:
            answer = Answer(what, response.status_code, response.headers)
            into.seek(0)
            into.truncate()
            size = 0
            for block in exchange.blocks(response, raw=raw):
                self.stop.check()
                size += len(block)
                if max_bytes is not None and size > max_bytes:
                    message = f"{what}: the answer is larger than {max_bytes} bytes"
                    raise BadAnswer(message, answer)
                try:
                    into.write(block)
                except OSError as error:
                    raise_if_disk_full(error, what)
                    raise
            into.flush()
            if check is not None:
                check(answer)
            return answer

        return self._carried_out(exchange, read, repeatable=True)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _carried_out(
        self,
        exchange: Exchange,
        read: Callable[[requests.Response], Answer],
        *,
        repeatable: bool,
    ) -> Answer:
        # what only reads is not worth waiting for when the run is to end
        grace_seconds = 0.0 if exchange.method == "GET" else GRACE_SECONDS
        work = partial(exchange.run, read, repeatable=repeatable)
        return aside(work, self.stop, grace_seconds)

    def _exchange(  # noqa: PLR0913, PLR0917 - the parts of an HTTP request
        self,
        method: str,
        url: str,
        what: str,
        arguments: dict[str, Any],
        traffic: Traffic | None,
        auth: AuthBase | None = None,
    ) -> Exchange:
        return Exchange(
            sessions=lambda new: self._new_session() if new else self._session,
            limits=self.settings,
            stop=self.stop,
            method=method,
            url=url,
            what=what,
            arguments=arguments,
            auth=auth or self._auth,
            traffic=traffic,
        )

    def _new_session(self) -> _Session:
        session = _Session()
        session.headers["User-Agent"] = self.settings.user_agent
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=self._pool_size)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session
