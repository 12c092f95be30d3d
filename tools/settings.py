"""The settings in meltano.yml and docs/, generated from `--about`; see `tools/docs.py`."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
MELTANO = ROOT / "meltano.yml"
DOCS = ROOT / "docs"
DISTRIBUTION = "singer-martech"

PLUGINS = {
    "tap-robotmia": "extractors",
    "tap-mediarithmics": "extractors",
    "target-mona": "loaders",
    "target-monetate": "loaders",
    "target-mediarithmics": "loaders",
}

#: Settings of the SDK; the pages list their names in one line.
SDK_SETTINGS = (
    "add_record_metadata",
    "batch_config",
    "faker_config",
    "flattening_",
    "load_method",
    "stream_map",
    "validate_records",
)

_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    # With the kind decimal, Meltano 4.4 fails to write the plugin's configuration if the value
    # comes from the environment (Decimal is not JSON serializable). The plugins accept text.
    "number": "string",
    "object": "object",
    "array": "array",
    "string": "string",
}


def about(plugin: str) -> dict[str, Any]:
    """Return the output of a plugin's `--about` in JSON."""
    module = plugin.replace("-", "_")
    response = subprocess.run(
        [sys.executable, "-m", module, "--about", "--format", "json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    said: dict[str, Any] = json.loads(response.stdout)
    return said


def renewed_meltano(text: str, plugins: dict[str, dict[str, Any]]) -> str:
    """Return meltano.yml with the capabilities and settings of the plugins."""
    for name, said in plugins.items():
        declared = {
            "capabilities": said["capabilities"],
            "settings": meltano_settings(said["settings"]),
        }
        lines = yaml.dump(declared, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=90)
        begin, end = f"      # {name} --about", f"      # end of {name} --about"
        text = _between(text, begin, end, "\n" + textwrap.indent(lines, 6 * " "))
    return text


class _Dumper(yaml.SafeDumper):
    """Indents the items of lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)


def renewed_page(text: str, said: dict[str, Any]) -> str:
    """Return a plugin's page with its settings table between the markers."""
    begin, end = f"<!-- settings:{said['name']} -->", "<!-- /settings -->"
    return _between(text, begin, end, f"\n\n{settings_table(said['settings'])}\n\n")


def _between(text: str, begin: str, end: str, content: str) -> str:
    before, found, rest = text.partition(begin + "\n")
    _, also_found, after = rest.partition(end + "\n")
    if not (found and also_found):
        message = f"the lines {begin!r} and {end!r} are missing"
        raise ValueError(message)
    return f"{before}{begin}{content}{end}\n{after}"


def meltano_settings(schema: dict[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """Return the settings of a plugin as Meltano declares them; nested ones get a dot."""
    declared: list[dict[str, Any]] = []
    for name, definition in schema["properties"].items():
        inner = definition.get("properties", {})
        if inner and not any(key.startswith("__") for key in inner):
            declared += meltano_settings(definition, f"{prefix}{name}.")
        else:
            declared.append(_meltano_setting(f"{prefix}{name}", definition))
    return declared


def _meltano_setting(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    options = definition.get("enum")
    setting: dict[str, Any] = {
        "name": name,
        "label": definition["title"],
        "kind": "options" if options else _kind(name, definition),
        "description": definition["description"],
    }
    if options:
        setting["options"] = [{"label": _label(item), "value": item} for item in options if item]
    if definition.get("secret"):
        setting["sensitive"] = True
    if definition.get("default") is not None:
        setting["value"] = definition["default"]
    return setting


def _kind(name: str, definition: dict[str, Any]) -> str:
    types = _types(definition)
    if name.endswith("_date"):
        return "date_iso8601"
    # a setting of several types is mostly written as an object
    return next((_KINDS[item] for item in ("object", "array") if item in types), None) or next(
        (_KINDS[item] for item in types), "string"
    )


def _types(definition: dict[str, Any]) -> list[str]:
    types = definition.get("type", [])
    return [item for item in ([types] if isinstance(types, str) else types) if item != "null"]


def _label(option: object) -> str:
    text = str(option)
    return text if text.isupper() else text.replace("_", " ").capitalize()


def settings_table(schema: dict[str, Any]) -> str:
    """Return the settings of a plugin as a table, and those of the SDK as a line."""
    required = schema.get("required", [])
    rows = ["| Setting | Default | Meaning |", "|---|---|---|"]
    own = {
        name: definition
        for name, definition in schema["properties"].items()
        if not name.startswith(SDK_SETTINGS)
    }
    for name, definition in own.items():
        secret = " (secret)" if definition.get("secret") else ""
        default = definition.get("default")
        shown = "required" if name in required else _default(default)
        rows.append(f"| `{name}`{secret} | {shown} | {_cell(definition['description'])} |")
    others = ", ".join(f"`{name}`" for name in schema["properties"] if name not in own)
    return "\n".join([*rows, "", f"And those of the Singer SDK: {others}."])


def _default(value: object) -> str:
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str) -> str:
    parts = text.replace("|", "\\|").replace("\n", " ").split("`")
    # outside of code, a page would take <name> for HTML
    parts[::2] = [part.replace("<", "\\<") for part in parts[::2]]
    return "`".join(parts)
