"""Schemas of real taps, loaded into each target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.coverage import coverage
from tests.kit.singer import record
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
