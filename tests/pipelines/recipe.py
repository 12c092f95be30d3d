"""Run the pages in docs/recipes: merge their excerpts into `meltano.yml`, run their commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.pipelines.meltano import MELTANO, ROOT, MeltanoProject, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.sandbox.server import Sandbox

PAGES = ROOT / "docs" / "recipes"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: What a run leaves in a project folder, except installed plugins.
_LEFT_BEHIND = (
    *("warehouse.duckdb", "rejects", "summaries", "shared", "crm", "again.jsonl"),
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
        """Parse a page."""
        blocks = _FENCE.findall((PAGES / f"{name}.md").read_text(encoding="utf-8"))
        excerpt: dict[str, Any] = {}
        for language, text in blocks:
            if language == "yaml":
                excerpt = _merged(excerpt, yaml.safe_load(text))
        return cls(excerpt, [text for language, text in blocks if language == "sh"])


class RecipeRunner:
    """A Meltano project in which recipes run one after the other.

    Plugins stay installed; everything else is reset for each recipe.
    """

    def __init__(self, folder: Path) -> None:
        self.project = MeltanoProject(folder)
        self.folder = folder

    def prepare(self, recipe: Recipe) -> None:
        """Reset the project, with the recipe's excerpt merged into `meltano.yml`."""
        for name in _LEFT_BEHIND:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
        text = yaml.safe_dump(_merged(project, recipe.excerpt), sort_keys=False)
        (self.folder / "meltano.yml").write_text(text, encoding="utf-8")

    def run(self, commands: str, sandbox: Sandbox, **variables: str) -> str:
        """Run shell commands in the project's folder and return their output."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TAP_", "TARGET_", "MELTANO_"))
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env={
                **inherited,
                "PATH": f"{MELTANO.parent}{os.pathsep}{os.environ['PATH']}",
                **sandbox_settings(sandbox),
                **variables,
            },
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


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
