from __future__ import annotations

import functools
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import PLUGINS, TARGETS, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE


#: Starts a command from a small process, because the parent's memory counts for its peak.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def child(
    name: str, config: dict[str, Any], *, feed: Iterable[bytes] = (), status: int = 1
) -> tuple[str, int]:
    """Run a command that must end with a status; return its last line and its peak memory."""
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    plugin = [str(Path(sys.executable).with_name(name)), "--config", "config.json"]
    command = [sys.executable, "-c", MEASURED, "memory", *plugin]
    with open("log", "wb") as log:  # noqa: PTH123 - a file for the child to write to
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
        )
    assert process.stdin is not None
    try:
        for block in feed:
            process.stdin.write(block)
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.wait()
    lines = Path("log").read_text(encoding="utf-8").splitlines()
    assert process.returncode == status, lines
    assert not any("Traceback" in line for line in lines)
    return lines[-1], int(Path("memory").read_text(encoding="utf-8")) * 1024


def blocks(line: bytes, count: int, block: bytes) -> Iterator[bytes]:
    yield line
    for _ in range(count):
        yield block


@pytest.mark.parametrize("target", [TARGETS[0]], ids=str)
def test_an_input_line_of_a_gigabyte_is_an_error_in_bounded_memory(
    target: Plugin, sandbox: Sandbox
) -> None:
    start = target.input + b'{"type":"RECORD","stream":"people","record":{"id":"'
    feed = blocks(start, 1024, b"x" * MEBIBYTE)
    reason, memory = child(target.name, target.settings(sandbox), feed=feed)
    assert "the input has a line of more than" in reason
    assert memory < 500 * MEBIBYTE


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_small_parts_of_large_records_are_loaded_in_bounded_memory(
    target: Plugin, sandbox: Sandbox
) -> None:
    config = target.settings(sandbox)
    if target.name == "target-mona":
        config["streams"] = {"people": {"message": {"id": "{{ id }}"}}}
    elif target.name == "target-monetate":
        config["streams"] = {"people": {"row": {"id": "{{ id }}"}}}
    schema, *_ = target.input.splitlines(keepends=True)
    large = b"x" * MEBIBYTE
    records = (
        b'{"type":"RECORD","stream":"people","record":{"id":"k%d","n":1,"more":"%b"}}\n'
        % (n, large)
        for n in range(400)
    )
    _, memory = child(target.name, config, feed=itertools.chain([schema], records), status=0)
    assert memory < 200 * MEBIBYTE


@functools.cache
def bomb() -> bytes:
    """Return gzip that inflates to a line of a gigabyte."""
    stream = zlib.compressobj(6, wbits=31)
    parts = [stream.compress(b'{"id":"')]
    parts += [stream.compress(b"x" * MEBIBYTE) for _ in range(GIBIBYTE // MEBIBYTE)]
    return b"".join([*parts, stream.flush()])


PATHS = {
    "tap-robotmia": ["/export/"],
    "tap-mediarithmics": ["/files/", "/data_file/"],
    "target-mona": ["/api-token"],
    "target-monetate": ["/auth/"],
    "target-mediarithmics": ["/document_imports"],
}


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_compressed_response_of_a_gigabyte_is_an_error_in_bounded_memory(
    plugin: Plugin, sandbox: Sandbox
) -> None:
    config = plugin.settings(sandbox)
    if plugin.name == "tap-mediarithmics":
        config["exports"] = config["exports"][1:]
    headers = {"Content-Encoding": "gzip"}
    for path in PATHS[plugin.name]:
        sandbox.faults.add(
            plugin.vendor, path, status=200, body=bomb(), headers=headers, times=None
        )
    reason, memory = child(plugin.name, config, feed=iter([plugin.input]))
    assert re.search(r"(larger|longer|more) than", reason), reason
    assert memory < 500 * MEBIBYTE


def test_an_endless_response_is_an_error(sandbox: Sandbox, endless: str) -> None:
    target = TARGETS[0]
    config = {**target.settings(sandbox), "auth_url": f"{endless}/token"}
    reason, memory = child(target.name, config, feed=iter([target.input]))
    assert "larger than 67108864 bytes" in reason
    assert memory < 400 * MEBIBYTE


@pytest.fixture
def endless() -> Iterator[str]:
    """Return the address of a server with endless responses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_for_ever, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _answer_for_ever(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        try:
            connection.sendall(head)
            while True:
                connection.sendall(b"[" * MEBIBYTE)
        except OSError:
            return


@pytest.mark.parametrize("name", ["tap-mediarithmics", "target-mediarithmics"])
def test_an_endless_execution_ends_with_its_timeout_setting(
    sandbox: Sandbox, folder: Path, name: str
) -> None:
    (plugin,) = (each for each in PLUGINS if each.name == name)
    config = {**plugin.settings(sandbox), "execution_timeout_seconds": 0.3}
    sandbox.mediarithmics.hold()
    outcome = run(plugin, config, folder)
    assert outcome.status == 1
    assert "execution_timeout_seconds" in outcome.reason
    assert b'"users":{"' not in outcome.out  # no bookmark for unread data


@pytest.mark.parametrize(
    ("name", "path"),
    [("tap-mediarithmics", "*/exports"), ("target-mediarithmics", "/document_imports")],
)
def test_an_endless_list_is_an_error(sandbox: Sandbox, folder: Path, name: str, path: str) -> None:
    (plugin,) = (each for each in PLUGINS if each.name == name)
    config = plugin.settings(sandbox)
    rows = [{"id": str(n), "status": "RUNNING", "creation_date": n} for n in range(50)]
    page = {"status": "ok", "data": rows, "count": 50, "total": 10**9, "max_results": 50}
    sandbox.faults.add(plugin.vendor, path, method="GET", status=200, body=page, times=None)
    outcome = run(plugin, config, folder)
    assert outcome.status == 1
    assert "does not end" in outcome.reason


def test_input_is_read_from_any_descriptor_number(sandbox: Sandbox, folder: Path) -> None:
    import resource  # noqa: PLC0415 - of this test alone

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert run(TARGETS[0], TARGETS[0].settings(sandbox), folder).status == 0
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
