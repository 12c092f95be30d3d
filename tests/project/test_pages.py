"""The documentation has valid links, complete sections and working examples."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tools import settings
from tools.settings import DOCS, PLUGINS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "hub").glob("*.md")]
    if path.is_file()
)

_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z]+(?:-[a-z]+)*)\b")

#: Sections that each plugin's page has, by a word of their heading.
PARTS = {
    "tap": ("Start", "Settings", "Streams", "State", "Limits", "When"),
    "target": ("Start", "Settings", "Mappings", "Guarantees", "Limits", "When"),
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dead = []
    for target in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"https?:", target):
            continue
        place, _, anchor = target.partition("#")
        path = page.parent / place if place else page
        if not path.exists() or (
            anchor and anchor not in anchors(path.read_text(encoding="utf-8"))
        ):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_row_of_a_table_has_the_cells_of_its_head(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, *rows = (len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines())
        assert set(rows) == {head}, table


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"`([^`\n]+)`", text) + [block for _, block in _FENCE.findall(text)]
    named = {target for each in code for target in _MAKE.findall(each)}
    assert named <= known


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_page_of_a_plugin_has_all_its_parts(plugin: str) -> None:
    text = (DOCS / f"{plugin}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", _FENCE.sub("", text), re.MULTILINE)
    for part in PARTS[plugin.partition("-")[0]]:
        assert any(part in heading for heading in headings), part
    last = text[text.rindex("\n## When a run fails\n") :]
    rows = [line for line in last.splitlines() if line.startswith("| ")]
    assert rows[0] == "| line | cause | remedy |"
    assert len(rows) > 5
    assert [row for row in rows if not re.fullmatch(r"\|( .*\S.* \|){3}", row)] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_excerpts_of_a_page_name_settings_that_the_plugin_has(plugin: str) -> None:
    text = (DOCS / f"{plugin}.md").read_text(encoding="utf-8")
    known = set(settings.about(plugin)["settings"]["properties"])
    configured: set[str] = set()
    for language, block in _FENCE.findall(text):
        if language == "yaml":
            configured |= _settings(yaml.safe_load(block), plugin)
    assert configured
    assert configured <= known


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_environment_variable_that_a_page_names_is_a_setting(plugin: str) -> None:
    text = (DOCS / f"{plugin}.md").read_text(encoding="utf-8")
    prefix = plugin.replace("-", "_").upper()
    named = {name.lower() for name in re.findall(rf"\b{prefix}_([A-Z_]+)", text)}
    assert named
    assert named <= set(settings.about(plugin)["settings"]["properties"])


def _settings(value: Any, plugin: str) -> set[str]:
    """Return the settings of a plugin that an excerpt of `meltano.yml` gives."""
    found: set[str] = set()
    if isinstance(value, dict):
        if value.get("name") == plugin:
            return set(value.get("config", {}))
        for each in value.values():
            found |= _settings(each, plugin)
    elif isinstance(value, list):
        for each in value:
            found |= _settings(each, plugin)
    return found


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_describes_itself_in_whole_sentences(plugin: str) -> None:
    about = settings.about(plugin)
    said = {
        setting: definition["description"]
        for setting, definition in about["settings"]["properties"].items()
        if not setting.startswith(settings.SDK_SETTINGS)
    }
    said["the plugin"] = about["description"]
    assert [
        setting
        for setting, text in said.items()
        if not (text[0].isupper() or text.startswith("{"))
        or text.startswith(("How ", "What ", "Where ", "Which "))
        or not text.endswith(".")
    ] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    tracked = set(
        subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split()
    )
    names = {path.rsplit("/", 1)[-1] for path in tracked}
    missing = [
        each
        for each in re.findall(r"`([\w/.-]+\.(?:py|yml|toml|md))`", text)
        if each not in tracked and each.rsplit("/", 1)[-1] not in names
    ]
    assert missing == []
