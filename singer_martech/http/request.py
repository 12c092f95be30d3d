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
    HEAD_CHARACTERS,
    Answer,
    BadAnswer,
    BrokenBody,
    Exhausted,
    HttpFailure,
    OutcomeUnknown,
    RateLimited,
    Refused,
)
from singer_martech.http.retry import Patience
from singer_martech.http.urls import check_url
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests.auth import AuthBase

    from singer_martech.runtime.shutdown import Stop

_BLOCK = 256 * 1024
_REFUSAL_BYTES = 4 * 1024 * 1024
_CONNECT_SECONDS = 30.0
_LONGEST_SILENCE_SECONDS = 1_000_000.0
"""Some eleven days; what a socket bears is not much more."""

_SUCCESS = range(200, 300)
_UNAUTHORIZED, _REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 401, 408, 429


class Limits(Protocol):
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


class Exchange:
    """One request and its tries.

    Args:
        sessions: Returns the session to send with; a new one where asked for.
        limits: Timeouts and tries.
        stop: Ends waits when the run is asked to end.
        method: The HTTP method.
        url: Where to.
        what: The request in a person's words, for messages.
        arguments: What ``requests`` takes beside these.
        auth: Puts the credentials on each try.
        traffic: Counts what is sent.
    """

    def __init__(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        *,
        sessions: Callable[[bool], requests.Session],
        limits: Limits,
        stop: Stop,
        method: str,
        url: str,
        what: str,
        arguments: dict[str, Any],
        auth: AuthBase,
        traffic: Traffic | None,
    ) -> None:
        """Send nothing yet."""
        check_url(url, what)
        self.sessions = sessions
        self.limits = limits
        self.stop = stop
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
        limits = self.limits
        patience = Patience(self.what, limits.max_attempts, limits.max_rate_limit_wait_seconds)
        while True:
            self.stop.check()
            failure = self._try(read, repeatable=repeatable)
            if isinstance(failure, Answer):
                return failure
            self.stop.check()
            if failure.at_once:
                self.traffic.retries += 1
                continue
            seconds = patience.seconds_until_next_try(failure.reason, failure.answer)
            if seconds is None:
                error = RateLimited if patience.is_rate_limited else Exhausted
                raise error(patience.verdict, failure.answer)
            self.traffic.retries += 1
            self.stop.wait(seconds)

    def _try(
        self, read: Callable[[requests.Response], Answer], *, repeatable: bool
    ) -> Answer | _FailedTry:
        # an idle connection may have been closed by the vendor, which looks as if it
        # broke after sending: what must not be sent twice gets a connection of its own
        session = self.sessions(not repeatable)
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
        timeout = self.limits.request_timeout_seconds
        self.traffic.requests += 1
        try:
            response = session.request(
                self.method,
                self.url,
                auth=self.auth,
                timeout=(min(timeout, _CONNECT_SECONDS), min(timeout, _LONGEST_SILENCE_SECONDS)),
                stream=True,
                **arguments,
            )
        except requests.RequestException as error:
            is_untrusted = isinstance(error, requests.exceptions.SSLError)
            if error.request is not None and not is_untrusted and not _was_not_sent(error):
                self._count_body(error.request.headers)
            raise
        self._count_body(response.request.headers)
        return response

    def _count_body(self, headers: Mapping[str, Any]) -> None:
        self.traffic.bytes += int(headers.get("Content-Length") or 0)

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
        if _was_not_sent(error):
            return _FailedTry(f"no connection to {self._host} ({_cause(error)})", None)
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
    if isinstance(error, BrokenBody):  # it says itself what is wrong
        return redact(str(error))[:HEAD_CHARACTERS]
    passed = {id(error)}
    while True:
        inner = error.__cause__ or error.__context__
        # a failure of ours is an earlier request's, after which this one was sent; causes
        # and contexts may also lead back to where they began
        if inner is None or isinstance(inner, (BrokenBody, MartechError)) or id(inner) in passed:
            break
        passed.add(id(inner))
        error = inner
    return redact(" ".join(str(error).split()))[:HEAD_CHARACTERS] or type(error).__name__
