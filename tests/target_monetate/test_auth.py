from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from singer_martech.http.client import HttpClient
from singer_martech.http.errors import LoginRejected, RequestRejected, RetriesExhausted
from singer_martech.http.settings import HttpSettings
from singer_martech.runtime.redaction import redact
from target_monetate.auth import Assertion, Login
from target_monetate.client import MonetateClient
from target_monetate.private_key import read_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox

REFRESH = "/api/auth/v0/refresh/"


def client_of(monetate: Monetate, **options: Any) -> MonetateClient:
    given = {
        "retailer": monetate.retailer,
        "username": monetate.username,
        "private_key": read_key(monetate.private_key_pem, None, "private_key"),
        "api_url": monetate.api_url,
        **options,
    }
    return MonetateClient(**given)


def logins(monetate: Monetate) -> list[Any]:
    return monetate.requests_to(REFRESH)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_each_algorithm_gets_a_token(monetate: Monetate, algorithm: str) -> None:
    client = client_of(monetate, algorithm=algorithm)
    assert client.dataset("orders").unique_key == "order_id"
    assert [request.status for request in logins(monetate)] == [200]


def test_the_token_lives_as_long_as_was_asked_for(monetate: Monetate) -> None:
    client_of(monetate, token_ttl_seconds=900.5).dataset("orders")
    assert logins(monetate)[0].query == {"ttl": "900"}


def test_one_token_serves_all_requests(monetate: Monetate) -> None:
    client = client_of(monetate)
    client.dataset("orders")
    client.dataset("orders")
    assert len(logins(monetate)) == 1


def test_a_token_is_renewed_before_the_vendor_rejects_it(monetate: Monetate) -> None:
    monetate.token_lifetime = 1e-6
    client = client_of(monetate)
    with pytest.raises(RequestRejected):
        client.dataset("orders")
    monetate.token_lifetime = None
    tries = len(monetate.requests)
    client.dataset("orders")
    assert [request.status for request in monetate.requests[tries:]] == [200, 200]


SKEW = 1000


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (lambda _: {"expires_in": 100}, 100),
        (lambda now: {"expires_at": now + 100}, 100),
        (lambda now: {"issued_at": now + SKEW, "expires_at": now + SKEW + 100}, 100),
        (lambda now: {"expires_at": now + 100, "expires_in": 50}, 50),
        (
            lambda _: {"issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:01:40Z"},
            100,
        ),
        (lambda _: {"expires_at": "soon", "expires_in": None}, 900),
        (lambda _: {}, 900),
    ],
)
def test_the_shortest_stated_lifetime_counts_regardless_of_the_local_clock(
    monetate: Monetate, sandbox: Sandbox, said: Any, seconds: float
) -> None:
    now = time.time()
    body = {"meta": {"code": 200}, "data": {"token": "t-1234567", **said(now)}}
    sandbox.faults.add("monetate", REFRESH, status=200, body=body)
    key = read_key(monetate.private_key_pem, None, "private_key")
    assertion = Assertion(monetate.username, key, "RS256")
    token = Login(HttpClient(), monetate.api_url, assertion, 900).token()
    assert token.expires_at == pytest.approx(now + seconds, abs=20)


@pytest.mark.parametrize("data", [{}, {"token": ""}, [], None])
def test_a_response_without_token_is_not_a_login(
    monetate: Monetate, sandbox: Sandbox, data: Any
) -> None:
    sandbox.faults.add("monetate", REFRESH, status=200, body={"meta": {}, "data": data})
    with pytest.raises(RetriesExhausted, match=r"login: .*(holds no token|is not Monetate's)"):
        client_of(monetate, settings=HttpSettings(max_attempts=1)).dataset("orders")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"token": "t-1234567", "expires_in": -%s}' % ("9" * 400), "lifetime of the access"),
        ('{"token": "t-1234567", "expires_in": NaN}', "lifetime of the access"),
        ('{"token": "t-1234567\\ud800"}', "characters that headers cannot contain"),
        ('{"token": "t-1234567\\u0000"}', "characters that headers cannot contain"),
    ],
)
def test_a_token_that_cannot_be_used_is_not_a_login(
    monetate: Monetate, sandbox: Sandbox, data: str, reason: str
) -> None:
    body = f'{{"meta": {{"code": 200}}, "data": {data}}}'
    sandbox.faults.add("monetate", REFRESH, status=200, body=body)
    with pytest.raises(RetriesExhausted, match=f"Monetate login: .*{reason}") as raised:
        client_of(monetate, settings=HttpSettings(max_attempts=1)).dataset("orders")
    assert "t-1234567" not in str(raised.value)


def test_a_rejected_token_is_renewed_once(monetate: Monetate) -> None:
    client = client_of(monetate)
    client.dataset("orders")
    monetate.expire_tokens()
    client.dataset("orders")
    statuses = [request.status for request in monetate.requests]
    assert statuses == [200, 200, 401, 200, 200]


def test_two_rejected_logins_in_a_row_end_the_run(monetate: Monetate, sandbox: Sandbox) -> None:
    sandbox.faults.add("monetate", "/schema/", status=401, times=None)
    with pytest.raises(RequestRejected, match=r"status 401.*check setting 'username'.*public key"):
        client_of(monetate).dataset("orders")
    assert len(monetate.requests_to("/schema/")) == 3
    assert len(logins(monetate)) == 3


def test_an_unknown_key_is_an_error_with_advice(monetate: Monetate) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(LoginRejected, match=r"login: rejected with status 401.*public key of"):
        client_of(monetate, private_key=other).dataset("orders")
    assert len(monetate.requests) == 1


def test_a_revoked_key_stops_with_the_advice_to_check_it(monetate: Monetate) -> None:
    monetate.revoke_key()
    with pytest.raises(LoginRejected, match=r"status 403: .*check that the API key of 'username'"):
        client_of(monetate).dataset("orders")
    assert len(monetate.requests) == 1


def test_a_wrong_clock_is_named(monetate: Monetate, sandbox: Sandbox) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    sandbox.faults.add("monetate", REFRESH, status=401, headers={"Date": date})
    with pytest.raises(LoginRejected, match=r"this machine's clock is \d+ s (fast|slow)"):
        client_of(monetate).dataset("orders")


def test_login_is_repeated_while_the_vendor_is_busy(monetate: Monetate, sandbox: Sandbox) -> None:
    sandbox.faults.add("monetate", REFRESH, status=503, retry_after=0.01, times=2)
    client_of(monetate).dataset("orders")
    assert [request.status for request in logins(monetate)] == [503, 503, 200]


def test_tokens_are_never_shown(monetate: Monetate) -> None:
    client_of(monetate).dataset("orders")
    (token,) = monetate.tokens.live
    assert token not in redact(f"Authorization: Token {token}")


class Vendor(BaseHTTPRequestHandler):
    """Records assertions and rejects the first."""

    assertions: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.assertions.append(self.headers["Authorization"])
        first = len(self.assertions) == 1
        self.send_response(503 if first else 403)
        self.send_header("Retry-After", "1.1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *parts: Any) -> None:
        """Log nothing."""


@pytest.fixture
def vendor_url() -> Iterator[str]:
    Vendor.assertions.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_assertion_is_signed_right_before_it_is_sent(
    monetate: Monetate, vendor_url: str
) -> None:
    client = client_of(monetate, api_url=vendor_url, settings=HttpSettings(max_attempts=2))
    started = time.time()
    with pytest.raises(LoginRejected):
        client.dataset("orders")
    claims = []
    for header in Vendor.assertions:
        scheme, _, assertion = header.partition(" ")
        assert scheme == "JWT"
        claims.append(jwt.decode(assertion, monetate.public_key_pem, algorithms=["RS256"]))
    assert [each["username"] for each in claims] == [monetate.username] * 2
    assert claims[1]["iat"] > int(started)
    assert claims[1]["iat"] > claims[0]["iat"]
    assert set(claims[0]) == {"username", "iat"}
