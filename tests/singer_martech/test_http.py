from __future__ import annotations

import gc
import gzip
import io
import os
import signal
import socket
import threading
import time
import zlib
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from singer_martech.errors import MartechError, SettingError, Stopped
from singer_martech.http import errors
from singer_martech.http.auth import HeaderAuth, NoAuth, Token, TokenAuth
from singer_martech.http.client import MEBIBYTE, HttpClient
from singer_martech.http.content import json_body
from singer_martech.http.errors import (
    IncompleteBody,
    InvalidResponse,
    LoginRejected,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    RetriesExhausted,
)
from singer_martech.http.settings import HttpSettings
from singer_martech.http.stats import RequestStats
from singer_martech.runtime.redaction import register_secret
from singer_martech.runtime.shutdown import ShutdownSignal
from tests.kit.scripted_server import RESET, SILENCE, Reply, ScriptedServer
from tests.kit.web import RawServer, unending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_martech.http.response import Response

PATIENT = HttpSettings(request_timeout_seconds=5, max_attempts=3, max_rate_limit_wait_seconds=30)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(PATIENT)
    yield client
    client.close()


def post(client: HttpClient, server: ScriptedServer, *, idempotent: bool = True) -> Response:
    return client.request(
        "POST", f"{server.url}/things", label="sending things", data=b"abc", idempotent=idempotent
    )


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_temporary_failure_is_retried(
    client: HttpClient, server: ScriptedServer, status: int
) -> None:
    server.script(Reply(status), Reply(200, b'{"done": true}'))
    stats = RequestStats()
    response = client.request("POST", server.url, label="sending", data=b"abc", stats=stats)
    assert json_body(response) == {"done": True}
    assert [each.body for each in server.received] == [b"abc", b"abc"]
    assert (stats.requests, stats.retries, stats.bytes) == (2, 1, 6)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_a_rejected_request_is_never_retried(
    client: HttpClient, server: ScriptedServer, status: int
) -> None:
    server.script(Reply(status, b"no such thing"))
    with pytest.raises(
        RequestRejected, match=f"sending things: rejected with status {status}: no such"
    ):
        post(client, server)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (402, errors.PaymentRequired),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.MethodNotAllowed),
        (409, errors.Conflict),
        (410, errors.RequestRejected),
        (413, errors.PayloadTooLarge),
        (422, errors.UnprocessableContent),
    ],
)
def test_a_rejection_has_an_error_class_by_status(
    client: HttpClient, server: ScriptedServer, status: int, error: type[Exception]
) -> None:
    server.script(Reply(status, b"no"))
    with pytest.raises(RequestRejected) as caught:
        post(client, server)
    assert type(caught.value) is error
    assert type(caught.value.with_message("in other words")) is error


@pytest.mark.parametrize("status", [300, 304, 307])
def test_a_redirect_without_a_location_is_an_error(
    client: HttpClient, server: ScriptedServer, status: int
) -> None:
    server.script(Reply(status, b""))
    with pytest.raises(RequestRejected):
        post(client, server)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_write_request_does_not_follow_redirects(
    client: HttpClient, server: ScriptedServer, status: int
) -> None:
    server.script(Reply(status, b"", {"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(RequestRejected, match="check the URL setting"):
        post(client, server)
    assert len(server.received) == 1


def test_a_read_follows_redirects_without_credentials_for_another_host(
    server: ScriptedServer,
) -> None:
    with ScriptedServer() as other:
        server.script(Reply(302, b"", {"Location": f"{other.url}/there"}))
        client = HttpClient(PATIENT, auth=HeaderAuth("Bearer topsecret"))
        client.request("GET", server.url, label="reading")
        client.close()
        assert server.received[0].headers["authorization"] == "Bearer topsecret"
        assert "authorization" not in other.received[0].headers


def test_a_read_is_not_redirected_to_plain_http_on_another_host(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(302, b"", {"Location": "http://example.com/there"}))
    with pytest.raises(RequestRejected, match="not https"):
        client.request("GET", server.url, label="reading")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "location", ["/\xff", "http://[", "https://a:99999999/", "https://a:b/", "http://a\x1b[31mb/"]
)
def test_a_redirect_to_a_malformed_address_is_named(
    client: HttpClient, server: ScriptedServer, method: str, location: str
) -> None:
    server.script(Reply(307, b"", {"Location": location}))
    with pytest.raises(RequestRejected, match="redirects to a malformed address") as caught:
        client.request(method, server.url, label="sending")
    assert str(caught.value).endswith(f", {location!a}; check the URL setting")
    assert len(server.received) == 1


@pytest.mark.parametrize("location", ["http://[", "x:y", "http://example.com/", "/", ""])
def test_a_redirect_that_cannot_be_followed_leaves_no_connection_open(
    client: HttpClient, server: ScriptedServer, location: str
) -> None:
    server.script(*[Reply(302, b"a body", {"Location": location})] * 40)
    with pytest.raises(MartechError):
        client.request("GET", server.url, label="reading")
    client.close()
    gc.collect()  # of an open connection, Python warns here


def test_attempts_end_with_max_attempts(client: HttpClient, server: ScriptedServer) -> None:
    server.script(Reply(503, b"down"))
    with pytest.raises(
        RetriesExhausted, match=r"gave up after 3 attempts \(max_attempts\).*503: down"
    ):
        post(client, server)
    assert len(server.received) == 3


def test_responses_with_status_429_do_not_count_as_attempts(
    client: HttpClient, server: ScriptedServer
) -> None:
    limited = Reply(429, headers={"Retry-After": "0.01"})
    server.script(Reply(500), *[limited] * 10, Reply(500), Reply(200))
    assert post(client, server).status == 200
    assert len(server.received) == 13


def test_429_responses_are_waited_out_up_to_the_limit(server: ScriptedServer) -> None:
    server.script(Reply(429, headers={"Retry-After": "31"}))
    client = HttpClient(PATIENT)
    with pytest.raises(RateLimited, match=r"max_rate_limit_wait_seconds \(30\)"):
        post(client, server)
    client.close()
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_respected(
    client: HttpClient, server: ScriptedServer, status: int
) -> None:
    server.script(Reply(status, headers={"Retry-After": "1.2"}), Reply(200))
    began = time.monotonic()
    post(client, server)
    assert time.monotonic() - began >= 1.2


def test_retry_after_as_a_date_is_respected(client: HttpClient, server: ScriptedServer) -> None:
    when = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=2)
    server.script(Reply(429, headers={"Retry-After": format_datetime(when, usegmt=True)}), Reply())
    post(client, server)
    assert datetime.now(timezone.utc) >= when


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "-5", "nan", "inf", ""),
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    ],
)
def test_an_invalid_retry_after_is_ignored(
    client: HttpClient, server: ScriptedServer, text: str
) -> None:
    server.script(Reply(503, headers={"Retry-After": text}), Reply())
    assert post(client, server).status == 200


def test_a_broken_connection_is_retried(client: HttpClient, server: ScriptedServer) -> None:
    server.script(Reply(RESET), Reply(200, b"{}" * 1000, cut=True), Reply())
    assert post(client, server).status == 200
    assert len(server.received) == 3


def test_a_connection_error_names_the_host() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        client = HttpClient(HttpSettings(max_attempts=1))
        with pytest.raises(RetriesExhausted, match=f"no connection to {host} .*refused"):
            client.request("GET", f"http://{host}/", label="reading")
        client.close()


def test_a_connection_broken_during_error_handling_is_retried(
    client: HttpClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(Reply(200, b"{}" * 1000, cut=True), Reply(RESET), Reply())
    try:
        post(client, server, idempotent=False)
    except OutcomeUnknown as lost:
        try:
            raise lost from lost  # as when a failure is wrapped
        except OutcomeUnknown:
            assert post(client, server).status == 200
    assert len(server.received) == 3
    assert "Connection reset by peer" in caplog.text


def test_a_timeout_counts_as_a_failed_attempt(server: ScriptedServer) -> None:
    server.script(Reply(SILENCE))
    client = HttpClient(HttpSettings(request_timeout_seconds=1, max_attempts=2))
    with pytest.raises(RetriesExhausted, match="no response in time"):
        post(client, server)
    client.close()
    assert len(server.received) == 2


@pytest.mark.parametrize("reply", [Reply(RESET), Reply(500), Reply(503), Reply(408)])
def test_a_non_idempotent_request_is_not_repeated_if_it_may_have_been_accepted(
    client: HttpClient, server: ScriptedServer, reply: Reply
) -> None:
    server.script(reply, Reply())
    with pytest.raises(OutcomeUnknown, match="unknown"):
        post(client, server, idempotent=False)
    assert len(server.received) == 1


def test_a_non_idempotent_request_is_repeated_if_it_was_certainly_not_accepted(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(429, headers={"Retry-After": "0.01"}), Reply())
    assert post(client, server, idempotent=False).status == 200
    assert len(server.received) == 2


def test_a_non_idempotent_request_is_repeated_if_no_connection_was_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = HttpClient(PATIENT)
    with pytest.raises(RetriesExhausted):
        client.request(
            "POST", f"http://127.0.0.1:{port}", label="sending", data=b"abc", idempotent=False
        )
    client.close()


def test_requests_to_one_url_share_no_body_and_no_credentials(
    client: HttpClient, server: ScriptedServer
) -> None:
    bodies_and_auth = [
        (b"x", HeaderAuth("Token 1")),
        (b"x" * 20, HeaderAuth("Token 2")),
        (b"", NoAuth()),
    ]
    for body, auth in bodies_and_auth:
        client.request("POST", f"{server.url}/things", label="sending", data=body, auth=auth)
    sent = [
        (each.body, each.headers["content-length"], each.headers.get("authorization"))
        for each in server.received
    ]
    assert sent == [(b"x", "1", "Token 1"), (b"x" * 20, "20", "Token 2"), (b"", "0", None)]


@pytest.mark.parametrize(
    "cookie", ["balancer=1", f"a=b; expires=Mon, 01-Jan-{'2' * 5000} 00:00:00 GMT"], ids=len
)
def test_cookies_are_neither_parsed_nor_kept(
    client: HttpClient, server: ScriptedServer, cookie: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Set-Cookie": cookie}
    elsewhere = {**headers, "Location": "/there"}
    server.script(Reply(headers=headers), Reply(302, b"", elsewhere), Reply(headers=headers))
    post(client, server)
    client.request("GET", f"{server.url}/things", label="reading")
    post(client, server)
    assert len(server.received) == 4
    assert all("cookie" not in each.headers for each in server.received)
    assert caplog.text == ""


def test_a_non_idempotent_request_uses_a_new_connection(
    client: HttpClient, server: ScriptedServer
) -> None:
    # an idle connection that the vendor has just closed would look like an unknown outcome
    for _ in range(3):
        post(client, server, idempotent=False)
    assert len({each.connection for each in server.received}) == 3
    for _ in range(3):
        post(client, server)
    assert len({each.connection for each in server.received}) == 4


def test_a_response_can_be_declared_final_for_any_status(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(500, b'{"failed": 1}'), Reply())
    with pytest.raises(RequestRejected) as caught:
        client.request(
            "POST", server.url, label="sending", data=b"a", is_final=lambda a: b"failed" in a.body
        )
    assert caught.value.status == 500
    assert len(server.received) == 1


def test_a_file_is_read_again_for_each_attempt(client: HttpClient, server: ScriptedServer) -> None:
    server.script(Reply(503), Reply())
    client.request("POST", server.url, label="sending", data=io.BytesIO(b"contents"))
    assert [each.body for each in server.received] == [b"contents", b"contents"]


def test_plain_http_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(SettingError, match="https"):
        HttpClient(PATIENT).request("GET", "http://example.com", label="reading")


def test_a_response_that_is_too_large_is_not_read(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(200, b"x" * 1001))
    with pytest.raises(InvalidResponse, match="larger than 1000 bytes"):
        client.request("GET", server.url, label="reading", max_bytes=1000)


def test_a_response_that_is_too_large_leaves_the_outcome_unknown(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(200, b"x" * 1001), Reply())
    with pytest.raises(OutcomeUnknown, match=r"sending: .*larger than 1000 bytes; whether"):
        client.request(
            "POST", server.url, label="sending", data=b"a", max_bytes=1000, idempotent=False
        )
    assert len(server.received) == 1


LARGE = b"large " * MEBIBYTE


def test_the_body_of_an_error_is_cut_before_its_status_is_handled(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(503, LARGE), Reply(429, LARGE, {"Retry-After": "0.01"}), Reply())
    assert post(client, server).status == 200
    assert len({each.connection for each in server.received}) == 3
    server.script(Reply(400, LARGE))
    with pytest.raises(errors.BadRequest, match="rejected with status 400: large large"):
        post(client, server, idempotent=False)
    server.script(Reply(503, LARGE))
    with pytest.raises(OutcomeUnknown, match="status 503: large large"):
        post(client, server, idempotent=False)
    assert len(server.received) == 5


def test_an_error_for_a_response_that_is_not_json_names_the_request(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(200, b"a\n proxy"))
    with pytest.raises(InvalidResponse, match=r"sending things: .*200.* is not JSON: a proxy"):
        json_body(post(client, server))


def test_the_user_agent_is_sent(server: ScriptedServer) -> None:
    client = HttpClient(HttpSettings(user_agent="mine/1"))
    post(client, server)
    client.close()
    assert server.received[0].headers["user-agent"] == "mine/1"
    client = HttpClient()
    post(client, server)
    client.close()
    assert server.received[1].headers["user-agent"].startswith("singer-martech/0.")


@pytest.mark.parametrize("value", ["Bearer a\nb", "Bearer \N{BULLET}\N{BULLET}"])
def test_a_credential_with_characters_not_allowed_in_headers_is_a_setting_error(
    server: ScriptedServer, value: str
) -> None:
    client = HttpClient(PATIENT, auth=HeaderAuth(value))
    with pytest.raises(SettingError, match="contains a character") as caught:
        post(client, server)
    client.close()
    assert value not in str(caught.value)


def test_no_error_contains_a_secret_even_if_the_response_does(server: ScriptedServer) -> None:
    server.script(Reply(400, b"token very-secret-token is wrong"))
    client = HttpClient(PATIENT, auth=HeaderAuth("very-secret-token"))
    with pytest.raises(RequestRejected) as caught:
        post(client, server)
    client.close()
    assert "very-secret-token" not in str(caught.value)
    assert "[secret] is wrong" in str(caught.value)


def stop_when_asked(server: ScriptedServer, shutdown: ShutdownSignal) -> threading.Thread:
    """Request the shutdown in a thread as soon as the server has received a request."""

    def run() -> None:
        while not server.received:
            os.sched_yield()
        shutdown.request(signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_signal_ends_a_wait_immediately(server: ScriptedServer) -> None:
    server.script(Reply(429, headers={"Retry-After": "30"}))
    shutdown = ShutdownSignal()
    client = HttpClient(PATIENT, shutdown=shutdown)
    began = time.monotonic()
    thread = stop_when_asked(server, shutdown)
    with pytest.raises(Stopped) as caught:
        post(client, server)
    thread.join()
    client.close()
    assert caught.value.signum == signal.SIGTERM
    assert time.monotonic() - began < 10


def test_a_signal_does_not_wait_for_a_silent_vendor(server: ScriptedServer) -> None:
    server.script(Reply(SILENCE))
    shutdown = ShutdownSignal()
    client = HttpClient(HttpSettings(request_timeout_seconds=60), shutdown=shutdown)
    began = time.monotonic()
    thread = stop_when_asked(server, shutdown)
    with pytest.raises(Stopped):
        client.request("GET", server.url, label="reading")
    thread.join()
    assert time.monotonic() - began < 10


def test_a_timeout_above_the_socket_limit_is_accepted(server: ScriptedServer) -> None:
    client = HttpClient(HttpSettings(request_timeout_seconds=1e300))
    assert post(client, server).status == 200
    client.close()


def test_bytes_of_a_broken_attempt_are_counted(client: HttpClient, server: ScriptedServer) -> None:
    server.script(Reply(RESET), Reply(200))
    stats = RequestStats()
    client.request("POST", server.url, label="sending", data=b"abc", stats=stats)
    assert stats == RequestStats(requests=2, retries=1, bytes=6)


def test_a_secret_after_long_white_space_is_hidden_in_a_truncated_response(
    client: HttpClient, server: ScriptedServer
) -> None:
    register_secret("a-secret-that-is-cut")
    server.script(Reply(400, b" " * 2390 + b"a-secret-that-is-cut"))
    with pytest.raises(RequestRejected, match=r"400: \[secret\]$"):
        post(client, server)


def test_a_download_restarts_until_it_is_complete(
    client: HttpClient, server: ScriptedServer
) -> None:
    server.script(Reply(200, b"first, too long", cut=True), Reply(200, b"bad"), Reply(200, b"good"))
    into = io.BytesIO()

    def check(_response: Response) -> None:
        if into.getvalue() != b"good":
            raise IncompleteBody("not the end")

    client.download("GET", server.url, label="reading", into=into, check=check)
    assert into.getvalue() == b"good"
    assert len(server.received) == 3


class Tokens:
    """Fetches tokens and counts them."""

    def __init__(self, *lifetimes: float | None) -> None:
        self.lifetimes = list(lifetimes)
        self.fetched: list[Token | None] = []

    def __call__(self, old: Token | None) -> Token:
        self.fetched.append(old)
        now = time.time()
        lifetime = self.lifetimes[min(len(self.fetched), len(self.lifetimes)) - 1]
        expires = None if lifetime is None else now + lifetime
        return Token(f"token-{len(self.fetched)}", expires, now)


def test_a_token_is_fetched_once_and_shared_by_threads(server: ScriptedServer) -> None:
    tokens = Tokens(3600)
    client = HttpClient(PATIENT, auth=TokenAuth(tokens))
    threads = [threading.Thread(target=post, args=(client, server)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert len(tokens.fetched) == 1
    assert {each.headers["authorization"] for each in server.received} == {"Bearer token-1"}


@pytest.mark.parametrize(("lifetime", "age"), [(14400, 14341), (100, 91), (10, 9.5), (0.01, 0.01)])
def test_a_token_is_renewed_before_it_expires_for_any_lifetime(lifetime: float, age: float) -> None:
    now = time.time()
    assert not Token("t", now - age + lifetime, now - age).is_fresh
    assert Token("t", now + lifetime * 10, now).is_fresh


def test_two_rejected_logins_in_a_row_end_the_run(
    server: ScriptedServer,
) -> None:
    server.script(Reply(401), Reply(200), Reply(401))
    client = HttpClient(PATIENT, auth=TokenAuth(Tokens(3600)))
    post(client, server)
    with pytest.raises(errors.Unauthorized):
        post(client, server)
    client.close()
    sent = [each.headers["authorization"] for each in server.received]
    assert sent == [f"Bearer token-{n}" for n in (1, 2, 2, 3, 4)]


def test_tokens_revoked_during_a_run_are_renewed_up_to_max_attempts(server: ScriptedServer) -> None:
    client = HttpClient(PATIENT, auth=TokenAuth(Tokens(3600)))
    server.script(Reply(401), Reply(401), Reply(200))
    assert post(client, server).status == 200
    client.close()
    once = HttpClient(HttpSettings(max_attempts=1), auth=TokenAuth(Tokens(3600)))
    server.script(Reply(401), Reply(401), Reply(200))
    with pytest.raises(errors.Unauthorized):
        post(once, server)
    once.close()


def test_a_token_replaced_by_another_thread_is_not_renewed_again() -> None:
    auth = TokenAuth(Tokens(3600))
    old = f"Bearer {auth.token().value}"
    assert auth.reject(old)
    new = auth.token().value
    assert not auth.reject(old)
    assert auth.token().value == new


def test_a_rejected_refresh_is_followed_by_a_login_immediately(
    server: ScriptedServer,
) -> None:
    replaced: list[str | None] = []

    def fetch(old: Token | None) -> Token:
        replaced.append(None if old is None else old.value)
        return Token(f"token-{len(replaced)}", None, time.time(), "refresh-me")

    client = HttpClient(PATIENT, auth=TokenAuth(fetch))
    server.script(Reply(200), Reply(401), Reply(401), Reply(401), Reply(200))
    post(client, server)
    post(client, server)
    client.close()
    assert replaced == [None, "token-1", None, None]


def test_a_token_of_unknown_lifetime_is_used_until_it_is_rejected(server: ScriptedServer) -> None:
    server.script(Reply(200), Reply(200), Reply(401), Reply(200))
    tokens = Tokens(None)
    client = HttpClient(PATIENT, auth=TokenAuth(tokens))
    for _ in range(3):
        post(client, server)
    client.close()
    assert len(tokens.fetched) == 2


def test_a_rejected_login_is_not_reported_as_a_rejected_request(server: ScriptedServer) -> None:
    server.script(Reply(400, b"unknown client"))
    logins = HttpClient(PATIENT)

    def fetch(_old: Token | None) -> Token:
        logins.request("POST", server.url, label="login", auth=NoAuth())
        raise AssertionError("the login is rejected")

    client = HttpClient(PATIENT, auth=TokenAuth(fetch))
    with pytest.raises(LoginRejected, match="login: rejected with status 400: unknown client"):
        post(client, server)
    logins.close()
    client.close()


HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
PAGES = [
    Reply(200, HTML),
    Reply(200, HTML, {"Content-Type": "application/json"}),
    Reply(200, b"\xef\xbb\xbf \r\n<HTML>"),
    Reply(200, b"<?xml version='1.0'?><html>"),
    Reply(200, b"Welcome to this network", {"Content-Type": "text/html; charset=utf-8"}),
    Reply(200, gzip.compress(HTML), {"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize("page", PAGES)
def test_an_html_page_is_never_success(
    client: HttpClient, server: ScriptedServer, page: Reply
) -> None:
    server.script(page, Reply(200, b"{}"))
    assert post(client, server).body == b"{}"
    server.script(page, Reply(200, b"{}"))
    with pytest.raises(OutcomeUnknown, match="an HTML page"):
        post(client, server, idempotent=False)
    server.script(page, Reply(200, b"row"))
    file = io.BytesIO()
    client.download("GET", server.url, label="a file", into=file)
    assert file.getvalue() == b"row"


def test_json_with_an_html_content_type_is_json(client: HttpClient, server: ScriptedServer) -> None:
    server.script(Reply(200, b"{}", {"Content-Type": "text/html"}))
    assert post(client, server).body == b"{}"
    assert len(server.received) == 1


def reject_empty(response: Response) -> None:
    if not response.body:
        raise errors.UnexpectedContent("it is empty")


def test_a_client_decides_which_responses_are_genuine(server: ScriptedServer) -> None:
    client = HttpClient(PATIENT, validate=reject_empty)
    server.script(Reply(200, b""), Reply(200, b"{}"))
    assert post(client, server).body == b"{}"
    server.script(Reply(200, b""), Reply(200, b"{}"))
    with pytest.raises(OutcomeUnknown, match="sending things: it is empty; whether the request"):
        post(client, server, idempotent=False)
    server.script(Reply(200, b""))
    with pytest.raises(RetriesExhausted, match="it is empty"):
        post(client, server)
    client.close()


def test_an_error_in_a_check_is_not_reported_as_a_bad_credential(
    client: HttpClient, server: ScriptedServer
) -> None:
    def check(_response: Response) -> None:
        raise ValueError("of the check")

    with pytest.raises(InvalidResponse, match=r"a file: .* \(ValueError: of the check\)"):
        client.download("GET", server.url, label="a file", into=io.BytesIO(), check=check)


def test_an_unreadable_token_response_is_not_reported_as_a_bad_credential(
    server: ScriptedServer,
) -> None:
    def fetch(_old: Token | None) -> Token:
        raise ValueError("of the login")

    client = HttpClient(PATIENT, auth=TokenAuth(fetch))
    with pytest.raises(ValueError, match="of the login"):
        post(client, server)
    client.close()


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-Name: a b",
        "HTTP/1.1 201 \r\ncontent-length:2\r\nx-name:  a b \r\nconnection: Keep-Alive",
        "HTTP/1.1 201\r\nContent-Length: 2\r\nX-Name: a b",
        "HTTP/1.0 201 Created\r\nX-Name: a b",
        "HTTP/1.1 201 Created\r\nConnection: close\r\nX-Name: a b",
        "HTTP/1.1 201 Created\r\nX-Name: a\r\n b\r\nContent-Length: 2",
    ],
)
def test_a_head_is_read_in_each_permitted_form(
    client: HttpClient, server: ScriptedServer, head: str
) -> None:
    server.script(Reply(raw=head.encode() + b"\r\n\r\n{}"))
    response = post(client, server)
    name = " ".join(response.headers["X-Name"].split())
    assert (response.status, name, response.body) == (201, "a b", b"{}")


def test_a_head_of_several_segments_is_read(client: HttpClient) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}":
            connection.sendall(bytes([byte]))

    with RawServer(serve) as raw:
        url = f"http://127.0.0.1:{raw.port}"
        assert client.request("GET", url, label="reading").body == b"{}"


def test_interim_responses_are_skipped(client: HttpClient, server: ScriptedServer) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    server.script(Reply(raw=b"HTTP/1.1 102 Processing\r\n\r\n" + interim * 5 + final))
    assert post(client, server, idempotent=False).body == b"{}"


GZIP_START = b"\x1f\x8b\x08\0\0\0\0\0\0\3"
EMPTY_BLOCKS = b"\0\0\0\xff\xff" * 800


@pytest.mark.parametrize("status", ["200 OK", "503 Unavailable"])
@pytest.mark.parametrize(
    ("framing", "start", "endless"),
    [
        (b"X: y", GZIP_START, EMPTY_BLOCKS),
        (
            b"Transfer-Encoding: chunked",
            b"a\r\n%b\r\n" % GZIP_START,
            b"fa0\r\n%b\r\n" % EMPTY_BLOCKS,
        ),
    ],
    ids=["one body", "chunks"],
)
def test_an_endless_body_that_decodes_to_nothing_is_bounded(
    client: HttpClient, status: str, framing: bytes, start: bytes, endless: bytes
) -> None:
    head = b"HTTP/1.1 %b\r\nContent-Encoding: gzip\r\n%b\r\n\r\n" % (status.encode(), framing)
    with RawServer(unending(head + start, endless)) as raw:
        error = InvalidResponse if status == "200 OK" else RetriesExhausted
        with pytest.raises(error):
            client.request(
                "GET", f"http://127.0.0.1:{raw.port}", label="reading", max_bytes=MEBIBYTE
            )


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
        (CHUNKED + b"-1\r\n", b"X: y\r\n"),
    ],
    ids=["100 Continue", "102 Processing", "trailers", "negative chunk"],
)
def test_an_endless_response_is_a_failed_attempt(
    client: HttpClient, start: bytes, endless: bytes
) -> None:
    with RawServer(unending(start, endless)) as raw:
        for idempotent, error in ((True, RetriesExhausted), (False, OutcomeUnknown)):
            with pytest.raises(error, match=r"bytes of headers|chunk of an invalid size"):
                client.request(
                    "POST",
                    f"http://127.0.0.1:{raw.port}",
                    label="sending",
                    data=b"abc",
                    idempotent=idempotent,
                )
        assert raw.accepted == 4


def test_a_body_of_many_chunks_is_read(client: HttpClient, server: ScriptedServer) -> None:
    chunks = b"1;%b\r\n \r\n" % (b"x" * 1000) * 1000
    server.script(Reply(raw=CHUNKED + chunks + b"0\r\nDigest: x\r\n\r\n"))
    assert post(client, server).body == b"{}" + b" " * 1000


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Le",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
    ],
)
def test_a_response_without_a_complete_head_is_a_lost_response(
    client: HttpClient, server: ScriptedServer, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(Reply(raw=head), Reply(body=b"whole"), Reply(raw=head))
    assert post(client, server).body == b"whole"
    with pytest.raises(OutcomeUnknown, match="closed within the head of the response"):
        post(client, server, idempotent=False)
    assert "Traceback" not in caplog.text


def test_a_malformed_header_is_a_failed_attempt(
    client: HttpClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 9\r\n\r\n{}"
    server.script(Reply(raw=head), Reply(body=b"whole"))
    assert post(client, server).body == b"whole"
    assert "the head of the response has a malformed line" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_content_length_beside_chunks_is_ignored(
    client: HttpClient, server: ScriptedServer
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.script(Reply(raw=head + b"2\r\n{}\r\n0\r\n\r\n"))
    assert post(client, server, idempotent=False).body == b"{}"


def test_conflicting_content_lengths_are_an_error(
    client: HttpClient, server: ScriptedServer
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
    server.script(Reply(raw=head))
    with pytest.raises(RetriesExhausted, match="Content-Length contained multiple"):
        post(client, server)
    with pytest.raises(OutcomeUnknown, match="Content-Length contained multiple"):
        post(client, server, idempotent=False)


@pytest.mark.parametrize("length", ["-2", "abc", "", "1, x", "9" * 22, "9" * 5000])
@pytest.mark.parametrize("status", [200, 503])
def test_an_invalid_content_length_is_named_while_the_connection_stays_open(
    status: int, length: str
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{{}}".encode())
        connection.recv(1)  # until the client closes

    named = f"the response has an invalid Content-Length: '{length[:100]}"
    client = HttpClient(HttpSettings(max_attempts=1, request_timeout_seconds=20))
    with RawServer(serve) as raw:
        with pytest.raises(RetriesExhausted, match=named):
            client.request("GET", f"http://127.0.0.1:{raw.port}", label="reading")
        with pytest.raises(OutcomeUnknown, match=named):
            client.request(
                "POST", f"http://127.0.0.1:{raw.port}", label="sending", idempotent=False
            )
    client.close()


@pytest.mark.parametrize(
    ("status", "header", "body"),
    [
        (204, "Content-Length:", b""),
        (200, "Content-Length: +0", b""),
        (200, "Content-Length: 2, 2", b"{}"),
        (200, "Content-Length: 2\r\nContent-Length: 2", b"{}"),
    ],
)
def test_an_unusual_content_length_is_accepted_while_the_connection_stays_open(
    status: int, header: str, body: bytes
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status} X\r\n{header}\r\n\r\n".encode() + body)
        connection.recv(1)  # until the client closes

    client = HttpClient(HttpSettings(max_attempts=1, request_timeout_seconds=20))
    with RawServer(serve) as raw:
        assert client.request("GET", f"http://127.0.0.1:{raw.port}", label="reading").body == body
        client.close()


def test_a_tiny_retry_after_causes_no_busy_loop(server: ScriptedServer) -> None:
    server.script(Reply(429, headers={"Retry-After": "0.0001"}))
    limits = HttpSettings(max_attempts=1, max_rate_limit_wait_seconds=0.5)
    client = HttpClient(limits)
    with pytest.raises(RateLimited):
        post(client, server)
    client.close()
    assert 2 <= len(server.received) <= 6


def bomb() -> bytes:
    """Return 4 GiB in about one kilobyte: compressed four times."""
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(64 * MEBIBYTE)) + deflate.flush(zlib.Z_FULL_FLUSH)
    body = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + block * 64
    for _ in range(3):
        body = gzip.compress(body, 9)
    return body


def test_the_size_of_a_body_compressed_several_times_is_bounded(
    client: HttpClient, server: ScriptedServer
) -> None:
    encodings = {"Content-Encoding": "gzip, gzip, gzip, gzip"}
    elsewhere = {**encodings, "Location": "/there"}
    server.script(Reply(302, bomb(), elsewhere), Reply(200, bomb(), encodings))
    began = time.process_time()
    with pytest.raises(InvalidResponse, match="larger than"):
        client.request("GET", server.url, label="reading", max_bytes=MEBIBYTE)
    assert time.process_time() - began < 2
    assert len(server.received) == 2


@pytest.mark.parametrize("error", [ValueError, KeyError, RecursionError, OverflowError])
@pytest.mark.parametrize(
    ("idempotent", "expected"), [(True, InvalidResponse), (False, OutcomeUnknown)]
)
def test_a_response_that_cannot_be_interpreted_is_an_error_of_its_request(
    client: HttpClient,
    server: ScriptedServer,
    error: type[Exception],
    idempotent: bool,
    expected: type[Exception],
) -> None:
    def validate(_: Response) -> None:
        raise error("odd")

    with pytest.raises(expected, match=r"sending: the response .* cannot be interpreted"):
        client.request(
            "POST", server.url, label="sending", idempotent=idempotent, validate=validate
        )
    assert len(server.received) == 1


@pytest.mark.parametrize("error", [MemoryError, OSError, KeyboardInterrupt])
def test_an_error_of_the_machine_is_not_one_of_the_response(
    client: HttpClient, server: ScriptedServer, error: type[BaseException]
) -> None:
    def validate(_: Response) -> None:
        raise error("injected")

    with pytest.raises(error, match="injected"):
        client.request("POST", server.url, label="sending", idempotent=False, validate=validate)
