"""Catalogs and environment variables of a tap that name nothing it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.robustness.plugins import PLUGINS, TAPS, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

EACH_TAP = pytest.mark.parametrize("tap", TAPS, ids=str)
OTHER = {
    "stream": "orders",
    "tap_stream_id": "orders",
    "schema": {"type": "object", "properties": {"id": {"type": "string"}}},
    "metadata": [],
}


def warnings(log: str) -> list[str]:
    return [line.rpartition(" | ")[2] for line in log.splitlines() if "| WARNING " in line]


@EACH_TAP
@pytest.mark.parametrize("streams", [[], [OTHER]], ids=["empty", "of another tap"])
def test_a_catalog_that_selects_no_stream_is_named(
    tap: Plugin, sandbox: Sandbox, tmp_path: Path, streams: list[Any]
) -> None:
    outcome = run(tap, tap.settings(sandbox), tmp_path, catalog={"streams": streams})
    assert outcome.status == 0
    assert any(
        "the catalog selects no stream of this tap" in each for each in warnings(outcome.log)
    )


@EACH_TAP
def test_a_stream_map_without_a_stream_is_named(
    tap: Plugin, sandbox: Sandbox, tmp_path: Path
) -> None:
    maps = {"nothing": {"__filter__": "True"}, "*": {"x": "1"}}
    settings = {**tap.settings(sandbox), "stream_maps": maps}
    (line,) = [
        each
        for each in warnings(run(tap, settings, tmp_path).log)
        if "setting 'stream_maps'" in each
    ]
    assert line.startswith(
        "setting 'stream_maps' has stream 'nothing', which is not in the catalog"
    )


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
def test_a_misspelt_environment_variable_is_named(
    plugin: Plugin, sandbox: Sandbox, tmp_path: Path
) -> None:
    prefix = plugin.name.replace("-", "_").upper()
    environment = {
        f"{prefix}_USERAGENT": "x",
        f"{prefix}_USER_AGENT": "y",
        f"{prefix}_STREAM_MAPS_EVENTS": "{}",  # as Meltano sets it
        f"{prefix}_SCHEMA_NAME": "z",
    }
    settings = plugin.settings(sandbox)
    outcome = run(plugin, settings, tmp_path, "--config", "ENV", "--check", environment=environment)
    (line,) = [each for each in warnings(outcome.log) if "environment variable" in each]
    assert line == (
        f"environment variable {prefix}_USERAGENT is not a setting and is ignored; did you mean "
        f"{prefix}_USER_AGENT?"
    )


def test_a_tap_without_exports_says_to_add_one(sandbox: Sandbox, tmp_path: Path) -> None:
    (tap,) = (plugin for plugin in TAPS if plugin.name == "tap-mediarithmics")
    outcome = run(tap, {**tap.settings(sandbox), "exports": []}, tmp_path)
    assert outcome.status == 0
    assert any(each.endswith("add an item to setting 'exports'") for each in warnings(outcome.log))
