"""TLS and proxies in front of a sandbox, which break connections at random."""

from __future__ import annotations

import selectors
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.kit.web import RawServer, certificate

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from typing_extensions import Self

HOST = "vendor.example"
"""The host behind the proxy, which is used for no loopback address."""

_CONNECT = b"CONNECT "
_HANDSHAKE_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
_NO_TLS = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_HANDSHAKE_FAULTS = (b"", _HANDSHAKE_ALERT, _NO_TLS)
_PROXY_FAULTS = (
    b"",
    b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n",
)
_BLOCK_BYTES = 64 * 1024
_SILENCE_SECONDS = 10
_MOST_BLOCKS = 40


class Gateway:
    """Accepts TLS connections, directly and through a proxy's CONNECT; a context manager.

    Args:
        url: The sandbox's address.
        chance: The random generator of the faults.
        folder: The folder for the certificate.

    Attributes:
        fault_probability: The probability to break a connection.
    """

    def __init__(self, url: str, chance: random.Random, folder: Path) -> None:
        self.fault_probability = 0.0
        self._chance = chance
        self._behind = ("127.0.0.1", urlsplit(url).port or 0)
        self._certificate = certificate(folder, "127.0.0.1", HOST)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._certificate)
        self._server = RawServer(self._serve, in_threads=True)
        self._address = f"127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """The address of the gateway itself."""
        return f"https://{self._address}"

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client trusts the gateway, and uses it as a proxy."""
        return {
            "REQUESTS_CA_BUNDLE": str(self._certificate),
            "HTTPS_PROXY": f"http://{self._address}",
        }

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.__exit__(*exception)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_SILENCE_SECONDS)
        if connection.recv(len(_CONNECT), socket.MSG_PEEK) == _CONNECT:
            self._read_head(connection)
            if self._is_faulty():
                connection.sendall(self._chance.choice(_PROXY_FAULTS))
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if self._is_faulty():
            connection.recv(_BLOCK_BYTES)
            connection.sendall(self._chance.choice(_HANDSHAKE_FAULTS))
            return
        with (
            self._context.wrap_socket(connection, server_side=True) as client,
            socket.create_connection(self._behind) as server,
        ):
            self._relay(client, server)

    def _is_faulty(self) -> bool:
        return self._chance.random() < self.fault_probability

    @staticmethod
    def _read_head(connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            block = connection.recv(1)
            if not block:
                return
            head += block

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on data in both directions; of the last block before a fault, only a half."""
        blocks = self._chance.randrange(1, _MOST_BLOCKS) if self._is_faulty() else None
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while ready := selector.select(_SILENCE_SECONDS):
                for key, _ in ready:
                    source: socket.socket = key.fileobj  # type: ignore[assignment] # as registered
                    # No TLS record is longer than a block, so nothing remains in the TLS layer.
                    block = source.recv(_BLOCK_BYTES)
                    if not block:
                        return
                    if blocks is not None:
                        blocks -= 1
                    if blocks == 0:
                        key.data.sendall(block[: len(block) // 2])
                        return
                    key.data.sendall(block)
