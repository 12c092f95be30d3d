"""The Monetate types of the fields of mapped rows, inferred from their templates.

This module loads Jinja, which is slow: import it only where a mapping has templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from singer_martech.mapping.expressions import keys_of
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
    if isinstance(node, nodes.Name) and node.name == "stream":
        return STRING
    keys = keys_of(node)
    definition: Any = schema
    for name in keys:
        properties = definition.get("properties") if isinstance(definition, Mapping) else None
        definition = (properties or {}).get(name)
    return data_type(definition) if keys and definition is not None else None


def _parsed(text: str) -> nodes.Template:
    try:
        return _ENVIRONMENT.parse(text)
    except TemplateSyntaxError:  # reported when the mapping was compiled
        return _ENVIRONMENT.parse("")
