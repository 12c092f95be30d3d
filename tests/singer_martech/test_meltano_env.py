"""Objects that Meltano has flattened for the environment of a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from singer_martech.singer.meltano_env import unflattened


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"events.arc_class": "SHOP"}, {"events": {"arc_class": "SHOP"}}),
        (
            {"events.message.a": "{{ a }}", "events.context_id": ["id"], "scores": {}},
            {"events": {"message": {"a": "{{ a }}"}, "context_id": ["id"]}, "scores": {}},
        ),
        ({r"public\.orders.arc_class": "O"}, {"public.orders": {"arc_class": "O"}}),
    ],
)
def test_objects_that_meltano_flattened_are_nested_again(
    flat: dict[str, Any], nested: dict[str, Any]
) -> None:
    assert unflattened(json.dumps(flat)) == nested


@pytest.mark.parametrize(
    "text",
    [
        '{"public.orders": {"arc_class": "O"}}',
        '{"public.orders": null}',
        '{"a": 1, "a.b": 2}',
        "[1]",
        "{",
        "[" * 100_000,
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert unflattened(text) == text
