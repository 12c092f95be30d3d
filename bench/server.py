"""A local server that responds immediately or after a delay, so that only the plugins are measured.

Usage: python -m bench.server READY_FILE BODY RESULT
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.streams import STREAMS

_ids = itertools.count(1)
_ANY_SIZE = 1 << 31
_BLOCK_BYTES = 1 << 18
SERVED: web.AppKey[dict[str, Path]] = web.AppKey("served", dict)


async def export(request: web.Request) -> web.StreamResponse:
    """Return the body for any export, repeated as often as the first path segment says.

    Concatenated gzip streams are one valid body.
    """
    times = int(request.match_info["times"])
    body = request.app[SERVED]["body"].read_bytes()
    answer = web.StreamResponse(headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})
    answer.content_length = times * len(body)
    await answer.prepare(request)
    for _ in range(times):
        for start in range(0, len(body), _BLOCK_BYTES):
            await answer.write(body[start : start + _BLOCK_BYTES])
    return answer


async def take(request: web.Request) -> web.Response:
    """Accept any post after the number of milliseconds in the first path segment."""
    await request.read()
    await asyncio.sleep(int(request.match_info["milliseconds"]) / 1000)
    status = 201 if "/data/" in request.path else 200
    return web.json_response({"meta": {"code": status}, "data": {}}, status=status)


async def monetate_token(_request: web.Request) -> web.Response:
    """Return a token for any credentials."""
    now = time.time()
    token = {"token": "bench", "issued_at": now, "expires_in": 3600, "expires_at": now + 3600}
    return web.json_response({"meta": {"code": 200}, "data": token})


async def monetate_schema(request: web.Request) -> web.Response:
    """Describe the dataset of a stream."""
    name = request.match_info["stream"]
    fields = next(each.fields() for each in STREAMS if each.name == name)
    schema = {"name": name, "type": "attribute", "named_identifier": "crm", "fields": fields}
    return web.json_response({"meta": {"code": 200}, "data": schema})


def _execution(lines: int) -> dict[str, Any]:
    return {
        "id": str(next(_ids)),
        "status": "SUCCEEDED",
        "creation_date": int(time.time() * 1000),
        "parameters": {"number_of_lines": lines},
        "result": {
            "total_success": lines,
            "total_failure": 0,
            "possible_issue_on_identifiers": False,
            "output_files": ["export"],
        },
        "error": None,
        "num_tasks": 1,
        "completed_tasks": 1,
        "erroneous_tasks": 0,
    }


def _ok(data: Any) -> web.Response:
    count = {"count": len(data), "total": len(data)} if isinstance(data, list) else {}
    return web.json_response({"status": "ok", "data": data, **count})


async def imports(request: web.Request) -> web.Response:
    """List or create document imports."""
    if request.method == "GET":
        return _ok([])
    body = await request.json()
    return _ok({"id": "1", "priority": "MEDIUM", **body})


async def upload(request: web.Request) -> web.Response:
    """Accept an execution's documents."""
    lines = 0
    async for block in request.content.iter_any():
        lines += block.count(b"\n")
    return _ok(_execution(lines))


async def executions(_request: web.Request) -> web.Response:
    """Say that an execution has succeeded."""
    return _ok([_execution(1)])


async def execution(_request: web.Request) -> web.Response:
    """Say that an execution has succeeded."""
    return _ok(_execution(1))


async def query_export(_request: web.Request) -> web.Response:
    """Describe an export."""
    item = {"id": "1", "type": "QUERY", "name": "bench", "query_id": "1", "datamart_id": "1"}
    return _ok({**item, "organisation_id": "1", "output_format": "JSON"})


async def result(request: web.Request) -> web.StreamResponse:
    """Return the query export's result."""
    return web.FileResponse(request.app[SERVED]["result"])


async def empty(_request: web.Request) -> web.Response:
    """Respond to the first requests of tap-mixpanel."""
    return web.json_response({"results": {}, "status": "ok"})


def application(body: Path, result_file: Path) -> web.Application:
    """Return the server."""
    app = web.Application(client_max_size=_ANY_SIZE)
    app[SERVED] = {"body": body, "result": result_file}
    mics, take_path, times_path = "/mediarithmics", r"/{milliseconds:\d+}", r"/{times:\d+}"
    monetate = f"{take_path}/monetate/api/data/v1/bench/production"
    app.add_routes(
        [
            web.route("*", f"{times_path}/robotmia/export/", export),
            web.get(f"{times_path}/mixpanel/api/2.0/export", export),
            web.get(f"{times_path}/mixpanel/{{rest:.*}}", empty),
            web.post(f"{take_path}/mona/export", take),
            web.get(f"{take_path}/monetate/api/auth/v0/refresh/", monetate_token),
            web.get(f"{monetate}/schema/{{stream}}/", monetate_schema),
            web.post(f"{monetate}/data/{{stream}}/", take),
            web.route("*", f"{mics}/datamarts/1/document_imports", imports),
            web.post(f"{mics}/datamarts/1/document_imports/1/executions", upload),
            web.get(f"{mics}/datamarts/1/document_imports/1/executions", executions),
            web.get(f"{mics}/datamarts/1/document_imports/1/executions/{{id}}", execution),
            web.get(f"{mics}/exports/1", query_export),
            web.get(f"{mics}/exports/1/executions", executions),
            web.get(f"{mics}/exports/1/executions/{{id}}/files/{{name}}", result),
        ]
    )
    return app


async def serve(ready_file: Path, body: Path, result_file: Path) -> None:
    """Serve until ended; write the address to ``ready_file``."""
    runner = web.AppRunner(application(body, result_file), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    ready_file.write_text(f"http://{host}:{port}")  # noqa: ASYNC240 - once, before it serves
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*map(Path, sys.argv[1:])))
