"""Servers between a client and a vendor: a TLS front, a proxy, and raw sockets."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import selectors
import socket
import ssl
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self


def certificate(folder: Path, *addresses: str, days: int = 1) -> Path:
    """Write a key and a self-signed certificate for addresses and host names to one file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = addresses or ("127.0.0.1",)
    names = x509.SubjectAlternativeName([_name(address) for address in addresses])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"certificate-{days}-{addresses[0]}.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


def _name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


class RawServer:
    """Passes each accepted connection to a function; a context manager.

    Args:
        serve: The function.
        in_threads: Whether each connection has its own thread.

    Attributes:
        port: The loopback port.
        accepted: The number of connections.
    """

    def __init__(
        self, serve: Callable[[socket.socket], object], *, in_threads: bool = False
    ) -> None:
        self._serve = serve
        self._in_threads = in_threads
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            if self._in_threads:
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()
            else:
                self._handle(connection)

    def _handle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(connection)


def unending(start: bytes, endless: bytes) -> Callable[[socket.socket], None]:
    """Return a function for ``RawServer``: it repeats bytes until the client has closed."""
    block = endless * (65536 // len(endless))

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(start)
        while True:
            connection.sendall(block)

    return serve


class Front:
    """Forwards requests to another server and records them; a context manager.

    With a certificate it is a TLS front of a vendor, without one a proxy.

    Args:
        certificate: A file with its key and certificate, or None for plain HTTP.
        behind: The server for requests and tunnels; None: the one that the client names.
    """

    def __init__(self, certificate: Path | None = None, behind: str | None = None) -> None:
        self.seen: list[str] = []
        self.behind = behind
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            front.seen.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.removeprefix("http://vendor.example")
            url = path if front.behind is None else front.behind + path
            request = urllib.request.Request(  # noqa: S310 - to the sandbox
                url, body or None, dict(self.headers), method=self.command
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request) as response:
                content = response.read()
                self.send_response(response.status)
                for name in ("Content-Type", "Content-Encoding"):
                    if name in response.headers:
                        self.send_header(name, response.headers[name])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = _pass_on  # noqa: N815 - names that http.server looks for

        def do_CONNECT(self) -> None:
            front.seen.append(f"CONNECT {self.path}")
            target = self.path if front.behind is None else urlsplit(front.behind).netloc
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as other:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, other)
            self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            """Log nothing."""

        def handle(self) -> None:
            """Serve a connection until the client or the server behind closes it."""
            try:
                super().handle()
            except (ssl.SSLError, ConnectionError, urllib.error.URLError):
                self.close_connection = True

    return Handler


def _join(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, (one, other))
        selector.register(other, selectors.EVENT_READ, (other, one))
        while True:
            for ready, _ in selector.select(10):
                source, sink = ready.data
                data = source.recv(65536)
                if not data:
                    return
                sink.sendall(data)
