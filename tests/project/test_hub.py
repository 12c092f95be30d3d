"""The definitions for the Meltano Hub follow its rules and install anywhere."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.pipelines.fresh_project import FreshProject
from tools.hub import HUB, VARIANT
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
def test_the_rules_find_what_the_hub_would_reject(
    break_it: Any, rules: jsonschema.Draft7Validator
) -> None:
    definition = copy.deepcopy(loaded(HUB / "extractors" / "tap-robotmia" / f"{VARIANT}.yml"))
    break_it(definition)
    assert list(rules.iter_errors(definition))


@pytest.fixture(scope="module")
def fresh_project(tmp_path_factory: pytest.TempPathFactory) -> FreshProject:
    return FreshProject(tmp_path_factory.mktemp("fresh"))


MAPPING = json.dumps({"events.arc_class": "SHOP", "events.message.event": "{{ event }}"})
"""An object of `meltano.yml`, as Meltano passes it in the environment."""


@pytest.mark.pipeline
@pytest.mark.timeout(300)
def test_the_definitions_install_and_run_in_a_fresh_meltano_project(
    fresh_project: FreshProject, sandbox: Sandbox
) -> None:
    for name in PLUGINS:
        assert version("singer-martech") in fresh_project.meltano(
            "invoke", name, "--version", sandbox=sandbox
        )
    yesterday = sandbox.robotmia.today - timedelta(days=1)
    noon = int(datetime(*yesterday.timetuple()[:3], 12, tzinfo=timezone.utc).timestamp())
    sandbox.robotmia.set_events(
        {"event": "Login", "properties": {"time": noon + second}} for second in range(3)
    )
    fresh_project.meltano(
        *("run", "tap-robotmia", "target-mona"),
        sandbox=sandbox,
        TAP_ROBOTMIA_START_DATE=yesterday.isoformat(),
        TARGET_MONA_STREAMS='{"events": {"arc_class": "SHOP"}}',
    )
    sent = sandbox.mona.messages()
    assert [message["arc_class"] for message in sent] == ["SHOP"] * 3


@pytest.mark.pipeline
@pytest.mark.timeout(300)
def test_the_commands_of_the_definitions_run_in_a_fresh_meltano_project(
    fresh_project: FreshProject, sandbox: Sandbox
) -> None:
    def invoke(*arguments: str, **variables: str) -> str:
        return fresh_project.meltano("invoke", *arguments, sandbox=sandbox, **variables)

    assert "✓ login" in invoke("target-mona:check", TARGET_MONA_STREAMS=MAPPING)
    for name in PLUGINS:
        assert "✓ settings" in invoke(f"{name}:check")
    row = {"customer_id": "C1", "city": "Paris"}
    messages = [
        {"type": "SCHEMA", "stream": "customer_attributes", "schema": {}, "key_properties": []},
        {"type": "RECORD", "stream": "customer_attributes", "record": row},
    ]
    lines = "\n".join(map(json.dumps, messages))
    (fresh_project.folder / "lines.jsonl").write_text(f"{lines}\n", encoding="utf-8")
    fresh_project.shell("meltano invoke target-monetate < lines.jsonl", sandbox)
    shown = invoke("target-monetate:record", "--schema", "customer_attributes", "--id", "C1")
    assert "Paris" in shown

    folder = fresh_project.folder
    sandbox.robotmia.set_events([])
    fresh_project.meltano(
        *("run", "tap-robotmia", "target-mona"),
        sandbox=sandbox,
        TARGET_MONA_SUMMARY_PATH=str(folder / "summaries"),
    )
    assert "report.html" in invoke("target-mona:report", str(folder / "summaries"))
    (folder / "rejects").mkdir(exist_ok=True)
    report = folder / "rejects" / "target-mona.s.1.jsonl"
    line = {"stream": "s", "key": {"id": 1}, "reason": "bad", "status": None, "record": {}}
    report.write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert "s: bad" in invoke("target-mona:rejects", "summary", "rejects/target-mona.*.jsonl")
