"""Servers beside the vendors: one over TLS, and a proxy that remembers what passed through it."""

from __future__ import annotations

import datetime
import ipaddress
import selectors
import socket
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self


def certificate(folder: Path, *, days: int = 1, address: str = "127.0.0.1") -> Path:
    """Write a key and a certificate that it signs itself; return the file of both."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
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
    path = folder / f"certificate-{days}-{address}.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


class Front:
    """A server that hands requests on to another and keeps what it saw; a context manager.

    Over TLS it stands before the sandbox like the vendor's own front; without, it is a proxy.

    Args:
        certificate: Its key and certificate, or None for plain HTTP.
        behind: The address that requests go on to; None: where their own address says.
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
            url = self.path if front.behind is None else front.behind + self.path
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
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as other:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, other)
            self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            """Stay silent."""

        def handle(self) -> None:
            """Serve a connection, which the client may refuse to trust."""
            try:
                super().handle()
            except (ssl.SSLError, ConnectionError):
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
