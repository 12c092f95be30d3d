"""Schemas of real taps, loaded into each target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.coverage import coverage
from tests.kit.singer import record, schema
from tests.singer_martech.test_schema import INPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.any_stream.loader import Loader


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_records_that_a_real_schema_accepts_arrive_and_others_are_rejected(
    path: Path, load: Loader
) -> None:
    case = json.loads(path.read_bytes())
    valid = list(filter(None, case["valid"]))
    lines = [
        {"type": "SCHEMA", "stream": "orders", "schema": case["schema"], "key_properties": []},
        *(record(**each) for each in [*valid, *case["invalid"]] * 2),
    ]
    outcome = load(*lines, max_rejected_records=1000)
    assert sorted(map(json.dumps, load.records)) == sorted(map(json.dumps, valid * 2))
    rejected = [json.loads(line)["record"] for line in load.reports]
    assert sorted(map(json.dumps, rejected)) == sorted(map(json.dumps, case["invalid"] * 2))
    warned = [line for line in outcome.log.splitlines() if "is ignored" in line]
    for keyword, _ in case["ignored"]:
        assert any(f"'{keyword}'" in line for line in warned)


def test_the_schemas_of_taps_open_the_fast_path_for_all_valid_records() -> None:
    without = [each.name for each in coverage() if each.fast != each.records]
    assert without == ["tap-mongodb-first"]  # it names no columns


HALF = "\ud800"
"""Half of a surrogate pair, which UTF-8 cannot encode."""


@pytest.mark.parametrize(
    ("properties", "valid", "invalid"),
    [
        ({HALF: {"type": "string"}}, {HALF: "x"}, {HALF: 1}),
        ({"a": {"enum": [HALF, "b"]}}, {"a": HALF}, {"a": "c"}),
        ({"a": {"type": "string", "default": HALF, "title": HALF}}, {"a": "b"}, {"a": 1}),
        (
            {"a": {"type": "object", "properties": {HALF: {}}, "required": [HALF]}},
            {"a": {HALF: "x"}},
            {"a": {}},
        ),
    ],
)
def test_a_schema_with_half_of_a_surrogate_pair_is_enforced(
    load: Loader, properties: dict[str, Any], valid: dict[str, Any], invalid: dict[str, Any]
) -> None:
    lines = [schema(keys=[], **properties), record(**valid), record(**invalid)]
    load(*lines, *lines, max_rejected_records=2)
    assert load.records == [valid] * 2
    assert [json.loads(line)["record"] for line in load.reports] == [invalid] * 2


def test_a_key_property_may_hold_half_of_a_surrogate_pair(load: Loader) -> None:
    properties: dict[str, Any] = {HALF: {}}
    load(schema(keys=[HALF], **properties), record(**{HALF: 1}))
    assert load.records == [{HALF: 1}]


@pytest.mark.parametrize("keyword", ["const", "default", "enum", "examples"])
def test_a_value_in_a_schema_that_is_nested_too_deep_is_ignored(load: Loader, keyword: str) -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    field: dict[str, Any] = {"type": "integer", keyword: value}
    outcome = load(schema(keys=[], n=field), record(n=5), record(n=6))
    assert load.records == [{"n": 5}, {"n": 6}]
    assert f"the schema keyword '{keyword}' of 'n' is ignored: it is nested too deep" in outcome.log
