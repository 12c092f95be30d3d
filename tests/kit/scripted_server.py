"""A loopback server that sends scripted replies."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

RESET = -1
"""Used as a status: reset the connection."""
SILENCE = -2
"""Used as a status: send nothing until the server is closed."""


@dataclass
class Reply:
    """One reply.

    Attributes:
        status: Its HTTP status, or ``RESET`` or ``SILENCE``.
        body: Its body.
        headers: Further headers.
        cut: Close the connection after half of the body.
        raw: The whole reply as bytes, instead of the other attributes.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    raw: bytes | None = None


@dataclass
class Received:
    """One request.

    Attributes:
        connection: The client's port.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class ScriptedServer:
    """A context manager that sends the replies of its script and repeats the last one."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._script: deque[Reply] = deque([Reply()])
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def script(self, *replies: Reply) -> None:
        """Set the replies, in order."""
        self._script = deque(replies)

    def take(self, received: Received) -> Reply:
        """Record a request and return its reply."""
        with self._lock:
            self.received.append(received)
            return self._script.popleft() if len(self._script) > 1 else self._script[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _response(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = server.take(
                Received(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                    self.client_address[1],
                )
            )
            if reply.status == SILENCE:
                server.closing.wait()
            if reply.status < 0:
                linger = struct.pack("ii", 1, 0)  # makes close() reset the connection
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            self.close_connection = reply.cut

        do_GET = do_POST = _response  # noqa: N815 - names that http.server looks for

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

        def handle(self) -> None:
            """Serve a connection until the client closes or resets it."""
            with contextlib.suppress(ConnectionError):
                super().handle()

        def finish(self) -> None:
            """Close a connection, unless it was reset."""
            if self.connection.fileno() >= 0:
                super().finish()

    return Handler
