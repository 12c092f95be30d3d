from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from target_mona.target import TargetMona
from tests.singer_martech.test_schema import INPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.server import Sandbox


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_a_target_loads_the_records_that_a_schema_of_the_wild_accepts(
    path: Path, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = json.loads(path.read_bytes())
    records = [*filter(None, case["valid"]), *case["invalid"]]
    schema = {"type": "SCHEMA", "stream": "orders", "schema": case["schema"]}
    lines: list[dict[str, Any]] = [
        {**schema, "key_properties": []},
        *({"type": "RECORD", "stream": "orders", "record": record} for record in records * 2),
    ]
    config = {**sandbox.mona.credentials(), "reject_path": str(tmp_path)}
    target = TargetMona(config={**config, "max_rejected_records": 1000})
    target.listen(io.StringIO("\n".join(map(json.dumps, lines))))
    sent = [each["message"] for each in sandbox.mona.messages()]
    valid = list(filter(None, case["valid"]))
    assert sorted(map(json.dumps, sent)) == sorted(map(json.dumps, valid * 2))
    reports = "".join(file.read_text() for file in tmp_path.iterdir())
    assert reports.count('"reason":') == 2 * len(case["invalid"])
    ignored = {keyword for keyword, _ in case["ignored"]}
    warned = [each.getMessage() for each in caplog.records if "is ignored" in each.getMessage()]
    assert {keyword for text in warned for keyword in ignored if f"'{keyword}'" in text} == ignored
    assert len(warned) == len(set(warned))
