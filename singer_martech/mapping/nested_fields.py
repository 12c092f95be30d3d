"""Find the nested fields that a template reads and a schema lacks.

Such a field is undefined, so the key of the template is left out of every record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.mapping.template_code import Text
from singer_martech.mapping.undefined import located
from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SCALARS = {"string", "number", "integer", "boolean", "null"}


def unknown_nested_fields(parsed: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each nested field, such as ``address.city``, that the schema lacks."""
    if isinstance(parsed, Text):
        for part in parsed.parts:
            if not isinstance(part, str):
                problems = {_problem(keys, schema) for keys in part.nested_fields} - {""}
                yield from (located(part.path, problem) for problem in sorted(problems))
    elif isinstance(parsed, (dict, list)):
        for value in parsed.values() if isinstance(parsed, dict) else parsed:
            yield from unknown_nested_fields(value, schema)


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
