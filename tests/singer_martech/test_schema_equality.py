from __future__ import annotations

from typing import Any

import pytest

from singer_martech.values.schema_equality import canonical_schema


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "string"}, {"type": ["string"]}),
        ({"type": ["null", "string"]}, {"type": ["string", "null"]}),
        ({"enum": [1, "1", None]}, {"enum": [None, "1", 1]}),
        ({"anyOf": [{"type": "null"}, {}]}, {"anyOf": [{}, {"type": "null"}]}),
        ({"required": ["a", "b"]}, {"required": ["b", "a"]}),
        ({"title": "x", "default": 1}, {"description": "y", "examples": [2]}),
        ({"properties": {"a": {"title": "x"}, "b": {}}}, {"properties": {"b": {}, "a": {}}}),
        ({"items": [{"title": "x"}, {}]}, {"items": [{}, {}]}),
    ],
)
def test_order_and_annotations_do_not_matter(one: Any, other: Any) -> None:
    assert canonical_schema(one) == canonical_schema(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "string"}, {"type": "string", "format": "date-time"}),
        ({"properties": {"title": {}}}, {"properties": {}}),
        ({"properties": {"default": {"type": "null"}}}, {"properties": {"default": {}}}),
        ({"definitions": {"title": {}}}, {"definitions": {}}),
        ({"items": [{}, {"type": "null"}]}, {"items": [{"type": "null"}, {}]}),
        ({"const": {"title": "x"}}, {"const": {}}),
        ({"const": {"type": ["a", "b"]}}, {"const": {"type": ["b", "a"]}}),
        ({"enum": [{"title": 1}]}, {"enum": [{}]}),
        ({"enum": [1]}, {"enum": [True]}),
        ({"dependencies": {"a": ["b"]}}, {"dependencies": {"a": ["c"]}}),
    ],
)
def test_a_change_of_what_a_schema_accepts_matters(one: Any, other: Any) -> None:
    assert canonical_schema(one) != canonical_schema(other)
