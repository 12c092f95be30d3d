"""The session of a client: redirects, proxies and connections."""

from __future__ import annotations

import contextlib
import copy
import io
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from requests.cookies import RequestsCookieJar

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.http.auth import NoAuth
from singer_martech.http.connection import ObservingAdapter, cause, is_unreachable
from singer_martech.http.errors import RequestRejected
from singer_martech.http.response import HEAD_CHARACTERS, Response
from singer_martech.http.urls import is_loopback
from singer_martech.runtime.redaction import redacted_head, register_basic_auth

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_AUTH = NoAuth()


class _NoCookies(RequestsCookieJar):
    """Keeps no cookies: no vendor needs them, and malformed ones would be parsed."""

    @override
    def extract_cookies(self, response: Any, request: Any) -> None:
        """Ignore the cookies of a response."""


class Session(requests.Session):
    """Follows redirects of reads only, and sends no credentials to another host."""

    def __init__(self, user_agent: str, pool_size: int) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self.cookies = _NoCookies()
        self._settings: dict[tuple[str, str], Any] = {}
        self._prepared: dict[tuple[object, ...], requests.PreparedRequest] = {}
        adapter = ObservingAdapter(pool_size)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    @override
    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        # Requests with a body in memory go to few URLs: all but body and credentials is kept.
        if not isinstance(request.data, bytes) or request.params:
            return super().prepare_request(request)
        key = (request.method, request.url, *request.headers.items())
        kept = self._prepared.get(key)
        if kept is None:
            kept = requests.PreparedRequest()
            kept.prepare(
                request.method, request.url, {**self.headers, **request.headers}, auth=_NO_AUTH
            )
            self._prepared[key] = kept
        prepared = copy.copy(kept)
        prepared.headers = kept.headers.copy()
        prepared.body = request.data
        prepared.prepare_auth(request.auth)  # which sets Content-Length, too
        return prepared

    @override
    def send(
        self, request: requests.PreparedRequest, *, allow_redirects: bool = True, **options: Any
    ) -> requests.Response:
        # requests would also call hooks, and keep times and the history
        response = self.get_adapter(str(request.url)).send(request, **options)
        if not (allow_redirects and response.is_redirect):
            return response
        last: requests.Response
        *_, last = self.resolve_redirects(response, request, **options)
        return last

    @override
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if not resp.is_redirect:
            return None
        # before anything fails; requests would read the whole body to reuse the connection
        resp.close()
        resp.raw = urllib3.HTTPResponse(io.BytesIO(), preload_content=False)
        target = self._redirect_target(resp)
        old, new = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
        if resp.request.method not in {"GET", "HEAD"}:
            reason = "a request that writes does not follow redirects"
        elif new.scheme != "https" and not (
            is_loopback(new.hostname) and is_loopback(old.hostname)
        ):
            reason = "that address is not https"
        else:
            return target
        raise _redirect_error(resp, f"{new.scheme}://{new.netloc}, but {reason}")

    def _redirect_target(self, response: requests.Response) -> str:
        try:
            target = super().get_redirect_target(response) or ""
            _ = urlsplit(urljoin(response.url, target)).port
        except ValueError:
            location = redacted_head(response.headers["Location"], HEAD_CHARACTERS)
            raise _redirect_error(response, f"a malformed address, {location!a}") from None
        return target

    @override
    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, http_response: requests.Response
    ) -> None:
        old, new = http_response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)

    @override
    def merge_environment_settings(self, url: Any, *arguments: Any, **options: Any) -> Any:
        # Reading the environment takes longer than most of a request, so it is read once per host.
        parts = urlsplit(url)
        settings = self._settings.get((parts.scheme, parts.netloc))
        if settings is None:
            settings = super().merge_environment_settings(url, *arguments, **options)
            if is_loopback(parts.hostname):
                # A proxy would be another machine, to which the request would go unencrypted.
                settings["proxies"] = {}
            self._settings[parts.scheme, parts.netloc] = settings
        return dict(settings)

    @override
    def rebuild_proxies(
        self, prepared_request: requests.PreparedRequest, proxies: Mapping[str, str] | None
    ) -> Any:
        if is_loopback(urlsplit(prepared_request.url or "").hostname):
            return {}
        return super().rebuild_proxies(prepared_request, proxies)  # type: ignore[no-untyped-call]


def _redirect_error(response: requests.Response, target: str) -> RequestRejected:
    return RequestRejected(
        f"the vendor's address redirects to {target}; check the URL setting",
        Response("redirect", response.status_code, response.headers),
    )


def register_proxy_passwords() -> None:
    """Mask the passwords in the proxy addresses of the environment."""
    for url in urllib.request.getproxies().values():
        with contextlib.suppress(ValueError):  # a malformed address is reported when it is used
            parts = urlsplit(url)
            if parts.password:
                register_basic_auth(parts.username or "", parts.password)
                register_basic_auth(unquote(parts.username or ""), unquote(parts.password))


def invalid_proxy(label: str, proxy: str | None, error: Exception) -> SettingError:
    """Describe a proxy that cannot be used, without its password."""
    return SettingError(f"{label}: {proxy_problem(proxy, error)}")


def proxy_problem(proxy: str | None, error: Exception) -> str:
    """Return why a proxy cannot be used, without its password, and what to do."""
    if is_unreachable(error):
        host = (proxy or "").rstrip("/").rpartition("/")[2].rpartition("@")[2]
        reason = f"the proxy {host} cannot be reached ({cause(error)})"
    elif isinstance(error, requests.exceptions.InvalidSchema):
        reason = "a SOCKS proxy needs the package PySocks"
    else:  # it cannot be parsed, so any part may be a password
        reason = "the address of the proxy is invalid"
    return f"{reason}; correct or unset HTTPS_PROXY, HTTP_PROXY or ALL_PROXY in the environment"
