"""The parts of ``--check`` that are the same for all plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.singer.command import Check
from target_mona.target import TargetMona
from tests.kit.singer import as_bytes, record, schema
from tests.robustness.plugins import PLUGINS, Plugin, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.server import Sandbox

EACH_PLUGIN = pytest.mark.parametrize("plugin", PLUGINS, ids=str)
MONA, MONETATE = (plugin for plugin in PLUGINS if plugin.name in {"target-mona", "target-monetate"})


@EACH_PLUGIN
def test_valid_settings_are_printed_with_a_check_mark(
    plugin: Plugin, sandbox: Sandbox, tmp_path: Path
) -> None:
    outcome = run(plugin, plugin.settings(sandbox), tmp_path, "--check")
    assert outcome.status == 0, outcome.log
    lines = outcome.out.decode().splitlines()
    assert lines[0] == "✓ settings"
    assert all(line.startswith("✓ ") for line in lines)


@EACH_PLUGIN
def test_each_invalid_setting_has_its_own_line(
    plugin: Plugin, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = {**plugin.settings(sandbox), "max_attempts": 0, "request_timeout_seconds": "x"}
    outcome = run(plugin, settings, tmp_path, "--check")
    assert outcome.status == 1
    assert sorted(outcome.out.decode().splitlines()) == [
        "✗ settings: setting 'max_attempts' must be at least 1",
        "✗ settings: setting 'request_timeout_seconds' must be a number",
    ]
    assert outcome.reason.endswith("the check failed: settings")


@EACH_PLUGIN
def test_a_check_sends_nothing_and_creates_no_folder(
    plugin: Plugin, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = {**plugin.settings(sandbox), "reject_path": str(tmp_path / "rejects")}
    run(plugin, settings, tmp_path, "--check")
    assert not (tmp_path / "rejects").exists()
    if plugin.delivered is not None:
        assert plugin.delivered(sandbox) == 0


class CheckedTarget(TargetMona):
    """A target with additional checks."""

    prerequisite = False

    @override
    def checks(self) -> Iterator[Check]:
        yield Check("login", self._refuse, is_prerequisite=self.prerequisite)
        yield Check("fields", lambda: None)

    def _refuse(self) -> None:
        raise MartechError(f"no one may\nenter with {self.config['client_secret']}")


class StrictTarget(CheckedTarget):
    """Its checks end with the login."""

    prerequisite = True


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (CheckedTarget, ["✓ settings", "✗ login: no one may\\nenter with [secret]", "✓ fields"]),
        (StrictTarget, ["✓ settings", "✗ login: no one may\\nenter with [secret]"]),
    ],
)
def test_a_failed_check_ends_with_one_line_and_status_1(
    target: type[TargetMona], lines: list[str], sandbox: Sandbox, tmp_path: Path
) -> None:
    plugin = Plugin("target-mona", target, "mona", MONA.settings)
    outcome = run(plugin, MONA.settings(sandbox), tmp_path, "--check")
    assert outcome.status == 1
    assert outcome.out.decode().splitlines() == lines
    assert outcome.reason.endswith("the check failed: login")


def as_catalog(*messages: Any) -> bytes:
    streams = [
        {
            "tap_stream_id": message["stream"],
            "key_properties": message["key_properties"],
            "schema": message["schema"],
        }
        for message in messages
    ]
    return json.dumps({"streams": streams}, indent=2).encode()


@pytest.mark.parametrize("is_catalog", [False, True])
def test_mappings_are_checked_against_the_schemas_of_an_input(
    sandbox: Sandbox, tmp_path: Path, *, is_catalog: bool
) -> None:
    # the sandbox's Monetate has a dataset of the first name alone
    schemas = [schema("people"), schema("unknown")]
    content = as_catalog(*schemas) if is_catalog else as_bytes([*schemas, record("unknown", id=1)])
    given = tmp_path / "given.jsonl"
    given.write_bytes(b"\xef\xbb\xbf" + content)
    settings = MONETATE.settings(sandbox)
    outcome = run(MONETATE, settings, tmp_path, "--check", "--input", str(given))
    lines = outcome.out.decode().splitlines()
    assert outcome.status == 1
    assert "✓ stream 'people'" in lines
    assert any(
        line.startswith("✗ stream 'unknown': Monetate has no dataset 'unknown'") for line in lines
    )


@pytest.mark.parametrize(
    ("maps", "problem"),
    [
        ({"events": {"n": "1", "__key_properties__": ["n"]}}, None),
        ({"copy": {"__source__": "events"}}, None),
        ({"eve*": {"n": "1"}, "__else__": None}, None),
        ({"events": {"__key_properties__": ["n"]}}, "stream 'events': Invalid key properties"),
        ({"event": {}}, "which is not in the catalog; did you mean 'events'?"),
        ({"copy": {"__source__": "x"}}, "setting 'stream_maps' has stream 'x', which is not in"),
    ],
)
def test_stream_maps_are_checked_against_the_catalog(
    sandbox: Sandbox, tmp_path: Path, maps: Any, problem: str | None
) -> None:
    tap = PLUGINS[0]
    settings = {**tap.settings(sandbox), "event_streams": []}
    catalog = run(tap, settings, tmp_path, "--discover").out
    settings["stream_maps"] = maps
    outcome = run(tap, settings, tmp_path, "--check", catalog=catalog)
    line = outcome.out.decode().splitlines()[-1]
    assert outcome.status == int(problem is not None)
    assert line.startswith("✓ " if problem is None else "✗ catalog and stream maps: ")
    assert problem is None or problem in line


@pytest.mark.parametrize("content", [b"", b"[]", b'{"type":"SCHEMA"', b'{"streams":[{}]}'])
def test_an_input_without_schema_is_an_error(
    sandbox: Sandbox, tmp_path: Path, content: bytes
) -> None:
    given = tmp_path / "given.jsonl"
    given.write_bytes(content)
    outcome = run(MONA, MONA.settings(sandbox), tmp_path, "--check", "--input", str(given))
    assert outcome.status == 1
    assert b"--input" in outcome.out
