"""The project's files agree with `--about` of the plugins."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.pipelines.meltano import sandbox_settings
from tools import settings
from tools.docs import renewed_files
from tools.hub import STATUS
from tools.settings import MELTANO, PLUGINS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def plugins() -> dict[str, dict[str, Any]]:
    return {name: settings.about(name) for name in PLUGINS}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(MELTANO.read_text(encoding="utf-8"))
    return loaded


def definition(project: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        item for item in project["plugins"][PLUGINS[name]] if item["name"] == name
    )
    return found


def test_meltano_yml_the_pages_and_the_hub_agree_with_about(
    plugins: dict[str, dict[str, Any]],
) -> None:
    for path, renewed in renewed_files(plugins).items():
        assert path.read_text(encoding="utf-8") == renewed, f"{path}: run make docs"


def test_meltano_yml_follows_meltanos_schema(tmp_path: Path) -> None:
    text = MELTANO.read_text(encoding="utf-8")
    if sys.version_info < (
        3,
        11,
    ):  # the newest check-jsonschema for this Python does not know all capabilities
        text = re.sub(r"(\n *- |, )(validate-records|target-schema)\b", "", text)
    checked = tmp_path / "meltano.yml"
    checked.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.meltano"]
    subprocess.run([*command, str(checked)], check=True)


@pytest.mark.parametrize("name", PLUGINS)
def test_every_setting_of_a_plugin_is_described(
    name: str,
    plugins: dict[str, dict[str, Any]],
) -> None:
    described = settings.meltano_settings(plugins[name]["settings"])
    assert [item["name"] for item in described if not item["description"].strip()] == []
    own = plugins[name]["settings"]["properties"]
    assert [key for key in own if re.search("secret|token$|private_key$|passphrase", key)] == [
        item["name"] for item in described if item.get("sensitive")
    ]


@pytest.mark.parametrize("name", PLUGINS)
def test_each_group_of_settings_is_enough_to_start_with(
    name: str,
    project: dict[str, Any],
    plugins: dict[str, dict[str, Any]],
) -> None:
    groups = definition(project, name)["settings_group_validation"]
    known = plugins[name]["settings"]["properties"]
    required = set(plugins[name]["settings"].get("required", []))
    for group in groups:
        assert set(group) <= set(known)
        assert required <= set(group)


def test_production_takes_its_settings_from_the_example_alone(
    project: dict[str, Any],
    plugins: dict[str, dict[str, Any]],
) -> None:
    production = next(item for item in project["environments"] if item["name"] == "production")
    assert "config" not in production
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    for name, said in plugins.items():
        prefix = name.replace("-", "_").upper()
        groups = definition(project, name)["settings_group_validation"]
        needed = {f"{prefix}_{setting.upper()}" for group in groups for setting in group}
        assert needed <= listed
        known = {f"{prefix}_{setting.upper()}" for setting in said["settings"]["properties"]}
        assert {item for item in listed if item.startswith(f"{prefix}_")} <= known


def test_the_settings_of_the_sandbox_are_settings_of_the_plugins(
    sandbox: Sandbox, plugins: dict[str, dict[str, Any]]
) -> None:
    known = {
        f"{name}_{setting}".replace("-", "_").upper()
        for name, said in plugins.items()
        for setting in said["settings"]["properties"]
    }
    assert set(sandbox_settings(sandbox)) <= known


def test_the_demo_runs_every_other_job(project: dict[str, Any]) -> None:
    jobs = {job["name"]: job["tasks"] for job in project["jobs"]}
    demo = jobs.pop("demo")
    del jobs["robotmia-to-mona-batch"]  # loads the same events as robotmia-to-mona
    assert demo == [task for tasks in jobs.values() for task in tasks]


def test_readme_classifiers_and_hub_name_one_status() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"**Status: {STATUS}.**" in readme
    assert "not yet run against live accounts" in readme
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf'"Development Status :: \d - {STATUS.capitalize()}"', classifiers)
