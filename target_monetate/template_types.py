"""The Monetate types of the fields of mapped rows, inferred from their templates.

This module loads Jinja, which is slow: import it only where a mapping has templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from singer_martech.mapping.filters import FILTERS
from singer_martech.mapping.template import Template
from target_monetate.dataset import BOOLEAN, DATETIME, MULTI_STRING, NUMBER, STRING
from target_monetate.field_types import FieldSource, data_type

_TYPE_OF_FILTER = {
    **dict.fromkeys(("sha256", "uuid", "uuid1", "lower", "upper", "title", "capitalize"), STRING),
    **dict.fromkeys(("trim", "replace", "join", "string", "truncate", "format"), STRING),
    "iso": DATETIME,
    **dict.fromkeys(["epoch_s", "epoch_ms", "int", "float", "round", "length", "count"], NUMBER),
    "list": MULTI_STRING,
}
_NESTED = (dict, list)
_ENVIRONMENT = Environment(autoescape=True)  # parses only; nothing is rendered
_ENVIRONMENT.filters.update(FILTERS)


def of_mapping(row: Any, schema: Mapping[str, Any]) -> dict[str, FieldSource] | None:
    """Return the fields of rows made by a mapping's ``row``, or None if they are unknown."""
    if not isinstance(row, Mapping):
        return None
    return {name: _source(value, schema) for name, value in row.items()}


def _source(value: Any, schema: Mapping[str, Any]) -> FieldSource:
    reads = frozenset(Template(value, "").named)
    if isinstance(value, bool):
        return FieldSource(BOOLEAN, reads)
    if isinstance(value, str):
        return FieldSource(_type_of_text(value, schema), reads)
    if isinstance(value, list):
        return FieldSource(
            STRING if any(isinstance(x, _NESTED) for x in value) else MULTI_STRING, reads
        )
    return FieldSource(STRING if isinstance(value, _NESTED) else NUMBER, reads)


def _type_of_text(text: str, schema: Mapping[str, Any]) -> str | None:
    body = _parsed(text).body
    parts = body[0].nodes if len(body) == 1 and isinstance(body[0], nodes.Output) else []
    relevant = [
        part for part in parts if not isinstance(part, nodes.TemplateData) or part.data.strip()
    ]
    if len(relevant) != 1 or isinstance(relevant[0], nodes.TemplateData):
        return STRING  # text, or text around expressions
    return _type_of_expression(relevant[0], schema)


def _type_of_expression(node: nodes.Expr, schema: Mapping[str, Any]) -> str | None:
    if isinstance(node, nodes.Filter):
        return _TYPE_OF_FILTER.get(node.name)
    if isinstance(node, (nodes.Concat, nodes.TemplateData)):
        return STRING
    if isinstance(node, (nodes.Compare, nodes.Not, nodes.Test)):
        return BOOLEAN
    path = _path(node)
    if path == ["stream"]:
        return STRING
    definition: Any = schema
    for name in path or ():
        properties = definition.get("properties") if isinstance(definition, Mapping) else None
        definition = (properties or {}).get(name)
    return data_type(definition) if path and definition is not None else None


def _path(node: nodes.Node) -> list[str] | None:
    """Return the path from the record to a value, such as ``record.a['b']``; None otherwise."""
    if isinstance(node, nodes.Name):
        return [] if node.name == "record" else [node.name]
    step: Any = None
    if isinstance(node, nodes.Getattr):
        step = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        step = node.arg.value
    if not isinstance(step, str) or not isinstance(node, (nodes.Getattr, nodes.Getitem)):
        return None
    before = _path(node.node)
    return None if before is None else [*before, step]


def _parsed(text: str) -> nodes.Template:
    try:
        return _ENVIRONMENT.parse(text)
    except TemplateSyntaxError:  # reported when the mapping was compiled
        return _ENVIRONMENT.parse("")
