"""Limits of the process: file sizes, open files and threads."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import PLUGINS, TAPS, TARGETS, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

#: Sets limits, then becomes a command.
LIMITED = """
import json, os, resource, sys
for name, most in json.loads(sys.argv[1]).items():
    resource.setrlimit(int(name), (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""
#: Runs a plugin's command, then writes which modules were looked for by other threads.
IMPORTS_WATCHED = """
import json, sys, threading
from singer_martech.runtime import startup
found = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            found.append(name)
sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
try:
    startup.start(sys.argv[0])
finally:
    open("found.json", "w").write(json.dumps(found))
"""
#: No stack of a thread fits into the memory.
NO_THREADS = {resource.RLIMIT_STACK: 8 << 30, resource.RLIMIT_AS: 4 << 30}


def run(
    plugin: Plugin, config: Mapping[str, Any], limits: Mapping[int, int], data: bytes = b""
) -> Outcome:
    """Run a plugin's command with limits of its process."""
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    command = [str(Path(sys.executable).with_name(plugin.name)), "--config", "config.json"]
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, json.dumps(limits), *command],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr.decode())


def lines(count: int) -> bytes:
    """Return records that wait for each other's keys, some of them invalid, with STATEs."""
    schema = {"properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}
    messages: list[dict[str, Any]] = [
        {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]}
    ]
    for n in range(1, count + 1):
        record = {"id": f"k{n % 3}", "n": n if n % 7 else "none"}
        messages.append({"type": "RECORD", "stream": "people", "record": record})
        messages.append({"type": "STATE", "value": {"n": n}})
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def accepted(sandbox: Sandbox, target: Plugin) -> list[tuple[str, int]]:
    """Return id and number of the delivered records."""
    if target.name == "target-mona":
        messages = [each["message"] for each in sandbox.mona.messages()]
        return [(message["id"], message["n"]) for message in messages]
    if target.name == "target-monetate":
        return [(row["id"], int(row["n"])) for row in sandbox.monetate.rows("people")]
    return [
        (document["user_account_id"], document["user_profile"]["n"])
        for document in sandbox.mediarithmics.documents()
    ]


def first_unsettled(sandbox: Sandbox, target: Plugin, count: int) -> int:
    """Return the number of the first record that is neither delivered nor in a report."""
    newest: dict[str, int] = {}
    for key, number in accepted(sandbox, target):
        newest[key] = max(number, newest.get(key, 0))
    reports = [path.read_bytes() for path in Path("rejects").glob("*.jsonl")]
    reported = sum(report.count(b'"rejected_at"') for report in reports)
    for n in range(1, count + 1):
        if reported < n // 7 if n % 7 == 0 else newest.get(f"k{n % 3}", 0) < n:
            return n
    return count + 1


LIMITS = [
    *((resource.RLIMIT_FSIZE, most) for most in (0, 400)),
    *((resource.RLIMIT_NOFILE, most) for most in (8, 14)),
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(("limit", "most"), LIMITS)
def test_a_full_disk_or_too_many_files_end_a_run_with_one_line_and_a_safe_state(
    target: Plugin, sandbox: Sandbox, limit: int, most: int
) -> None:
    config = {
        **target.settings(sandbox),
        "max_request_rows": 1,
        "parallel_requests": 2,
        "max_rejected_records": 30,
        "checkpoint_interval_seconds": 0.02,
    }
    if target.name == "target-mediarithmics":
        document = {"operation": "UPSERT", "user_account_id": "{{ id }}"}
        profile = {**document, "user_profile": {"n": "{{ n }}"}}
        config["streams"] = {"people": {"document_type": "USER_PROFILE", "document": profile}}
    outcome = run(target, config, {limit: most}, lines(30))
    outcome.check("room|written|files|connection")
    assert "Exception ignored" not in outcome.log
    state = max((json.loads(line)["n"] for line in outcome.out.splitlines()), default=0)
    assert state < first_unsettled(sandbox, target, 30)
    assert (state == 30) == (outcome.status == 0)


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_the_limit_of_open_files_is_named(plugin: Plugin, sandbox: Sandbox) -> None:
    outcome = run(plugin, plugin.settings(sandbox), {resource.RLIMIT_NOFILE: 5}, plugin.input)
    assert outcome.status == 1
    assert outcome.reason.endswith("Too many open files: raise the limit of open files (ulimit -n)")


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_target_that_cannot_start_threads_ends_with_one_line(
    target: Plugin, sandbox: Sandbox
) -> None:
    outcome = run(target, target.settings(sandbox), NO_THREADS, target.input)
    outcome.check("no thread can be started")
    assert (outcome.status, outcome.out) == (1, b"")


@pytest.mark.parametrize("tap", TAPS, ids=str)
def test_a_tap_that_cannot_start_threads_works_in_its_own(tap: Plugin, sandbox: Sandbox) -> None:
    config = tap.settings(sandbox)
    outcome = run(tap, config, NO_THREADS)
    assert outcome.status == 0
    assert len(outcome.records) == len(run(tap, config, {}).records) > 0


def test_a_full_disk_under_the_reject_report_names_its_folder(sandbox: Sandbox) -> None:
    target = next(each for each in PLUGINS if each.name == "target-mona")
    config = {**target.settings(sandbox), "max_rejected_records": 30}
    outcome = run(target, config, {resource.RLIMIT_FSIZE: 0}, lines(7))
    assert re.search(r"reject report rejects/.* cannot be written .*reject_path", outcome.reason)


@pytest.mark.parametrize("tap", TAPS, ids=str)
def test_a_full_disk_under_a_download_names_the_folder_of_temporary_files(
    tap: Plugin, sandbox: Sandbox
) -> None:
    outcome = run(tap, tap.settings(sandbox), {resource.RLIMIT_FSIZE: 10})
    assert outcome.status == 1
    assert re.search(r"no room for .* TMPDIR", outcome.reason), outcome.reason
    assert "Exception ignored" not in outcome.log


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_modules_are_loaded_by_the_main_thread_alone(plugin: Plugin, sandbox: Sandbox) -> None:
    """Without memory, an import may loop forever (CPython issue 132508)."""
    Path("config.json").write_text(json.dumps(plugin.settings(sandbox)), encoding="utf-8")
    name = f"{plugin.plugin.__module__}.{plugin.plugin.__name__}"
    subprocess.run(
        [sys.executable, "-c", IMPORTS_WATCHED, name, "--config", "config.json"],
        input=plugin.input,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(Path("found.json").read_text(encoding="utf-8")) == []
