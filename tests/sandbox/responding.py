"""Handle a request: read it, let the vendor act, and apply the fault plan."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from aiohttp import web

from tests.sandbox.recording import KEPT_BODY_BYTES, RECORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sandbox.faults import Fault
    from tests.sandbox.vendor import Vendor

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def respond(
    vendor: Vendor,
    request: web.Request,
    handler: Handler,
    fault: Fault | None,
) -> web.StreamResponse:
    """Return the vendor's response, modified by the fault, if any.

    The record's status stays None if the connection is reset.
    """
    record = request[RECORD]
    if fault is None:
        response = await _act(vendor, request, handler)
        record.status = response.status
        return response
    record.fault = fault.describe()
    if fault.hold:
        await fault.released.wait()
    await asyncio.sleep(fault.delay)
    if fault.expire_token:
        vendor.expire_tokens()
    if fault.reset == "before":
        return _reset_connection(request)
    response = await _act_or_stand_in(vendor, request, handler, fault)
    if fault.reset == "after":
        return _reset_connection(request)
    record.status = response.status
    return await _send(request, fault.alter(response), fault)


async def _act(vendor: Vendor, request: web.Request, handler: Handler) -> web.Response:
    await _read(request)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return vendor.refuse(error.status, error.reason, allow)
    if not isinstance(response, web.Response):
        raise TypeError("A vendor of the sandbox must return complete responses")
    return response


async def _act_or_stand_in(
    vendor: Vendor,
    request: web.Request,
    handler: Handler,
    fault: Fault,
) -> web.Response:
    if not fault.stands_in:
        return await _act(vendor, request, handler)
    if fault.after_acting:
        await _act(vendor, request, handler)
    else:
        await _read(request)
        vendor.observe(request[RECORD], await request.read())
    return fault.response(lambda status: vendor.error_body(status, vendor.planned_reason(status)))


async def _read(request: web.Request) -> None:
    record = request[RECORD]
    body = await request.read()
    record.size = len(body)
    record.body = body if len(body) <= KEPT_BODY_BYTES else None


async def _send(
    request: web.Request,
    response: web.Response,
    fault: Fault,
) -> web.StreamResponse:
    if not (fault.reset or fault.truncate or fault.stall):
        return response
    partial, rest = await _send_half(request, response)
    if fault.reset:
        return _reset_connection(request)
    if fault.truncate:
        # The transport may be closed before aiohttp writes the end.
        if request.transport is not None:
            request.transport.close()
        return partial
    await asyncio.sleep(fault.stall)
    await partial.write(rest)
    return partial


async def _send_half(
    request: web.Request,
    response: web.Response,
) -> tuple[web.StreamResponse, bytes]:
    body = response.body if isinstance(response.body, bytes) else b""
    partial = web.StreamResponse(status=response.status, headers=response.headers)
    if response.chunked:
        partial.enable_chunked_encoding()
    else:
        partial.content_length = len(body)
    await partial.prepare(request)
    middle = len(body) // 2
    await partial.write(body[:middle])
    return partial, body[middle:]


def _reset_connection(request: web.Request) -> web.Response:
    """Reset the client's connection (RST); the response returned is never sent."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # A linger time of zero seconds turns the close into a reset.
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response(status=500)
