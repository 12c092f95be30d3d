from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import run
from tests.sandbox.impostors import IMPOSTORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.robustness.plugins import Outcome, Plugin
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
    """Return method and path of each kind of request in a successful run."""
    good = run(plugin, plugin.settings(sandbox), folder)
    assert good.status == 0, good.log
    requests = sandbox.vendors[plugin.vendor].requests
    return list(dict.fromkeys((request.method, request.path) for request in requests))


@pytest.mark.parametrize("body", BODIES)
def test_an_unexpected_response_is_a_one_line_error_or_harmless(
    plugin: Plugin, sandbox: Sandbox, folder: Path, body: str
) -> None:
    found = endpoints(plugin, sandbox, folder)
    expected = None if plugin.delivered is None else plugin.delivered(sandbox)
    assert found
    for method, path in found:
        sandbox.reset()
        config = plugin.settings(sandbox)
        sandbox.faults.add(
            plugin.vendor, path, method=method, times=None, status=200, body=BODIES[body]
        )
        outcome = run(plugin, config, folder)
        outcome.check()
        if outcome.status == 0 and plugin.delivered is not None and method == "GET":
            # the request was not essential
            assert plugin.delivered(sandbox) == expected
        for line in outcome.out.splitlines():
            json.loads(line)


#: Where an empty body is a valid response: an export without events, and Mona's success,
#: whose body is not public.
WITHOUT_CONTENT = {
    ("tap-robotmia", "/export/"): {"empty", "empty JSON"},
    ("target-mona", "/export"): {"empty", "empty JSON", "empty object", "null"},
}


def impostors(plugin: Plugin, sandbox: Sandbox, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each request of a successful run with each impostor that differs from the vendor."""
    for method, path in endpoints(plugin, sandbox, folder):
        for name in IMPOSTORS:
            allowed = WITHOUT_CONTENT.get((plugin.name, path[-8:] if plugin.is_tap else path[-7:]))
            if name not in (allowed or ()):
                yield method, path, name


def achieved(plugin: Plugin, sandbox: Sandbox, outcome: Outcome) -> Any:
    """Return the result of a run: records of a tap, or the number of records at a vendor."""
    if plugin.delivered is not None:
        return plugin.delivered(sandbox)
    return [
        (stream, {name: value for name, value in record.items() if not name.startswith("_exec")})
        for stream, record in outcome.records
        if stream != "export_executions"  # its rows contain the time of the run
    ]


def test_a_foreign_success_response_is_never_a_success(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    expected = achieved(plugin, sandbox, run(plugin, plugin.settings(sandbox), folder))
    assert expected
    for method, path, name in list(impostors(plugin, sandbox, folder)):
        sandbox.reset()
        config = plugin.settings(sandbox)
        sandbox.faults.add(plugin.vendor, path, method=method, times=None, impostor=name)
        outcome = run(plugin, config, folder)
        outcome.check()
        if outcome.status == 0:  # the request was not essential
            assert achieved(plugin, sandbox, outcome) == expected, (method, path, name)
            assert plugin.is_tap or method == "GET", (method, path, name)


def test_a_foreign_success_response_is_retried(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    expected = achieved(plugin, sandbox, run(plugin, plugin.settings(sandbox), folder))
    for method, path, name in list(impostors(plugin, sandbox, folder)):
        if name not in {"captive portal", "proxy login as JSON", "empty"}:
            continue
        sandbox.reset()
        config = {**plugin.settings(sandbox), "max_attempts": 3}
        sandbox.faults.add(plugin.vendor, path, method=method, impostor=name)
        outcome = run(plugin, config, folder)
        assert outcome.status == 0, (method, path, name, outcome.log)
        assert achieved(plugin, sandbox, outcome) == expected, (method, path, name)
