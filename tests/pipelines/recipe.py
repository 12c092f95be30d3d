"""Run the pages in docs/recipes in a fresh Meltano project."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.pipelines.fresh_project import FreshProject
from tests.pipelines.meltano import ROOT
from tools.settings import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.sandbox.server import Sandbox

PAGES = ROOT / "docs" / "recipes"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Files that a run creates in a project folder, except installed plugins.
_LEFT_BEHIND = (
    *("warehouse.duckdb", "rejects", "summaries", "shared", "crm", "again.jsonl", "ledger.db"),
    *("report.html", "monetate.pem"),
    *(".meltano/meltano.db", ".meltano/run"),
)


@dataclass(frozen=True)
class Recipe:
    """A page.

    Attributes:
        excerpt: Its addition to `meltano.yml`.
        commands: Its blocks of shell commands, in order.
    """

    excerpt: dict[str, Any]
    commands: list[str]

    @classmethod
    def read(cls, name: str) -> Recipe:
        """Parse a page of docs/recipes."""
        return cls.read_page(PAGES / f"{name}.md")

    @classmethod
    def read_page(cls, path: Path, heading: str = "") -> Recipe:
        """Parse a page, or one of its sections."""
        _, _, section = path.read_text(encoding="utf-8").partition(heading or "# ")
        blocks = _FENCE.findall(section.partition("\n## ")[0] if heading else section)
        excerpt: dict[str, Any] = {}
        for language, text in blocks:
            if language == "yaml":
                excerpt = _merged(excerpt, yaml.safe_load(text))
        return cls(excerpt, [text for language, text in blocks if language == "sh"])


class RecipeRunner:
    """A fresh Meltano project in which recipes run one after the other.

    It holds the five plugins, and this project's definitions of third-party ones, which a user
    adds from the Hub. Plugins stay installed; everything else is reset for each recipe.
    """

    def __init__(self, parent: Path) -> None:
        self.project = FreshProject(parent)
        self.folder = self.project.folder
        shutil.copytree(ROOT / "requirements", self.folder / "requirements")
        shipped = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]
        third_party = {
            kind: [plugin for plugin in plugins if plugin["name"] not in PLUGINS]
            for kind, plugins in shipped.items()
        }
        initial = yaml.safe_load((self.folder / "meltano.yml").read_text(encoding="utf-8"))
        self._initial = _merged(initial, {"plugins": third_party})

    @property
    def warehouse(self) -> Path:
        """The DuckDB database that `target-duckdb` writes."""
        return self.folder / "warehouse.duckdb"

    def prepare(self, *excerpts: dict[str, Any]) -> None:
        """Reset the project, with excerpts merged into `meltano.yml`."""
        for name in _LEFT_BEHIND:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        project = self._initial
        for excerpt in excerpts:
            project = _merged(project, excerpt)
        text = yaml.safe_dump(project, sort_keys=False)
        (self.folder / "meltano.yml").write_text(text, encoding="utf-8")

    def run(self, commands: str, sandbox: Sandbox, **variables: str) -> str:
        """Run shell commands in the project's folder and return their output."""
        fast = {"TARGET_MEDIARITHMICS_POLL_INTERVAL_SECONDS": "0.2"}
        return self.project.shell(commands, sandbox, **{**fast, **variables})


def _merged(base: Any, excerpt_value: Any) -> Any:
    """Merge one YAML value into another; items of lists are matched by their names."""
    if isinstance(base, dict) and isinstance(excerpt_value, dict):
        joined: Mapping[str, Any] = {
            key: _merged(base[key], value) if key in base else value
            for key, value in excerpt_value.items()
        }
        return {**base, **joined}
    if _has_names(base) and _has_names(excerpt_value):
        new = {each["name"]: each for each in excerpt_value}
        merged = [_merged(each, new.pop(each["name"], {})) for each in base]
        return [*merged, *new.values()]
    return excerpt_value


def _has_names(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and "name" in each for each in value
    )
