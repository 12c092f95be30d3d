"""The commands that the project installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tools.settings import PLUGINS

VENDORS = {
    "tap-robotmia": "robotmia",
    "tap-mediarithmics": "mediarithmics",
    "target-mona": "Mona",
    "target-monetate": "Monetate",
    "target-mediarithmics": "mediarithmics",
}
BIN = Path(sys.executable).parent


def output(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_prints_its_version(plugin: str) -> None:
    expected = f"{plugin} v{version('singer-martech')}"
    assert output(str(BIN / plugin), "--version").startswith(expected)
    module = plugin.replace("-", "_")
    assert output(sys.executable, "-m", module, "--version").startswith(expected)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_describes_itself_in_every_format(plugin: str) -> None:
    said = json.loads(output(str(BIN / plugin), "--about", "--format", "json"))
    assert said["name"] == plugin
    for form in ([], ["--format", "markdown"]):
        described = output(str(BIN / plugin), "--about", *form)
        assert all(name in described for name in said["settings"]["properties"])


@pytest.mark.parametrize(("plugin", "vendor"), VENDORS.items())
def test_the_help_says_what_a_plugin_is_for(plugin: str, vendor: str) -> None:
    shown = output(str(BIN / plugin), "--help")
    assert vendor in shown
    assert "--check" in shown


def test_every_command_of_the_distribution_starts() -> None:
    ours = [item for item in entry_points(group="console_scripts") if _is_ours(item.value)]
    assert len(ours) >= len(PLUGINS) + 2
    for item in ours:
        assert "Usage" in output(str(BIN / item.name), "--help").capitalize()


def test_every_command_ends_with_one_line_when_its_output_is_full() -> None:
    for item in entry_points(group="console_scripts"):
        if not _is_ours(item.value):
            continue
        with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
            done = subprocess.run(
                [BIN / item.name, "--help"], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 1
        (line,) = done.stderr.decode().splitlines()
        assert line.endswith("the output cannot be written: No space left on device")


def test_every_command_writes_in_any_encoding() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    for item in entry_points(group="console_scripts"):
        if _is_ours(item.value):
            done = subprocess.run(
                [BIN / item.name, "--help"], env=environment, capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, b""), item.name
            assert b"Usage" in done.stdout


def _is_ours(value: str) -> bool:
    return value.startswith(("tap_", "target_", "singer_martech"))
