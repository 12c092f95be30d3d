from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

HTML = "<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"
BODIES: dict[str, Any] = {
    "null": b"null",
    "list": b"[]",
    "list of numbers": b"[1, 2]",
    "number": b"17",
    "text": b'"text"',
    "object": b"{}",
    "null data": b'{"data": null, "status": "ok", "meta": null}',
    "list data": b'{"data": [], "status": "ok", "meta": []}',
    "text data": b'{"data": "x", "status": "ok", "meta": "y"}',
    "number data": b'{"data": 5, "status": 5, "meta": {"errors": 5, "warnings": 6}}',
    "list of lists": b'{"data": [[]], "status": "ok"}',
    "empty objects": b'{"data": [{}], "status": "ok"}',
    "odd ids": b'{"data": {"id": [], "creation_date": {}, "token": 5, "fields": []}}',
    "infinite": b'{"data": {"id": "1", "creation_date": Infinity, "expires_in": NaN}}',
    "huge number": b'{"data": {"id": 1, "creation_date": 1e400}, "expiresIn": 1e400,'
    b'"accessToken": "aaaaaa"}',
    "deep": b"[" * 100_000,
    "html": HTML,
    "empty": b"",
    "not utf-8": b'{"data": "\xff\xfe"}',
    "cut": b'{"data": {"id": "1',
}


def endpoints(plugin: Plugin, sandbox: Sandbox, folder: Path) -> list[tuple[str, str]]:
    """Return method and path of each request of a good run, each kind once."""
    good = run(plugin, plugin.settings(sandbox), folder)
    assert good.status == 0, good.log
    requests = sandbox.vendors[plugin.vendor].requests
    return list(dict.fromkeys((request.method, request.path) for request in requests))


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_of_another_kind_is_an_error_of_one_line_or_does_no_harm(
    plugin: Plugin, sandbox: Sandbox, folder: Path, body: str
) -> None:
    found = endpoints(plugin, sandbox, folder)
    expected = None if plugin.landed is None else plugin.landed(sandbox)
    assert found
    for method, path in found:
        sandbox.reset()
        config = plugin.settings(sandbox)
        sandbox.faults.add(
            plugin.vendor, path, method=method, times=None, status=200, body=BODIES[body]
        )
        outcome = run(plugin, config, folder)
        outcome.check()
        if outcome.status == 0 and plugin.landed is not None and method == "GET":
            # what could be done without was done without
            assert plugin.landed(sandbox) == expected
        for line in outcome.out.splitlines():
            json.loads(line)
