"""One request and its tries: what is worth another try is decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from singer_martech.errors import MartechError, SettingError
from singer_martech.http.auth import TokenAuth
from singer_martech.http.errors import (
    HttpError,
    IncompleteBody,
    InvalidResponse,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    RetriesExhausted,
)
from singer_martech.http.response import HEAD_CHARACTERS, Response
from singer_martech.http.retry import RetryPolicy
from singer_martech.http.urls import check_url
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests.auth import AuthBase

    from singer_martech.runtime.shutdown import ShutdownSignal

_BLOCK_BYTES = 256 * 1024
_MAX_ERROR_BODY_BYTES = 4 * 1024 * 1024
_CONNECT_TIMEOUT_SECONDS = 30.0
_MAX_READ_TIMEOUT_SECONDS = 1_000_000.0
"""Some eleven days; what a socket bears is not much more."""

_SUCCESS = range(200, 300)
_UNAUTHORIZED, _REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 401, 408, 429


class RetryLimits(Protocol):
    """How patient a client is; see :class:`singer_martech.http.client.HttpSettings`."""

    @property
    def request_timeout_seconds(self) -> float:
        """The longest silence on a connection."""

    @property
    def max_attempts(self) -> int:
        """Tries of one request."""

    @property
    def max_rate_limit_wait_seconds(self) -> float:
        """How long answers of 429 are waited out."""


@dataclass
class RequestStats:
    """What was sent: requests that were answered or not, those repeated, body bytes."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0

    def add(self, other: RequestStats) -> None:
        """Take in what else was sent."""
        self.requests += other.requests
        self.retries += other.retries
        self.bytes += other.bytes


class RetryingRequest:
    """One request and its tries.

    Args:
        sessions: Returns the session to send with; a new one where asked for.
        limits: Timeouts and tries.
        shutdown: Ends waits when the run is asked to end.
        method: The HTTP method.
        url: Where to.
        label: The request in a person's words, for messages.
        arguments: What ``requests`` takes beside these.
        auth: Puts the credentials on each try.
        stats: Counts what is sent.
    """

    def __init__(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        *,
        sessions: Callable[[bool], requests.Session],
        limits: RetryLimits,
        shutdown: ShutdownSignal,
        method: str,
        url: str,
        label: str,
        arguments: dict[str, Any],
        auth: AuthBase,
        stats: RequestStats | None,
    ) -> None:
        """Send nothing yet."""
        check_url(url, label)
        self.sessions = sessions
        self.limits = limits
        self.shutdown = shutdown
        self.method = method
        self.url = url
        self.label = label
        self.arguments = arguments
        self.auth = auth
        self.stats = stats or RequestStats()
        self.renewed = False
        self.is_final: Callable[[Response], bool] | None = None

    def run(self, read: Callable[[requests.Response], Response], *, idempotent: bool) -> Response:
        """Try until ``read`` has made an answer of a 2xx response."""
        limits = self.limits
        retry_policy = RetryPolicy(
            self.label, limits.max_attempts, limits.max_rate_limit_wait_seconds
        )
        while True:
            self.shutdown.check()
            failure = self._try(read, idempotent=idempotent)
            if isinstance(failure, Response):
                return failure
            self.shutdown.check()
            if failure.at_once:
                self.stats.retries += 1
                continue
            seconds = retry_policy.seconds_until_next_try(failure.reason, failure.response)
            if seconds is None:
                error = RateLimited if retry_policy.is_rate_limited else RetriesExhausted
                raise error(retry_policy.give_up_reason, failure.response)
            self.stats.retries += 1
            self.shutdown.wait(seconds)

    def _try(
        self, read: Callable[[requests.Response], Response], *, idempotent: bool
    ) -> Response | _FailedAttempt:
        # an idle connection may have been closed by the vendor, which looks as if it
        # broke after sending: what must not be sent twice gets a connection of its own
        session = self.sessions(not idempotent)
        try:
            with self._send(session) as http_response:
                if http_response.status_code in _SUCCESS:
                    return read(http_response)
                response = self.read(http_response, _MAX_ERROR_BODY_BYTES)
        except (requests.RequestException, urllib3.exceptions.HTTPError, IncompleteBody) as error:
            return self._after_connection_error(error, idempotent=idempotent)
        except ValueError:  # of http.client, whose message would show the header
            raise self._bad_header from None
        finally:
            if not idempotent:
                session.close()
        return self._after_error_status(response, idempotent=idempotent)

    def _send(self, session: requests.Session) -> requests.Response:
        arguments = dict(self.arguments)
        rewind = getattr(arguments.get("data"), "seek", None)
        if rewind is not None:
            rewind(0)
        timeout = self.limits.request_timeout_seconds
        self.stats.requests += 1
        try:
            http_response = session.request(
                self.method,
                self.url,
                auth=self.auth,
                timeout=(
                    min(timeout, _CONNECT_TIMEOUT_SECONDS),
                    min(timeout, _MAX_READ_TIMEOUT_SECONDS),
                ),
                stream=True,
                **arguments,
            )
        except requests.RequestException as error:
            is_untrusted = isinstance(error, requests.exceptions.SSLError)
            if error.request is not None and not is_untrusted and not _was_not_sent(error):
                self._count_body(error.request.headers)
            raise
        self._count_body(http_response.request.headers)
        return http_response

    def _count_body(self, headers: Mapping[str, Any]) -> None:
        self.stats.bytes += int(headers.get("Content-Length") or 0)

    def _after_connection_error(self, error: Exception, *, idempotent: bool) -> _FailedAttempt:
        """Judge a try without a whole answer."""
        if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
            message = (
                f"{self.label}: {self._host} could not be trusted ({_cause(error)}); for a "
                "private certificate authority, point REQUESTS_CA_BUNDLE to its certificate"
            )
            raise HttpError(message) from error
        if isinstance(error, requests.exceptions.InvalidHeader):
            raise self._bad_header from None
        if not idempotent and not _was_not_sent(error):
            message = (
                f"{self.label}: the connection to {self._host} broke after the request was "
                f"sent ({_cause(error)}); whether it was taken is unknown"
            )
            raise OutcomeUnknown(message) from error
        if _was_not_sent(error):
            return _FailedAttempt(f"no connection to {self._host} ({_cause(error)})", None)
        return _FailedAttempt(_cause(error), None)

    def _after_error_status(self, response: Response, *, idempotent: bool) -> _FailedAttempt:
        """Judge an answer that is not 2xx."""
        status = response.status
        reason = f"status {status}" + (f": {response.head}" if response.body else "")
        if status == _UNAUTHORIZED and isinstance(self.auth, TokenAuth) and not self.renewed:
            self.renewed = True
            return _FailedAttempt(reason, response, at_once=True)
        if self.is_final is not None and self.is_final(response):
            message = f"{self.label}: refused with {reason}"
            raise RequestRejected.by_status(message, response)
        if status == _TOO_MANY_REQUESTS:
            return _FailedAttempt(reason, response)
        if status == _REQUEST_TIMEOUT or status >= 500:  # noqa: PLR2004
            if not idempotent:
                message = f"{self.label}: {reason}; whether the request was taken is unknown"
                raise OutcomeUnknown(message, response)
            return _FailedAttempt(reason, response)
        message = f"{self.label}: refused with {reason}"
        raise RequestRejected.by_status(message, response)

    def read(self, http_response: requests.Response, max_bytes: int) -> Response:
        """Read a body into memory, up to ``max_bytes``."""
        if http_response.status_code == _UNAUTHORIZED and isinstance(self.auth, TokenAuth):
            self.auth.refuse(http_response.request.headers.get("Authorization"))
        body = bytearray()
        response = Response(
            self.label, http_response.status_code, CaseInsensitiveDict(http_response.headers)
        )
        for block in self.blocks(http_response, raw=False):
            body += block
            if len(body) > max_bytes:
                message = f"{self.label}: the answer is larger than {max_bytes} bytes"
                raise InvalidResponse(message, response)
        return Response(self.label, response.status, response.headers, bytes(body))

    def blocks(self, http_response: requests.Response, *, raw: bool) -> Iterator[bytes]:
        """Yield the body in blocks and see that all of it came."""
        yield from http_response.raw.stream(_BLOCK_BYTES, decode_content=not raw)
        expected = http_response.headers.get("Content-Length", "")
        if expected.isdigit() and http_response.raw.tell() < int(expected):
            reason = f"{http_response.raw.tell()} of {expected} bytes came"
            raise IncompleteBody(reason)

    @property
    def _bad_header(self) -> SettingError:
        return SettingError(
            f"{self.label}: a credential, or the setting 'user_agent', holds a character that "
            "no header may hold"
        )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class _FailedAttempt:
    """Why a try failed, for the next one."""

    reason: str
    response: Response | None
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
    if isinstance(error, IncompleteBody):  # it says itself what is wrong
        return redact(str(error))[:HEAD_CHARACTERS]
    passed = {id(error)}
    while True:
        inner = error.__cause__ or error.__context__
        # a failure of ours is an earlier request's, after which this one was sent; causes
        # and contexts may also lead back to where they began
        if (
            inner is None
            or isinstance(inner, (IncompleteBody, MartechError))
            or id(inner) in passed
        ):
            break
        passed.add(id(inner))
        error = inner
    return redact(" ".join(str(error).split()))[:HEAD_CHARACTERS] or type(error).__name__
