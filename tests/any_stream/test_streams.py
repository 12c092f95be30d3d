"""Many streams and repeated schemas, loaded into each target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.any_stream.loader import ANY_TARGETS, Loader
from tests.kit.singer import record, records, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.singer import Line
    from tests.sandbox.server import Sandbox


def reordered(value: Any) -> Any:
    """Return an equivalent schema in another order."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return value


def test_fifty_streams_share_as_few_requests_as_their_rows_need(load: Loader) -> None:
    names = [f"stream_{number}" for number in range(50)]
    lines: list[Line] = []
    for name in names:
        lines += [schema(name), *records(10, name, name=name), state({"bookmarks": {name: {}}})]
    outcome = load(*lines)
    assert len(load.requests) == 1
    assert load.records == [{"id": n, "name": name} for name in names for n in range(1, 11)]
    assert outcome.messages[-1] == {"bookmarks": {names[-1]: {}}}


def test_fifty_interleaved_streams_share_requests_too(load: Loader) -> None:
    names = [f"stream_{number}" for number in range(50)]
    lines = [schema(name) for name in names]
    for number in range(10):
        lines += [record(name, id=number) for name in names]
    load(*lines, max_request_rows=250)
    assert len(load.requests) == 2
    assert len(load.records) == 500


def test_an_equivalent_schema_flushes_nothing(load: Loader) -> None:
    message = schema(id={"type": ["integer", "null"], "title": "a"}, n={"enum": [1, 2]})
    other = schema(
        id={"title": "a", "anyOf": [{"type": ["null"]}, {"type": "integer"}]}, n={"enum": [2, 1]}
    )
    same = schema(
        n={"enum": [1, 2]}, id={"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "a"}
    )
    load(message, record(id=1), reordered(message), record(id=2), schema("b"))
    assert len(load.requests) == 1
    load(other, record(id=3), same, record(id=4))
    assert len(load.requests) == 2
    assert [each["id"] for each in load.records] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "orders"},
        {"description": "x", "$id": "https://example.com/orders"},
        {"x-unknown": True},
    ],
)
def test_a_schema_with_other_annotations_flushes_nothing(
    load: Loader, changed: dict[str, Any]
) -> None:
    message = schema(id={"type": "integer"})
    assert isinstance(message, dict)
    load(
        message,
        record(id=1),
        {**message, "schema": {**message["schema"], **changed}},
        record(id=2),
        {**message, "bookmark_properties": ["id"], "time_extracted": "2024-01-01T00:00:00Z"},
        record(id=3),
    )
    assert len(load.requests) == 1


def test_a_schema_of_a_stream_without_pending_records_flushes_nothing(load: Loader) -> None:
    load(
        schema("a"),
        record("a", id=1),
        schema("b", id={"type": "integer"}),
        schema("b", id={"type": "string"}),
        record("b", id="2"),
    )
    assert len(load.requests) == 1


def test_a_schema_that_changes_pending_records_flushes_them(load: Loader) -> None:
    load(
        schema(id={"type": "integer"}),
        record(id=1),
        schema(id={"type": "string"}),
        record(id="2"),
        record(id=3),
        max_rejected_records=1,
    )
    assert [each["id"] for each in load.records] == [1, "2"]
    assert len(load.requests) == 2
    assert [json.loads(line)["key"] for line in load.reports] == [{"id": 3}]


@pytest.mark.parametrize("text", ["", "x" * 40_000], ids=["small", "large"])
def test_many_streams_and_reports_need_few_open_files(load: Loader, text: str) -> None:
    names = [f"stream_{number}" for number in range(180)]
    lines: list[Line] = [schema(name, id={"type": "integer"}) for name in names]
    lines += [record(name, id=1, name=name, text=text) for name in names]
    lines += [record(name, id="x") for name in names]
    if load.name == "target-mediarithmics":  # each with its own import
        load.settings["streams"] = {"*": {"document_type": "ANYTHING"}}
    log = load.in_process(*lines, max_files=160, max_rejected_records=180)
    assert sorted(each["name"] for each in load.records) == sorted(names)
    assert sorted(json.loads(line)["stream"] for line in load.reports) == sorted(names)
    assert log.count("summary: ") == 180


def test_interleaved_streams_need_one_request_per_import(sandbox: Sandbox, tmp_path: Path) -> None:
    load = Loader(ANY_TARGETS[-1], sandbox, tmp_path)
    names = [f"stream_{number}" for number in range(120)]
    lines = [schema(name) for name in names]
    lines += [record(name, id=number) for number in range(3) for name in names]
    load(*lines, streams={"*": {"document_type": "ANYTHING"}}, parallel_requests=6)
    assert len(load.requests) == 120
    assert len(load.records) == 360
