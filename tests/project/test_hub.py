"""The definitions for the Meltano Hub are what it asks for, and install anywhere."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.pipelines.meltano import MELTANO, sandbox_settings
from tools.hub import HUB, VARIANT
from tools.release import build_wheel
from tools.settings import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.server import Sandbox

DEFINITIONS = sorted(HUB.glob("*/*/*.yml"))


@pytest.fixture(scope="module")
def rules() -> jsonschema.Draft7Validator:
    schema = json.loads((HUB / "definition.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def loaded(path: Path) -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return definition


def test_every_plugin_has_a_definition_where_the_hub_looks_for_it() -> None:
    assert {path.relative_to(HUB).as_posix() for path in DEFINITIONS} == {
        f"{kind}/{name}/{VARIANT}.yml" for name, kind in PLUGINS.items()
    }
    for path in DEFINITIONS:
        definition = loaded(path)
        assert definition["name"] == path.parent.name
        assert definition["variant"] == path.stem


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.parent.name)
def test_a_definition_follows_the_rules_of_the_hub(
    path: Path, rules: jsonschema.Draft7Validator
) -> None:
    definition = loaded(path)
    assert [error.message for error in rules.iter_errors(definition)] == []
    known = {setting["name"] for setting in definition["settings"]}
    assert all(set(group) <= known for group in definition["settings_group_validation"])
    assert definition["settings_group_validation"]


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.parent.name)
def test_a_definition_is_written_in_the_style_of_the_hub(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    keys = list(loaded(path))
    assert keys == sorted(keys)
    assert "  - name" not in text
    assert "\t" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda definition: definition.update(kind="tap"),
        lambda definition: definition.pop("namespace"),
        lambda definition: definition.update(quality="best"),
        lambda definition: definition["capabilities"].append("hard-delete"),
        lambda definition: definition["settings"][0].update(secret=True),
        lambda definition: definition["settings"][0].update(kind="text"),
        lambda definition: definition.update(dialect="sql"),
        lambda definition: definition.update(supported_python_versions=["310"]),
    ],
)
def test_the_rules_see_what_the_hub_would_refuse(
    break_it: Any, rules: jsonschema.Draft7Validator
) -> None:
    definition = copy.deepcopy(loaded(HUB / "extractors" / "tap-robotmia" / f"{VARIANT}.yml"))
    break_it(definition)
    assert list(rules.iter_errors(definition))


@pytest.mark.pipeline
@pytest.mark.timeout(300)
def test_the_definitions_install_and_run_in_a_foreign_meltano_project(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    wheel = build_wheel(tmp_path / "dist")
    foreign = tmp_path / "foreign"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MELTANO_", "TAP_", "TARGET_", "PYTHON", "VIRTUAL_ENV"))
    }
    environment.update(sandbox_settings(sandbox))
    today = sandbox.robotmia.today.isoformat()
    environment.update(
        TAP_ROBOTMIA_START_DATE=today, TARGET_MONA_STREAMS='{"events": {"arc_class": "SHOP"}}'
    )

    def meltano(*arguments: str, folder: Path = foreign) -> str:
        command = [str(MELTANO), *arguments]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    meltano("init", "foreign", "--no-usage-stats", folder=tmp_path)
    for name in ("tap-robotmia", "target-mona"):
        definition = loaded(HUB / PLUGINS[name] / name / f"{VARIANT}.yml")
        definition["pip_url"] = str(wheel)
        copied = tmp_path / f"{name}.yml"
        copied.write_text(yaml.safe_dump(definition), encoding="utf-8")
        meltano("add", name, "--from-ref", str(copied))
        assert wheel.name.split("-")[1] in meltano("invoke", name, "--version")
    meltano("run", "tap-robotmia", "target-mona")
    sent = sandbox.mona.messages()
    assert len(sent) == len(sandbox.robotmia.events(today)) > 0
    assert {message["arc_class"] for message in sent} == {"SHOP"}
