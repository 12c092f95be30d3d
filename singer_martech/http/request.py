"""One request and its attempts, with all decisions about retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import select_proxy
from urllib3.exceptions import LocationValueError

from singer_martech.errors import SettingError
from singer_martech.http.auth import TokenAuth
from singer_martech.http.connection import (
    Transmission,
    cause,
    is_unreachable,
    is_untrusted,
    observed,
)
from singer_martech.http.content import read_body
from singer_martech.http.errors import (
    AttemptFailed,
    HttpError,
    InvalidResponse,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    RetriesExhausted,
)
from singer_martech.http.response import Response
from singer_martech.http.retry import RetryPolicy
from singer_martech.http.session import invalid_proxy, proxy_problem
from singer_martech.http.stats import RequestStats
from singer_martech.http.urls import check_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests.auth import AuthBase

    from singer_martech.http.session import Session
    from singer_martech.http.settings import HttpSettings
    from singer_martech.runtime.shutdown import ShutdownSignal

_MAX_ERROR_BODY_BYTES = 4 * 1024 * 1024
_CONNECT_TIMEOUT_SECONDS = 30.0
_MAX_READ_TIMEOUT_SECONDS = 1_000_000.0
"""Some eleven days; sockets do not accept much more."""

_SUCCESS = range(200, 300)
_UNAUTHORIZED, _REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 401, 408, 429
_FIRST_SERVER_ERROR = 500
_MAX_REJECTED_RENEWALS = 2
_SEND_ERRORS = (OSError, ValueError, TypeError, urllib3.exceptions.HTTPError)


@dataclass
class Reachability:
    """What the requests of a client have in common.

    Attributes:
        has_responded: Whether any response has arrived. Until then, a proxy that cannot be
            reached counts as a wrong setting.
    """

    has_responded: bool = False


class RetryingRequest:
    """One request and its attempts.

    Args:
        sessions: Returns the session to send with; a new one if called with True.
        limits: Timeouts and attempts.
        shutdown: Ends waits when the run is asked to end.
        method: The HTTP method.
        url: An absolute URL.
        label: Names the request in messages.
        arguments: Further arguments of ``requests.Request``.
        auth: Puts the credentials on each attempt.
        stats: Counts what is sent.
        reachability: Shared by the requests of a client.
    """

    def __init__(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        *,
        sessions: Callable[[bool], Session],
        limits: HttpSettings,
        shutdown: ShutdownSignal,
        method: str,
        url: str,
        label: str,
        arguments: dict[str, Any],
        auth: AuthBase,
        stats: RequestStats | None,
        reachability: Reachability,
    ) -> None:
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
        self.reachability = reachability
        self.is_final: Callable[[Response], bool] | None = None
        self.url_setting = "api_url"
        self._rejected_tokens = 0
        self._rejected_renewals = 0

    def run(self, read: Callable[[requests.Response], Response], *, idempotent: bool) -> Response:
        """Send until a 2xx response was read, and return the result of ``read``."""
        retry_policy = RetryPolicy(self.label, self.limits)
        while True:
            self.shutdown.check()
            failure = self._attempt(read, idempotent=idempotent)
            if isinstance(failure, Response):
                return failure
            self.shutdown.check()
            if failure.at_once:
                self.stats.retries += 1
                continue
            seconds = retry_policy.seconds_until_next_attempt(failure.reason, failure.response)
            if seconds is None:
                error = RateLimited if retry_policy.is_rate_limited else RetriesExhausted
                raise error(retry_policy.give_up_reason, failure.response)
            self.stats.retries += 1
            self.shutdown.wait(seconds)

    # Kept short, as all that runs in a sender: up to Python 3.13, an error handler of a function
    # loops forever without memory if the error is beyond 256 units of code (CPython issue 132508).
    def _attempt(
        self, read: Callable[[requests.Response], Response], *, idempotent: bool
    ) -> Response | _FailedAttempt:
        # If the vendor has closed an idle connection, the outcome of a request on it is unknown:
        # a non-idempotent request gets a new connection.
        session = self.sessions(not idempotent)
        transmission = Transmission()
        try:
            return self._exchange(session, transmission, read, idempotent=idempotent)
        except (requests.RequestException, urllib3.exceptions.HTTPError, AttemptFailed) as error:
            return self._after_broken_connection(error, transmission, idempotent=idempotent)
        finally:
            if not idempotent:
                session.close()

    def _exchange(
        self,
        session: Session,
        transmission: Transmission,
        read: Callable[[requests.Response], Response],
        *,
        idempotent: bool,
    ) -> Response | _FailedAttempt:
        prepared = self._prepared(session)
        with self._send(session, prepared, transmission) as http_response:
            self._note_token(http_response)
            if http_response.status_code in _SUCCESS:
                return self._result(read, http_response, idempotent=idempotent)
            response, _ = self._read(http_response, _MAX_ERROR_BODY_BYTES)
        return self._after_error_status(response, idempotent=idempotent)

    @staticmethod
    def _result(
        read: Callable[[requests.Response], Response],
        http_response: requests.Response,
        *,
        idempotent: bool,
    ) -> Response:
        try:
            return read(http_response)
        except InvalidResponse as error:
            if idempotent:
                raise
            raise OutcomeUnknown.because(str(error), error.response) from error

    def _prepared(self, session: Session) -> requests.PreparedRequest:
        rewind = getattr(self.arguments.get("data"), "seek", None)
        if rewind is not None:
            rewind(0)
        request = requests.Request(self.method, self.url, auth=self.auth, **self.arguments)
        try:
            return session.prepare_request(request)
        except requests.exceptions.InvalidHeader:
            raise self._invalid_header from None
        except requests.exceptions.InvalidURL:
            message = f"{self.label}: '{self.url}' is not a valid address; check the URL setting"
            raise SettingError(message) from None

    def _send(
        self,
        session: Session,
        prepared: requests.PreparedRequest,
        transmission: Transmission,
    ) -> requests.Response:
        settings = session.merge_environment_settings(
            prepared.url, {}, stream=True, verify=None, cert=None
        )
        transmission.proxy = select_proxy(str(prepared.url), settings["proxies"])
        self.stats.requests += 1
        try:
            return self._transmit(session, prepared, transmission, settings)
        except _SEND_ERRORS as error:
            setting_error = self._setting_error(error, transmission.proxy)
            if setting_error is None:
                raise
            raise setting_error from None  # a header is in some messages

    def _transmit(
        self,
        session: Session,
        prepared: requests.PreparedRequest,
        transmission: Transmission,
        settings: dict[str, Any],
    ) -> requests.Response:
        try:
            with observed(transmission):
                return session.send(prepared, timeout=self._timeouts, **settings)
        finally:
            self._count_bytes(prepared, transmission)

    def _count_bytes(self, prepared: requests.PreparedRequest, transmission: Transmission) -> None:
        if transmission.begun:
            self.stats.bytes += int(prepared.headers.get("Content-Length") or 0)

    @property
    def _timeouts(self) -> urllib3.Timeout:
        timeout = self.limits.request_timeout_seconds
        return urllib3.Timeout(
            connect=min(timeout, _CONNECT_TIMEOUT_SECONDS),
            read=min(timeout, _MAX_READ_TIMEOUT_SECONDS),
        )

    def _setting_error(self, error: Exception, proxy: str | None) -> SettingError | None:
        """Return the error of the setting or variable that made sending fail, if one did."""
        if isinstance(
            error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidProxyURL)
        ):
            return invalid_proxy(self.label, proxy, error)
        if isinstance(error, (requests.exceptions.InvalidURL, LocationValueError, TypeError)):
            return None if proxy is None else invalid_proxy(self.label, proxy, error)
        if isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
            if proxy is None or self.reachability.has_responded or not is_unreachable(error):
                return None
            return invalid_proxy(self.label, proxy, error)
        if isinstance(error, ValueError):  # from http.client
            return self._invalid_header
        return SettingError(f"{self.label}: {error}; correct REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE")

    def _note_token(self, http_response: requests.Response) -> None:
        self.reachability.has_responded = True
        if not isinstance(self.auth, TokenAuth):
            return
        header = http_response.request.headers.get("Authorization")
        if http_response.status_code != _UNAUTHORIZED:
            self.auth.accept(header)
            return
        was_fresh = self.auth.reject(header)
        if self._rejected_tokens and was_fresh:
            self._rejected_renewals += 1
        self._rejected_tokens += 1

    @property
    def _may_renew_token(self) -> bool:
        """Whether to get another token after a 401: not if two new ones in a row were rejected."""
        return (
            isinstance(self.auth, TokenAuth)
            and self._rejected_renewals < _MAX_REJECTED_RENEWALS
            and self._rejected_tokens <= self.limits.max_attempts
        )

    def _after_broken_connection(
        self, error: Exception, transmission: Transmission, *, idempotent: bool
    ) -> _FailedAttempt:
        """Decide how to continue after an attempt without a complete response."""
        if is_untrusted(error):
            raise HttpError(
                f"{self.label}: {self._host} could not be trusted ({cause(error)}); for a "
                "private certificate authority, point REQUESTS_CA_BUNDLE to its certificate"
            ) from error
        if not transmission.begun:
            if transmission.proxy is not None and is_unreachable(error):
                return _FailedAttempt(proxy_problem(transmission.proxy, error), None)
            reason = f"no connection to {self._host} ({cause(error)})"
            return _FailedAttempt(f"{reason}; check setting '{self.url_setting}'", None)
        if idempotent:
            return _FailedAttempt(cause(error), None)
        if isinstance(error, AttemptFailed):
            reason = cause(error)
        else:
            reason = (
                f"the connection to {self._host} broke after the request was sent ({cause(error)})"
            )
        raise OutcomeUnknown.because(f"{self.label}: {reason}") from error

    def _after_error_status(self, response: Response, *, idempotent: bool) -> _FailedAttempt:
        """Decide how to continue after a response that is not 2xx."""
        status = response.status
        reason = f"status {status}" + (f": {response.head}" if response.body else "")
        if status == _UNAUTHORIZED and self._may_renew_token:
            return _FailedAttempt(reason, response, at_once=True)
        if self.is_final is not None and self.is_final(response):
            raise RequestRejected.by_status(f"{self.label}: rejected with {reason}", response)
        if status == _TOO_MANY_REQUESTS:
            return _FailedAttempt(reason, response)
        if status == _REQUEST_TIMEOUT or status >= _FIRST_SERVER_ERROR:
            if not idempotent:
                raise OutcomeUnknown.because(f"{self.label}: {reason}", response)
            return _FailedAttempt(reason, response)
        raise RequestRejected.by_status(f"{self.label}: rejected with {reason}", response)

    def read(self, http_response: requests.Response, max_bytes: int) -> Response:
        """Read a body into memory.

        Raises:
            InvalidResponse: It is larger than ``max_bytes``.
        """
        response, is_complete = self._read(http_response, max_bytes)
        if not is_complete:
            message = f"{self.label}: the response is larger than {max_bytes} bytes"
            raise InvalidResponse(message, response)
        return response

    def _read(self, http_response: requests.Response, max_bytes: int) -> tuple[Response, bool]:
        """Return a response with at most ``max_bytes`` of its body, and whether that is all."""
        body, is_complete = read_body(http_response, max_bytes)
        response = Response(self.label, http_response.status_code, http_response.headers, body)
        return response, is_complete

    @property
    def _invalid_header(self) -> SettingError:
        return SettingError(
            f"{self.label}: a credential, or the setting 'user_agent', contains a character that "
            "headers cannot contain"
        )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class _FailedAttempt:
    """Why an attempt failed."""

    reason: str
    response: Response | None
    at_once: bool = False
