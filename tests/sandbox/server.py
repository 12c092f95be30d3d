"""The sandbox: four vendors' APIs on one loopback port, in a thread or as a command.

In a test (fixture `sandbox`), or by hand::

    with Sandbox(seed=1) as sandbox:                # vendors=["mona"] for some of them
        sandbox.url                                 # http://127.0.0.1:PORT
        sandbox.mona.api_url                        # also .robotmia .monetate .mediarithmics
        sandbox.mona.credentials()                  # settings for the plugin's configuration
        sandbox.mona.requests                       # list of RecordedRequest (recording.py)
        sandbox.faults.add("mona", "/export", status=503, times=2)      # Fault in faults.py
        held = sandbox.faults.add("mona", "/export", hold=True)
        sandbox.wait_for_requests("mona", "/export", count=1)
        held.release()
        sandbox.store.rows("SELECT * FROM mona_messages")               # SQLite, store.py
        sandbox.reset()                             # to the initial state; fast

A vendor is a module of this package, listed in `VENDORS`, with a class of its capitalized name
(`tests.sandbox.mona.Mona`) that extends `Vendor` (vendor.py): `name`, `prefixes`, `tables`,
`routes()`, `reset()`, and optionally `credentials()`, `sections()`, `error_body()`,
`expire_tokens()`. Handlers return complete `web.Response`s; `request[RECORD]` is the record of the
current request, whose `notes` may have any content. `vendor.store` is the database (one
`transaction()` per request), `vendor.now` the clock, `vendor.refuse(status, reason)` an error
response. Unknown paths become 404 and wrong methods 405, in the format of `error_body()`. An
exception in a handler becomes a 500 and is stored in `sandbox.errors`, which the fixture checks.

Over HTTP: `/` is a page for people; `/_sandbox/ready` (GET: addresses and credentials),
`/_sandbox/requests` (GET, `?vendor=`), `/_sandbox/faults` (GET, POST one or a list, DELETE),
`/_sandbox/clock` (POST `{"vendor", "now": ISO or null}`), `/_sandbox/reset` (POST).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import threading
import time
import traceback
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.sandbox.control import control_routes
from tests.sandbox.faults import Fault, FaultPlan
from tests.sandbox.recording import RECORD, RecordedRequest, safe_headers
from tests.sandbox.responding import respond
from tests.sandbox.store import Store
from tests.sandbox.vendor import Section, Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from typing_extensions import Self

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.mona import Mona
    from tests.sandbox.monetate import Monetate
    from tests.sandbox.responding import Handler
    from tests.sandbox.robotmia import Robotmia

__all__ = ["RECORD", "VENDORS", "Fault", "RecordedRequest", "Sandbox", "Section", "Vendor"]

VENDORS = ("robotmia", "mona", "monetate", "mediarithmics")

#: The maximum size of a body, above all limits of the vendors.
MAX_BODY_BYTES = 1024 * 1024 * 1024

_REQUESTS_TABLE = """
CREATE TABLE IF NOT EXISTS requests (
  number INTEGER PRIMARY KEY, vendor TEXT, method TEXT, path TEXT, status INTEGER, fault TEXT,
  size INTEGER, seconds REAL, received_at TEXT DEFAULT CURRENT_TIMESTAMP)
"""


class Sandbox:
    """The server and its vendors; a context manager that listens while it is open.

    Args:
        seed: The seed of all generated data and probabilities.
        vendors: The vendors to serve.
        port: The loopback port; 0 selects a free one.
        database: The SQLite file, kept between runs; None stores everything in memory.
    """

    robotmia: Robotmia
    mona: Mona
    monetate: Monetate
    mediarithmics: Mediarithmics

    def __init__(
        self,
        seed: int = 1,
        vendors: Iterable[str] = VENDORS,
        port: int = 0,
        database: Path | None = None,
    ) -> None:
        self.seed = seed
        self.store = Store(database)
        self.store.create([_REQUESTS_TABLE])
        self.errors: list[str] = []
        self.faults = FaultPlan(seed, self._in_loop)
        self._number = self.store.value("SELECT max(number) FROM requests") or 0
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None
        # Bound first: the address is known, and connections wait, before the server runs.
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.vendors: dict[str, Vendor] = {}
        for name in vendors:
            self._load(name)

    def _load(self, name: str) -> None:
        module_name = f"tests.sandbox.{name}"
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name == module_name:
                return
            raise
        vendor: Vendor = getattr(module, name.capitalize())(self)
        self.vendors[name] = vendor
        setattr(self, name, vendor)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in a thread; return when requests are accepted."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(ready)),
            name="sandbox",
            daemon=True,
        )
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """End the server and close the database; held requests are aborted."""
        self.faults.clear()
        self._in_loop(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        self.store.close()

    def reset(self) -> None:
        """Remove requests, faults and data, and reset every vendor's settings."""
        self.faults.clear()
        self.errors.clear()
        self.store.clear()
        for vendor in self.vendors.values():
            vendor.reset()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests to all vendors, in order of arrival."""
        found = [request for vendor in self.vendors.values() for request in vendor.requests]
        return sorted(found, key=lambda request: request.number)

    def wait_until(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait for a condition, checked whenever a request begins or ends.

        Raises:
            TimeoutError: It did not become true in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError("The condition did not become true in time")

    def wait_for_requests(
        self,
        vendor: str,
        path: str = "",
        count: int = 1,
        timeout: float = 20.0,
    ) -> None:
        """Wait until `count` requests to paths that match the expression have arrived."""
        chosen = self.vendors[vendor]
        self.wait_until(lambda: len(chosen.requests_to(path)) >= count, timeout)

    def description(self) -> dict[str, Any]:
        """Return the addresses, and the settings of each vendor's plugin."""
        vendors = {name: vendor.credentials() for name, vendor in self.vendors.items()}
        return {"url": self.url, "seed": self.seed, **vendors}

    def _in_loop(self, action: Callable[[], object]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            action()
        else:
            loop.call_soon_threadsafe(action)

    async def _run(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=logging.getLogger("sandbox"),
            shutdown_timeout=0.2,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, self._socket).start()
        except BaseException as error:
            ready.set_exception(error)
            raise
        ready.set_result(None)
        await self._stopping.wait()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[self._serve],
            client_max_size=MAX_BODY_BYTES,
        )
        application.add_routes(control_routes(self))
        for vendor in self.vendors.values():
            application.add_routes(vendor.routes())
        return application

    def _vendor_of(self, path: str) -> Vendor | None:
        for vendor in self.vendors.values():
            if any(path == item or path.startswith(f"{item}/") for item in vendor.prefixes):
                return vendor
        return None

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        vendor = self._vendor_of(request.path)
        if vendor is None:
            return await handler(request)
        record = self._begin(vendor, request)
        try:
            fault = self.faults.match(vendor.name, request.method, request.path)
            response = await respond(vendor, request, handler, fault)
        except (asyncio.CancelledError, ConnectionError):
            raise  # the client has disconnected
        except Exception:  # noqa: BLE001 - a fault of the sandbox must not look like the vendor's
            self.errors.append(traceback.format_exc())
            response = vendor.refuse(500, "The sandbox itself failed")
            record.status = 500
        finally:
            self._end(record)
        return response

    def _begin(self, vendor: Vendor, request: web.Request) -> RecordedRequest:
        with self._changed:
            self._number += 1
            record = RecordedRequest(
                number=self._number,
                vendor=vendor.name,
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers=safe_headers(request.headers),
                started=time.monotonic(),
            )
            request[RECORD] = record
            vendor.requests.append(record)
            self._changed.notify_all()
        return record

    def _end(self, record: RecordedRequest) -> None:
        with self._changed:
            record.ended = time.monotonic()
            self._changed.notify_all()
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO requests"
                " (number, vendor, method, path, status, fault, size, seconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.number,
                    record.vendor,
                    record.method,
                    record.path,
                    record.status,
                    record.fault,
                    record.size,
                    record.ended - record.started,
                ),
            )
