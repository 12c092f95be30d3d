"""Find the nested fields that a template reads and a schema lacks.

Such a field is undefined, so the key of the template is left out of every record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TEXT = re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"", re.DOTALL)
_PATH = re.compile(r"(?<![\w.)\]])([^\W\d]\w*(?:\.[^\W\d]\w*)+)(\s*\()?")
_SCALARS = {"string", "number", "integer", "boolean", "null"}


def unknown_nested_fields(source: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each path with dots, such as ``address.city``, that the schema lacks.

    Args:
        source: A string of a mapping.
        schema: The stream's normalized schema.
    """
    for expression in _EXPRESSION.findall(source):
        for path, is_call in _PATH.findall(_TEXT.sub("''", expression)):
            names = path.split(".")
            if names[0] == "record" and "record" not in schema["properties"]:
                names = names[1:]
            problem = _problem(names[:-1] if is_call else names, schema)
            if problem:
                yield problem


def _problem(names: Sequence[str], schema: Mapping[str, Any]) -> str:
    node: Any = schema
    for depth, name in enumerate(names):
        fields = (node.get("properties") if isinstance(node, dict) else None) or {}
        parent = ".".join(names[:depth])
        if depth and not fields:
            return _problem_of_scalar(parent, name) if _is_scalar(node) else ""
        if name not in fields:
            if not depth:  # reported where all fields of the record are compared
                return ""
            return f"no field '{parent}.{name}' in the SCHEMA{did_you_mean(name, fields)}"
        node = fields[name]
    return ""


def _problem_of_scalar(field: str, name: str) -> str:
    call = f"; a method needs parentheses: {field}.{name}()" if hasattr(str, name) else ""
    return f"field '{field}' has no field '{name}'{call}"


def _is_scalar(node: Any) -> bool:
    kinds = node.get("type", ()) if isinstance(node, dict) else ()
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    return bool(kinds) and kinds <= _SCALARS
