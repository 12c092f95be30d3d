"""One HTTP client for all vendors: retries, patience, limits, and no leaks.

A request is tried until it succeeds, is refused, or its tries are used up. What is
worth another try, and for how long, is the same for every vendor, so it is decided
here and nowhere else.
"""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from singer_martech._compat import override
from singer_martech.auth import NoAuth, TokenAuth
from singer_martech.errors import MartechError, SettingError
from singer_martech.patience import Patience
from singer_martech.secrets import redact
from singer_martech.spool import raise_if_disk_full
from singer_martech.stop import Stop
from singer_martech.urls import check_url, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests.auth import AuthBase

MEBIBYTE = 1024 * 1024
_BLOCK = 256 * 1024
_HEAD_CHARACTERS = 300
_REFUSAL_BYTES = 4 * MEBIBYTE
_CONNECT_SECONDS = 30.0
_SUCCESS = range(200, 300)
_UNAUTHORIZED, _REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 401, 408, 429


class HttpFailure(MartechError):
    """A request did not succeed.

    Attributes:
        status: The HTTP status of the last answer, or None when there was none.
        answer: The last answer, or None.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        """Keep the answer for whoever can read more from it."""
        super().__init__(redact(message))
        self.answer = answer
        self.status = None if answer is None else answer.status


class Refused(HttpFailure):
    """The vendor refused the request; the same request would be refused again."""


class Exhausted(HttpFailure):
    """All tries failed. Whether the vendor acted on one of them is unknown."""


class RateLimited(HttpFailure):
    """The vendor asked to wait for longer than ``max_rate_limit_wait_seconds``."""


class OutcomeUnknown(HttpFailure):
    """The vendor may have acted on a request that must not be sent twice."""


class BadAnswer(HttpFailure):
    """The vendor answered something that this client cannot read."""


class BrokenBody(Exception):
    """A downloaded body is not whole; the try failed and is repeated."""


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


@dataclass
class Traffic:
    """What was sent: requests that were answered or not, those repeated, body bytes."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0

    def add(self, other: Traffic) -> None:
        """Take in what else was sent."""
        self.requests += other.requests
        self.retries += other.retries
        self.bytes += other.bytes


@dataclass(frozen=True)
class Answer:
    """A vendor's answer, whole.

    Attributes:
        what: The request it answers, as a person would name it.
        status: The HTTP status.
        headers: Its headers; names are compared without regard to case.
        body: The decoded body, empty after a download.
    """

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def head(self) -> str:
        """The first characters of the body on one line, without secrets."""
        text = self.body[: 8 * _HEAD_CHARACTERS].decode("utf-8", "replace")
        return redact(" ".join(text.split()))[:_HEAD_CHARACTERS]

    def json(self) -> Any:
        """Return the body's JSON value.

        Raises:
            BadAnswer: It is not JSON, such as the HTML page of a proxy.
        """
        try:
            return json_module.loads(self.body)
        except (ValueError, RecursionError):
            message = (
                f"{self.what}: the answer (status {self.status}) is not JSON: "
                f"{self.head or 'it is empty'}"
            )
            raise BadAnswer(message, self) from None


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
        exchange = _Exchange(self, method, url, what, arguments, auth or self._auth, traffic)
        exchange.is_verdict = is_verdict

        def read(response: requests.Response) -> Answer:
            return exchange.read(response, max_bytes)

        return exchange.run(read, repeatable=repeatable)

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
        exchange = _Exchange(self, method, url, what, arguments, self._auth, traffic)

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

        return exchange.run(read, repeatable=True)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _new_session(self) -> _Session:
        session = _Session()
        session.headers["User-Agent"] = self.settings.user_agent
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=self._pool_size)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session


class _Exchange:
    """One request and its tries."""

    def __init__(  # noqa: PLR0913, PLR0917 - private; the parts of an HTTP request
        self,
        client: HttpClient,
        method: str,
        url: str,
        what: str,
        arguments: dict[str, Any],
        auth: AuthBase,
        traffic: Traffic | None,
    ) -> None:
        check_url(url, what)
        self.client = client
        self.method = method
        self.url = url
        self.what = what
        self.arguments = arguments
        self.auth = auth
        self.traffic = traffic or Traffic()
        self.renewed = False
        self.is_verdict: Callable[[Answer], bool] | None = None

    def run(self, read: Callable[[requests.Response], Answer], *, repeatable: bool) -> Answer:
        """Try until ``read`` has made an answer of a 2xx response."""
        settings = self.client.settings
        patience = Patience(self.what, settings.max_attempts, settings.max_rate_limit_wait_seconds)
        while True:
            self.client.stop.check()
            failure = self._try(read, repeatable=repeatable)
            if isinstance(failure, Answer):
                return failure
            if failure.at_once:
                self.traffic.retries += 1
                continue
            seconds = patience.seconds_until_next_try(failure.reason, failure.answer)
            if seconds is None:
                error = RateLimited if patience.is_rate_limited else Exhausted
                raise error(patience.verdict, failure.answer)
            self.traffic.retries += 1
            self.client.stop.wait(seconds)

    def _try(
        self, read: Callable[[requests.Response], Answer], *, repeatable: bool
    ) -> Answer | _FailedTry:
        # an idle connection may have been closed by the vendor, which looks as if it
        # broke after sending: what must not be sent twice gets a connection of its own
        session = self.client._session if repeatable else self.client._new_session()  # noqa: SLF001
        try:
            with self._send(session) as response:
                if response.status_code in _SUCCESS:
                    return read(response)
                answer = self.read(response, _REFUSAL_BYTES)
        except (requests.RequestException, urllib3.exceptions.HTTPError, BrokenBody) as error:
            return self._broken(error, repeatable=repeatable)
        except ValueError:  # of http.client, whose message would show the header
            raise self._bad_header from None
        finally:
            if not repeatable:
                session.close()
        return self._refused(answer, repeatable=repeatable)

    def _send(self, session: requests.Session) -> requests.Response:
        arguments = dict(self.arguments)
        rewind = getattr(arguments.get("data"), "seek", None)
        if rewind is not None:
            rewind(0)
        timeout = self.client.settings.request_timeout_seconds
        self.traffic.requests += 1
        response = session.request(
            self.method,
            self.url,
            auth=self.auth,
            timeout=(min(timeout, _CONNECT_SECONDS), timeout),
            stream=True,
            **arguments,
        )
        length = response.request.headers.get("Content-Length")
        self.traffic.bytes += int(length or 0)
        return response

    def _broken(self, error: Exception, *, repeatable: bool) -> _FailedTry:
        """Judge a try without a whole answer."""
        if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
            message = (
                f"{self.what}: {self._host} could not be trusted ({_cause(error)}); for a "
                "private certificate authority, point REQUESTS_CA_BUNDLE to its certificate"
            )
            raise HttpFailure(message) from error
        if isinstance(error, requests.exceptions.InvalidHeader):
            raise self._bad_header from None
        if not repeatable and not _was_not_sent(error):
            message = (
                f"{self.what}: the connection to {self._host} broke after the request was "
                f"sent ({_cause(error)}); whether it was taken is unknown"
            )
            raise OutcomeUnknown(message) from error
        return _FailedTry(_cause(error), None)

    def _refused(self, answer: Answer, *, repeatable: bool) -> _FailedTry:
        """Judge an answer that is not 2xx."""
        status = answer.status
        reason = f"status {status}" + (f": {answer.head}" if answer.body else "")
        if status == _UNAUTHORIZED and isinstance(self.auth, TokenAuth) and not self.renewed:
            self.renewed = True
            return _FailedTry(reason, answer, at_once=True)
        if self.is_verdict is not None and self.is_verdict(answer):
            message = f"{self.what}: refused with {reason}"
            raise Refused(message, answer)
        if status == _TOO_MANY_REQUESTS:
            return _FailedTry(reason, answer)
        if status == _REQUEST_TIMEOUT or status >= 500:  # noqa: PLR2004
            if not repeatable:
                message = f"{self.what}: {reason}; whether the request was taken is unknown"
                raise OutcomeUnknown(message, answer)
            return _FailedTry(reason, answer)
        message = f"{self.what}: refused with {reason}"
        raise Refused(message, answer)

    def read(self, response: requests.Response, max_bytes: int) -> Answer:
        """Read a body into memory, up to ``max_bytes``."""
        if response.status_code == _UNAUTHORIZED and isinstance(self.auth, TokenAuth):
            self.auth.refuse(response.request.headers.get("Authorization"))
        body = bytearray()
        answer = Answer(self.what, response.status_code, CaseInsensitiveDict(response.headers))
        for block in self.blocks(response, raw=False):
            body += block
            if len(body) > max_bytes:
                message = f"{self.what}: the answer is larger than {max_bytes} bytes"
                raise BadAnswer(message, answer)
        return Answer(self.what, answer.status, answer.headers, bytes(body))

    def blocks(self, response: requests.Response, *, raw: bool) -> Iterator[bytes]:
        """Yield the body in blocks and see that all of it came."""
        yield from response.raw.stream(_BLOCK, decode_content=not raw)
        expected = response.headers.get("Content-Length", "")
        if expected.isdigit() and response.raw.tell() < int(expected):
            reason = f"{response.raw.tell()} of {expected} bytes came"
            raise BrokenBody(reason)

    @property
    def _bad_header(self) -> SettingError:
        return SettingError(
            f"{self.what}: a credential, or the setting 'user_agent', holds a character that "
            "no header may hold"
        )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class _FailedTry:
    """Why a try failed, for the next one."""

    reason: str
    answer: Answer | None
    at_once: bool = False


def _was_not_sent(error: Exception) -> bool:
    """Whether the request surely never reached the vendor."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _cause(error: BaseException) -> str:
    """Name the innermost reason of a broken connection in a few words."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "no answer in time"
    passed = {id(error)}
    while True:
        inner = error.__cause__ or error.__context__
        # a failure of ours is an earlier request's, after which this one was sent; causes
        # and contexts may also lead back to where they began
        if inner is None or isinstance(inner, (BrokenBody, MartechError)) or id(inner) in passed:
            break
        passed.add(id(inner))
        error = inner
    return redact(" ".join(str(error).split()))[:_HEAD_CHARACTERS] or type(error).__name__
