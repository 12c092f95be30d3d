from __future__ import annotations

import io
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from singer_martech.errors import SettingError
from singer_martech.http import connection
from singer_martech.http.client import MEBIBYTE, HttpClient
from singer_martech.http.errors import HttpError, OutcomeUnknown, RetriesExhausted
from singer_martech.http.settings import HttpSettings
from tests.kit.scripted_server import RESET, Reply
from tests.kit.web import Front, RawServer, certificate, unending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.scripted_server import ScriptedServer

TWICE = HttpSettings(request_timeout_seconds=5, max_attempts=2)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(TWICE)
    yield client
    client.close()


def add(client: HttpClient, url: str, data: bytes = b"abc") -> None:
    """Send a non-idempotent request."""
    client.request("POST", url, label="adding", data=io.BytesIO(data), idempotent=False)


@pytest.mark.parametrize("reply", [Reply(RESET), Reply(200, b"{}" * 50, cut=True), Reply(503)])
def test_behind_a_proxy_a_lost_response_leaves_the_outcome_unknown(
    client: HttpClient,
    server: ScriptedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
) -> None:
    server.script(reply, Reply())
    file = certificate(tmp_path, "vendor.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with Front(file, server.url) as front, Front(behind=front.url) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(OutcomeUnknown, match="adding"):
            add(client, "https://vendor.example")
    assert len(server.received) == 1
    assert proxy.seen


def test_a_proxy_that_refuses_the_tunnel_has_sent_nothing(
    client: HttpClient, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    with RawServer(reject) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(RetriesExhausted, match=r"no connection to vendor\.example .*503"):
            add(client, "https://vendor.example")
    assert proxy.accepted == 2
    assert server.received == []


def test_a_proxy_that_sends_endless_headers_has_sent_nothing(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(unending(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(RetriesExhausted, match=r"no connection to vendor\.example .*headers"):
            add(client, "https://vendor.example")
        assert proxy.accepted == 2


def test_a_proxy_failure_during_a_run_is_retried(
    client: HttpClient, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "vendor.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with Front(file, server.url) as front, Front(behind=front.url) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        add(client, "https://vendor.example")
    reason = (
        r"gave up after 2 attempts .* the proxy 127\.0\.0\.1:\d+ cannot be reached .*HTTPS_PROXY"
    )
    with pytest.raises(RetriesExhausted, match=reason):
        add(client, "https://vendor.example")


def close(connection: socket.socket) -> None:
    connection.recv(1)


def talk_plain(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def alert(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # handshake failure


@pytest.mark.parametrize("fault", [close, talk_plain, alert])
def test_a_broken_tls_handshake_is_a_broken_connection(
    client: HttpClient, fault: Callable[[socket.socket], None]
) -> None:
    with RawServer(fault) as server:
        with pytest.raises(RetriesExhausted, match="no connection to"):
            add(client, f"https://127.0.0.1:{server.port}")
        assert server.accepted == 2


def tls(file: Path, serve: Callable[[ssl.SSLSocket], None]) -> RawServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def run(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            serve(secured)

    return RawServer(run)


def reset_during_upload(connection: ssl.SSLSocket) -> None:
    connection.recv(1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_during_upload(connection: ssl.SSLSocket) -> None:
    connection.recv(1000)


def bad_record(connection: ssl.SSLSocket) -> None:
    connection.recv(65536)
    raw = socket.socket(fileno=connection.detach())
    with raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))


@pytest.mark.parametrize("fault", [reset_during_upload, close_during_upload, bad_record])
def test_a_tls_connection_that_breaks_during_a_request_leaves_the_outcome_unknown(
    client: HttpClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[ssl.SSLSocket], None],
) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with tls(file, fault) as server:
        with pytest.raises(OutcomeUnknown, match="broke after the request was sent"):
            add(client, f"https://127.0.0.1:{server.port}", bytes(20 * MEBIBYTE))
        assert server.accepted == 1


def test_only_a_certificate_that_fails_verification_is_untrusted(
    client: HttpClient, tmp_path: Path
) -> None:
    with tls(certificate(tmp_path), close_during_upload) as server:
        with pytest.raises(HttpError, match="could not be trusted"):
            add(client, f"https://127.0.0.1:{server.port}")
        assert server.accepted == 1


def test_a_file_of_authorities_that_is_missing_is_named(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(SettingError, match=r"missing\.pem; correct REQUESTS_CA_BUNDLE"):
        add(client, "https://127.0.0.1:1")


def test_certificate_authorities_are_read_once_for_all_connections(
    client: HttpClient, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with Front(file, server.url) as front:
        add(client, front.url)
        file.write_bytes(b"")
        add(client, front.url)
    assert len(server.received) == 2


def test_an_invalid_file_of_authorities_is_named(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "invalid.pem"
    file.write_bytes(b"")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with pytest.raises(SettingError, match=r"correct REQUESTS_CA_BUNDLE"):
        add(client, "https://127.0.0.1:1")


def test_a_request_counts_as_started_from_its_first_byte() -> None:
    came = threading.Event()

    def take_one_byte(connection: socket.socket) -> None:
        connection.recv(1)
        came.set()

    client = HttpClient(TWICE)
    with RawServer(take_one_byte) as server, pytest.raises(OutcomeUnknown):
        add(client, f"http://127.0.0.1:{server.port}")
    client.close()
    assert came.is_set()


def test_a_response_that_had_no_memory_to_begin_can_be_closed() -> None:
    response_class = connection._FinalResponse  # noqa: SLF001 - Python makes and closes it
    response_class.__new__(response_class).close()
