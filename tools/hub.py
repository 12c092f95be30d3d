"""The definitions for the Meltano Hub, made from `--about`, `meltano.yml` and `hub/words.yml`.

`make hub-local` writes them with the wheel in `dist/` as `pip_url`.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import metadata
from typing import TYPE_CHECKING, Any

import yaml

from tools import settings
from tools.release import DIST, build_wheel
from tools.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HUB = ROOT / "hub"
VARIANT = "singer-martech"
STATUS = "beta"
"""The same word as in the README and in the classifiers of pyproject.toml."""


def definitions(project: dict[str, Any], plugins: dict[str, dict[str, Any]]) -> dict[Path, str]:
    """Return the definition of each plugin as YAML, by its path.

    Args:
        project: The content of `meltano.yml`.
        plugins: The output of `--about` of each plugin.
    """
    words = yaml.safe_load((HUB / "words.yml").read_text(encoding="utf-8"))
    known = {
        each["name"]: (kind, each) for kind, found in project["plugins"].items() for each in found
    }
    return {
        HUB / known[name][0] / name / f"{VARIANT}.yml": _text(
            _definition(about, known[name][1], words[name])
        )
        for name, about in plugins.items()
    }


def _definition(
    about: dict[str, Any], ours: dict[str, Any], words: dict[str, Any]
) -> dict[str, Any]:
    repository = _repository()
    return {
        "name": about["name"],
        "variant": VARIANT,
        "namespace": ours["namespace"],
        "label": ours["label"],
        "description": about["description"],
        **({"repo": repository} if repository else {}),
        "pip_url": settings.DISTRIBUTION,
        "executable": ours["executable"],
        "capabilities": sorted(about["capabilities"]),
        "supported_python_versions": about["supported_python_versions"],
        "commands": ours["commands"],
        "maintenance_status": STATUS,
        "quality": "unknown",  # the Hub rates it
        "log_parser": "singer-sdk",
        "settings": sorted(
            settings.meltano_settings(about["settings"]), key=lambda each: str(each["name"])
        ),
        "settings_group_validation": ours["settings_group_validation"],
        **words,
    }


def _repository() -> str | None:
    for each in metadata(settings.DISTRIBUTION).get_all("Project-URL") or ():
        label, _, address = str(each).partition(", ")
        if label == "Repository":
            return address
    return None


class _Dumper(yaml.SafeDumper):
    """Writes YAML in the style of the Hub: keys in order, lists not indented."""


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represented)


def _text(definition: dict[str, Any]) -> str:
    text: str = yaml.dump(
        definition, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=80, indent=2
    )
    return text


def write_local_definitions(dist: Path) -> list[Path]:
    """Build the wheel into a folder, and write a definition of each plugin that installs it.

    Args:
        dist: The folder; it holds no wheel yet.

    Returns:
        The definitions, in `hub` below the folder.
    """
    wheel = build_wheel(dist)
    folder = dist / "hub"
    folder.mkdir()
    written = []
    for path in sorted(HUB.glob("*/*/*.yml")):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        local = folder / f"{definition['name']}.yml"
        local.write_text(_text({**definition, "pip_url": wheel.as_uri()}), encoding="utf-8")
        written.append(local)
    return written


def main() -> int:
    """Write the definitions into `dist/hub`, and print how to add them to a project."""
    shutil.rmtree(DIST, ignore_errors=True)
    for path in write_local_definitions(DIST):
        print(f"meltano add {path.stem} --from-ref {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
