"""The definitions for the Meltano Hub, made from `--about`, `meltano.yml` and `hub/words.yml`."""

from __future__ import annotations

from importlib.metadata import metadata
from typing import TYPE_CHECKING, Any

import yaml

from tools import settings
from tools.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HUB = ROOT / "hub"
VARIANT = "singer-martech"


def definitions(project: dict[str, Any], plugins: dict[str, dict[str, Any]]) -> dict[Path, str]:
    """Return the definition of each plugin, by the file that holds it.

    Args:
        project: What `meltano.yml` holds.
        plugins: What each plugin says of itself.
    """
    words = yaml.safe_load((HUB / "words.yml").read_text(encoding="utf-8"))
    known = {
        each["name"]: (kind, each) for kind, found in project["plugins"].items() for each in found
    }
    return {
        HUB / known[name][0] / name / f"{VARIANT}.yml": _text(
            _definition(said, known[name][1], words[name])
        )
        for name, said in plugins.items()
    }


def _definition(
    said: dict[str, Any], ours: dict[str, Any], words: dict[str, Any]
) -> dict[str, Any]:
    repository = _repository()
    return {
        "name": said["name"],
        "variant": VARIANT,
        "namespace": ours["namespace"],
        "label": ours["label"],
        "description": said["description"],
        **({"repo": repository} if repository else {}),
        "pip_url": settings.DISTRIBUTION,
        "executable": ours["executable"],
        "capabilities": sorted(said["capabilities"]),
        "supported_python_versions": said["supported_python_versions"],
        "maintenance_status": "beta",
        "quality": "unknown",  # the Hub rates
        "log_parser": "singer-sdk",
        "settings": sorted(
            settings.meltano_settings(said["settings"]), key=lambda each: str(each["name"])
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
    """Writes YAML as the Hub keeps it: keys in order, lists as deep as their key."""


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represented)


def _text(definition: dict[str, Any]) -> str:
    text: str = yaml.dump(
        definition, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=80, indent=2
    )
    return text
