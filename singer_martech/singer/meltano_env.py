"""Objects in the environment variables that Meltano sets for the commands of a plugin."""

from __future__ import annotations

import json
import re
from typing import Any

_PATH_SEPARATOR = re.compile(r"(?<!\\)\.")


def unflattened(text: str) -> str | dict[str, Any]:
    r"""Return an object that Meltano flattened as it was in ``meltano.yml``.

    Meltano joins the names of nested keys with dots, ``{"events.arc_class": "SHOP"}``, and
    escapes dots in names as ``\.``. Any other text is returned unchanged.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, dict) or not any(
        _PATH_SEPARATOR.search(path) and isinstance(item, (str, int, float, list))
        for path, item in value.items()
    ):
        return text
    nested: dict[str, Any] = {}
    for path, item in value.items():
        *parents, name = (part.replace(r"\.", ".") for part in _PATH_SEPARATOR.split(path))
        parent = nested
        for each in parents:
            parent = parent.setdefault(each, {})
            if not isinstance(parent, dict):
                return text
        parent[name] = item
    return nested
