"""The plugins' logs: plain lines, or JSON when the SDK's log configuration says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tools.settings import DOCS, PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.server import Sandbox

PAGE = (DOCS / "run-summaries.md").read_text(encoding="utf-8").partition("## Log lines")[2]
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: The page's configuration, at DEBUG.
STRUCTURED = {**yaml.safe_load(EXAMPLE), "root": {"level": "DEBUG", "handlers": ["stderr"]}}

SCORES = [
    {
        "type": "SCHEMA",
        "stream": "scores",
        "key_properties": ["id"],
        "schema": {"properties": {"id": {"type": "string"}}},
    },
    {"type": "RECORD", "stream": "scores", "record": {"id": "a"}},
    {"type": "STATE", "value": {"bookmarks": {}}},
]


class Plugin:
    """Runs plugins as Meltano does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(
        self, name: str, config: dict[str, Any], *, structured: bool, status: int = 0
    ) -> list[str]:
        (self.folder / "config.json").write_text(json.dumps(config))
        environment = dict(os.environ)
        if structured:
            (self.folder / "logging.yml").write_text(yaml.safe_dump(STRUCTURED))
            environment["SINGER_SDK_LOG_CONFIG"] = str(self.folder / "logging.yml")
        module = name.replace("-", "_")
        done = subprocess.run(
            [sys.executable, "-m", module, "--config", str(self.folder / "config.json")],
            input="".join(json.dumps(message) + "\n" for message in SCORES),
            capture_output=True,
            cwd=self.folder,
            env=environment,
            check=False,
            text=True,
        )
        assert done.returncode == status, done.stderr
        return done.stderr.splitlines()


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


@pytest.mark.parametrize("name", PLUGINS)
def test_every_log_line_is_json_when_configured(name: str, plugin: Plugin) -> None:
    lines = plugin.log(name, {"max_attempts": "many"}, structured=True, status=1)
    entries = [json.loads(line) for line in lines]
    (error,) = [entry for entry in entries if entry["level"] == "error"]
    assert "setting 'max_attempts'" in error["message"]
    assert error["logger_name"] == name


def test_structured_logs_contain_metrics_and_the_summary(plugin: Plugin, sandbox: Sandbox) -> None:
    lines = plugin.log("target-mona", sandbox.mona.credentials(), structured=True)
    entries = [json.loads(line) for line in lines]
    (counter,) = [entry["metric_info"] for entry in entries if entry.get("metric_info")]
    assert (counter["metric"], counter["value"]) == ("record_count", 1)
    (summary,) = [entry for entry in entries if entry["message"].startswith("summary: ")]
    assert summary["level"] == "info"
    assert json.loads(summary["message"].removeprefix("summary: "))["delivered"] == 1


def test_no_secret_is_in_structured_logs(plugin: Plugin, sandbox: Sandbox) -> None:
    config = {**sandbox.mona.credentials(), "client_secret": "quite-a-secret"}
    echo = {"errors": ["no such secret: quite-a-secret"]}
    sandbox.faults.add("mona", path="api-token", status=503, body=echo, retry_after=0, times=1)
    sandbox.faults.add("mona", path="api-token", status=401, body=echo, after=1)
    log = "\n".join(plugin.log("target-mona", config, structured=True, status=1))
    assert "no such secret" in log
    assert "quite-a-secret" not in log


def test_plain_logs_contain_start_counts_and_summary_only(plugin: Plugin, sandbox: Sandbox) -> None:
    lines = plugin.log("target-mona", sandbox.mona.credentials(), structured=False)
    messages = [line.split(" | ", 3)[3] for line in lines if "METRIC" not in line]
    begin, read, summary = messages
    assert begin.startswith("target-mona v")
    assert "1 records" in read
    assert summary.startswith("summary: ")
