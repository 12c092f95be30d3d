"""The sandbox's own endpoints: page, request records, faults and clocks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

from tests.sandbox.faults import parse_faults
from tests.sandbox.page import render_page

if TYPE_CHECKING:
    from tests.sandbox.server import Sandbox


def control_routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """Return the routes that control the sandbox."""
    control = _Control(sandbox)
    return [
        web.get("/", control.page),
        web.get("/_sandbox/ready", control.ready),
        web.get("/_sandbox/requests", control.requests),
        web.get("/_sandbox/faults", control.faults),
        web.post("/_sandbox/faults", control.add_faults),
        web.delete("/_sandbox/faults", control.clear_faults),
        web.post("/_sandbox/clock", control.clock),
        web.post("/_sandbox/reset", control.reset),
    ]


class _Control:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=render_page(self._sandbox), content_type="text/html")

    async def ready(self, _request: web.Request) -> web.Response:
        return web.json_response(self._sandbox.description())

    async def requests(self, request: web.Request) -> web.Response:
        vendor = request.query.get("vendor")
        return web.json_response(
            [
                record.as_dict()
                for record in self._sandbox.requests
                if vendor in {None, record.vendor}
            ],
        )

    async def faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._sandbox.faults.as_list())

    async def add_faults(self, request: web.Request) -> web.Response:
        try:
            planned = parse_faults(await request.read())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        for item in planned:
            self._sandbox.faults.add(**item)
        return web.json_response(self._sandbox.faults.as_list(), status=201)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._sandbox.faults.clear()
        return web.Response(status=204)

    async def clock(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            moment = wanted["now"]
            vendor = self._sandbox.vendors[wanted["vendor"]]
            vendor.now = None if moment is None else datetime.fromisoformat(moment)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": repr(error)}, status=400)
        return web.json_response({"now": vendor.now.isoformat()})

    async def reset(self, _request: web.Request) -> web.Response:
        self._sandbox.reset()
        return web.Response(status=204)
