"""Connections that record whether a request was begun, and the meaning of their errors.

Whether a request may have reached the vendor cannot be inferred from the class of an
exception: behind a proxy, the same class covers both cases. So the connection itself records
when it writes the first bytes of a request.
"""

from __future__ import annotations

import functools
import http.client
import io
import ssl
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection
from urllib3.util.response import assert_header_parsing
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.ssl_match_hostname import CertificateError

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.http.errors import AttemptFailed
from singer_martech.http.response import HEAD_CHARACTERS
from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_HEAD_BYTES = 256 * 1024
_MAX_LENGTH = 2**63 - 1
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL_STATUS = 200
_CERTIFICATE_FILE_LIBRARIES = frozenset({"PEM", "X509"})


@dataclass
class Transmission:
    """One attempt to send a request.

    Attributes:
        begun: Whether bytes of the request may have left this machine.
        proxy: The address of the proxy that it uses, if any.
    """

    begun: bool = False
    proxy: str | None = None


_current: ContextVar[Transmission | None] = ContextVar("transmission", default=None)


@contextmanager
def observed(transmission: Transmission) -> Iterator[None]:
    """Record in ``transmission`` what this thread sends."""
    token = _current.set(transmission)
    try:
        yield
    finally:
        _current.reset(token)


class ObservingAdapter(HTTPAdapter):
    """Opens connections that record when a request begins, directly and through proxies.

    Args:
        pool_size: Maximum idle connections per host.
    """

    def __init__(self, pool_size: int) -> None:
        self._pools: dict[tuple[str, str], Any] = {}
        super().__init__(pool_maxsize=pool_size, max_retries=urllib3.Retry(total=False))

    @override
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, and return the response before its body is read.

        Args:
            request: The request.
            stream: Not used.
            timeout: An ``urllib3.Timeout``.
            verify: As in requests; it must be the same for all requests to a host.
            cert: See ``verify``.
            proxies: See ``verify``.

        Raises:
            urllib3.exceptions.HTTPError: There is no response.
        """
        url = str(request.url)
        host = urlsplit(url)[:2]
        pool: Any = self._pools.get(host)
        if pool is None:
            pool = self.get_connection_with_tls_context(request, verify, proxies, cert)
            self.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
            _share_authorities(pool)
            self._pools[host] = pool
        response = requests.Response()
        response.raw = pool.urlopen(
            request.method,
            request.path_url,
            body=request.body,
            headers=request.headers,
            retries=self.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )
        response.status_code = response.raw.status
        response.headers = CaseInsensitiveDict(response.raw.headers)
        response.url = url
        response.request = request
        return response

    @override
    def close(self) -> None:
        self._pools.clear()
        super().close()

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _observe(self.poolmanager)

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        _observe(manager)
        return manager


def _observe(manager: urllib3.PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {name: _observing(pool) for name, pool in pools.items()}


@functools.cache
def _observing(pool: Any) -> Any:
    if issubclass(pool.ConnectionCls, _ObservedConnection):
        return pool
    connection = type("ObservedConnection", (_ObservedConnection, pool.ConnectionCls), {})
    return type(f"Observed{pool.__name__}", (pool,), {"ConnectionCls": connection})


def _share_authorities(pool: Any) -> None:
    """Let the connections of a pool share the certificate authorities of all others.

    Otherwise each would read them from their file, which takes longer than the handshake.
    """
    is_proxy_encrypted = pool.proxy is not None and pool.proxy.scheme == "https"
    if pool.scheme == "https" and not is_proxy_encrypted:
        pool.conn_kw["ssl_context"] = _context(pool.ca_certs, pool.ca_cert_dir)
        pool.ca_certs = pool.ca_cert_dir = None


@functools.cache
def _context(ca_certs: str | None, ca_cert_dir: str | None) -> ssl.SSLContext:
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(ca_certs, ca_cert_dir)
    return context


class _ResponseReader(io.BufferedReader):
    """Keeps the last line that was read, and limits the lines before, between and after the data.

    http.client and urllib3 would read interim responses, the headers of a proxy's response, and
    lines after the last chunk without end.
    """

    last_line = b""
    _line_bytes = 0

    @override
    def readline(self, size: int | None = -1, /) -> bytes:
        self.last_line = super().readline(size)
        self._line_bytes += len(self.last_line)
        if self._line_bytes > _MAX_HEAD_BYTES:
            raise http.client.HTTPException(
                f"the response has more than {_MAX_HEAD_BYTES} bytes of headers"
            )
        return self.last_line

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # the size of a chunk can be negative
            raise http.client.HTTPException("the response has a chunk of an invalid size")
        self._line_bytes = 0
        return super().read(size)


class _FinalResponse(http.client.HTTPResponse):
    """Skips interim responses (1xx), and requires a complete head.

    http.client itself skips only status 100, and takes a head that is cut for a complete one: its
    body, whose length is then unknown, would be taken for an empty one.
    """

    fp: _ResponseReader = None  # type: ignore[assignment] # close needs it if __init__ fails

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = _ResponseReader(self.fp.detach())

    @override
    def begin(self) -> None:
        self._read_head()
        while self.status < _FIRST_FINAL_STATUS and self.status != _SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment] # as before the first
            self._read_head()

    def _read_head(self) -> None:
        super().begin()
        if self.fp.last_line.rstrip(b"\r\n") or not self.fp.last_line:
            raise http.client.RemoteDisconnected(
                "the connection was closed within the head of the response"
            )
        with suppress(urllib3.exceptions.HeaderParsingError):
            assert_header_parsing(self.headers)
            return self._check_length()
        raise http.client.HTTPException("the head of the response has a malformed line")

    def _check_length(self) -> None:
        """Require lengths that are numbers.

        http.client would wait until the connection is closed, also for ``2, 2``.
        """
        if self.chunked or self.length == 0:
            return
        for header in self.headers.get_all("Content-Length", []):
            with suppress(ValueError):
                lengths = [int(value) for value in header.split(",")]
                if min(lengths) >= 0 and max(lengths) <= _MAX_LENGTH:
                    self.length = lengths[0]
                    continue
            raise http.client.HTTPException(
                f"the response has an invalid Content-Length: '{header}'"
            )


class _ObservedConnection(HTTPConnection):
    response_class = _FinalResponse
    _is_connecting = False

    @override
    def connect(self) -> None:
        self._is_connecting = True  # until then, only a proxy's CONNECT is sent
        try:
            super().connect()
        finally:
            self._is_connecting = False

    @override
    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        transmission = _current.get()
        if transmission is not None and not self._is_connecting:
            transmission.begun = True
        super().send(data)


def is_untrusted(error: BaseException) -> bool:
    """Whether a certificate failed verification; any other TLS error is a broken connection."""
    return any(
        isinstance(each, (ssl.SSLCertVerificationError, CertificateError))
        or (isinstance(each, ssl.SSLError) and each.library in _CERTIFICATE_FILE_LIBRARIES)
        for each in _chain(error)
    )


def is_unreachable(error: BaseException) -> bool:
    """Whether no connection could be opened: no server listens, or the name is unknown."""
    return any(isinstance(each, urllib3.exceptions.NewConnectionError) for each in _chain(error))


def cause(error: BaseException) -> str:
    """Return the innermost reason of a broken connection as a short text."""
    if isinstance(error, AttemptFailed):
        return redacted_head(str(error), HEAD_CHARACTERS)
    if isinstance(error, urllib3.exceptions.TimeoutError) and not is_unreachable(error):
        return "no response in time"
    # For a malformed chunk, the innermost error is that of int().
    innermost = [each for each in _chain(error) if type(each) is not ValueError][-1]
    return redacted_head(str(innermost), HEAD_CHARACTERS) or type(innermost).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first."""
    passed: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in passed:
        passed.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
        # Our own errors belong to an earlier request that the caller is handling.
        if isinstance(following, (AttemptFailed, MartechError)):
            return
