"""The whole of Singer: several streams, changing schemas, versions, deletes, files, maps."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import record, records, schema, state
from tests.target_mona.conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.singer import Line
    from tests.sandbox.mona import Mona
    from tests.sandbox.server import Sandbox
    from tests.target_mona.conftest import Target


def test_interleaved_streams_share_requests_and_are_counted_apart(
    target: Target, mona: Mona
) -> None:
    lines: list[Line] = [schema("a"), schema("b")]
    for number in range(10):
        lines += [record("a", id=number), record("b", id=number), record("b", id=number + 100)]
    run = target(*lines)
    assert run.status == 0
    assert len(mona.exports) == 1
    assert (run.summary("a")["delivered"], run.summary("b")["delivered"]) == (10, 20)


def test_a_repeated_schema_changes_nothing_and_drains_nothing(target: Target, mona: Mona) -> None:
    run = target(schema(), record(id=1), schema(), record(id=2), schema(), record(id=3))
    assert run.status == 0
    assert len(mona.exports) == 1


def test_records_of_the_old_schema_are_drained_before_the_new_one(
    target: Target, mona: Mona
) -> None:
    run = target(
        schema(id={"type": "integer"}),
        record(id=1),
        schema(id={"type": "string"}),
        record(id="2"),
        schema(keys=["other"], other={"type": "string"}),
        record(id=3, other="x"),
        parallel_requests=4,
    )
    assert run.status == 0
    assert len(mona.exports) == 3
    assert [each["context_id"] for each in mona.messages()] == ["1", "2", "x"]
    times = [(export.started, export.ended) for export in mona.exports]
    for (_, ended), (started, _) in itertools.pairwise(times):
        assert ended is not None
        assert ended <= started


def test_the_new_schema_decides_what_is_valid(target: Target) -> None:
    run = target(
        schema(id={"type": "integer"}),
        record(id="early"),
        schema(id={"type": "string"}),
        record(id="late"),
        record(id=5),
        max_rejected_records=2,
    )
    assert run.status == 0
    assert [each["key"]["id"] for each in run.rejects] in (["early", 5], [5, "early"])
    schemas = {
        json.loads(path.read_text())["schema"]["properties"]["id"]["type"]
        for path in Path(run.reject_path).glob("*.schema.json")
    }
    assert schemas == {"integer", "string"}


def test_a_version_is_activated_by_draining(target: Target, mona: Mona) -> None:
    run = target(
        schema(),
        record(id=1),
        {"type": "ACTIVATE_VERSION", "stream": "orders", "version": 5},
        record(id=2),
        state(1),
    )
    assert run.status == 0
    assert run.states == [1]
    assert len(mona.exports) == 2
    assert len(mona.messages()) == 2


@pytest.mark.parametrize(
    ("deletes", "delivered", "skipped", "rejected"),
    [("skip", 2, 2, 0), ("reject", 2, 0, 2)],
)
def test_deleted_records_follow_the_policy(  # noqa: PLR0917 - parameters by name
    target: Target,
    messages: Callable[[], list[dict[str, Any]]],
    deletes: str,
    delivered: int,
    skipped: int,
    rejected: int,
) -> None:
    run = target(
        schema(),
        record(id=1, _sdc_deleted_at=None, _sdc_batched_at="x"),
        record(id=2, _sdc_deleted_at="2024-05-01T10:00:00Z"),
        record(id=3, _sdc_deleted_at=0),
        record(id=4),
        state(1),
        deletes=deletes,
        max_rejected_records=2,
    )
    assert run.status == 0
    assert run.states == [1]
    counts = run.summary()
    found = (counts["delivered"], counts["skipped_deletes"], counts["rejected"])
    assert found == (delivered, skipped, rejected)
    assert messages() == [{"id": 1}, {"id": 4}]


def test_deletes_cannot_be_applied(target: Target) -> None:
    run = target(schema(), deletes="apply")
    assert run.status == 1
    assert run.reason == "setting 'deletes' must be one of skip, reject"


def batch(folder: Path, *lines: bytes, compression: str | None = "gzip") -> Line:
    path = folder / f"batch-{len(list(folder.iterdir()))}"
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if compression == "gzip" else content)
    encoding = {"format": "jsonl"} | ({"compression": compression} if compression else {})
    manifest = [f"file://{path}"]
    return {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}


@pytest.mark.parametrize("compression", ["gzip", None])
def test_batch_files_are_loaded_and_validated_like_records(
    target: Target, mona: Mona, tmp_path: Path, compression: str | None
) -> None:
    number = b"123456789012345678901234567890.10"
    run = target(
        schema(id={"type": "integer"}),
        record(id=1),
        batch(
            tmp_path,
            b'{"id": 2, "price":%s}' % number,
            b'{"id":"x"}',
            b"",
            b'{"id":3,"a":NaN}',
            b'{"id":4,"_sdc_deleted_at":"now"}',
            compression=compression,
        ),
        record(id=5),
        state(1),
        max_rejected_records=2,
    )
    assert run.status == 0
    assert run.states == [1]
    assert [each["message"]["id"] for each in mona.messages()] == [1, 2, 5]
    assert b'"message":{"id": 2, "price":%s}' % number in (mona.exports[0].body or b"")
    assert [each["key"]["id"] for each in run.rejects] == ["x", 3]
    assert run.summary()["read"] == 6


def test_batch_files_of_a_renamed_stream_are_loaded(
    target: Target, mona: Mona, tmp_path: Path
) -> None:
    maps = {"orders": {"__alias__": "sales", "__filter__": "id > 1"}}
    run = target(
        schema(id={"type": "integer"}),
        batch(tmp_path, b'{"id":1}', b'{"id":2}'),
        stream_maps=maps,
    )
    assert run.status == 0
    assert [(each["arc_class"], each["context_id"]) for each in mona.messages()] == [("sales", "2")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "stream 'orders': the BATCH file .* cannot be read: No such file"),
        (b"no gzip", "stream 'orders': the BATCH file .* cannot be read: Not a gzipped file"),
        (gzip.compress(b'{"id":1}\n' * 99)[:-9], "the BATCH file .* cannot be read: Compressed"),
        (gzip.compress(b"{oops"), "line 1 of the BATCH of stream 'orders' is not JSON"),
        (gzip.compress(b"[1]"), "a RECORD without a record object"),
    ],
    ids=["missing", "not gzip", "cut", "not JSON", "no object"],
)
def test_a_broken_batch_file_ends_the_run_with_one_line(
    target: Target, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    line = batch(tmp_path)
    assert isinstance(line, dict)
    path = Path(line["manifest"][0].removeprefix("file://"))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    run = target(schema(), line, state(1))
    assert run.status == 1
    assert re.search(reason, run.reason)
    assert "Traceback" not in run.log
    assert run.states == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("file:///dev/zero", "line 2 of the input: a BATCH file has a line of more than"),
        ("nowhere://a/b", "stream 'orders': the BATCH file nowhere://a/b cannot be read"),
    ],
)
def test_a_batch_file_that_never_ends_or_is_nowhere_is_named(
    target: Target, tmp_path: Path, address: str, reason: str
) -> None:
    line = batch(tmp_path)
    assert isinstance(line, dict)
    encoding = {"format": "jsonl"}
    run = target(schema(), {**line, "encoding": encoding, "manifest": [address]})
    assert run.status == 1
    assert run.reason.startswith(reason)


def test_a_batch_of_another_format_says_what_is_possible(target: Target, tmp_path: Path) -> None:
    line = batch(tmp_path)
    assert isinstance(line, dict)
    run = target(schema(), {**line, "encoding": {"format": "parquet"}})
    assert run.status == 1
    assert "let the tap write jsonl" in run.reason


def test_stream_maps_rename_filter_compute_and_drop(target: Target, mona: Mona) -> None:
    maps = {
        "orders": {
            "__alias__": "sales",
            "__filter__": "price > 10",
            "double": "float(price) * 2",
            "__key_properties__": ["id"],
            "id": "id",
            "__else__": None,
        },
        "__else__": "__NULL__",
    }
    run = target(
        schema(id={"type": "integer"}, price={"type": "number"}),
        schema("other"),
        record(id=1, price=5.5),
        record(id=2, price=20.5),
        record("other", id=1),
        '{"type":"RECORD","stream":"other","record":{"id":1,"x":NaN}}',
        state(1),
        stream_maps=maps,
        streams={"sales": {"message": {"total": "{{ double * 1.1 }}"}}},
    )
    assert run.status == 0
    assert run.states == [1]
    (message,) = mona.messages()
    assert (message["arc_class"], message["context_id"]) == ("sales", "2")
    assert message["message"] == {"total": 45.1}


def test_a_stream_map_that_fails_for_a_record_rejects_it(target: Target, mona: Mona) -> None:
    run = target(
        schema(id={"type": "integer"}, price={}),
        record(id=1, price="none"),
        record(id=2, price="5"),
        stream_maps={"orders": {"price": "int(price)"}},
        max_rejected_records=1,
    )
    assert run.status == 0
    assert [each["message"] for each in mona.messages()] == [{"id": 2, "price": 5}]
    (reject,) = run.rejects
    assert reject["reason"].startswith("a stream map fails: ")
    assert reject["record"] == {"id": 1, "price": "none"}


def test_flattening_flattens(target: Target, messages: Callable[[], list[dict[str, Any]]]) -> None:
    run = target(
        schema(
            id={"type": "integer"},
            shop={"type": "object", "properties": {"name": {"type": "string"}}},
        ),
        '{"type":"RECORD","stream":"orders","record":{"id":1,"shop":{"name":"a"}}}',
        flattening_enabled=True,
        flattening_max_depth=2,
    )
    assert run.status == 0
    assert messages() == [{"id": 1, "shop__name": "a"}]


def test_a_record_that_breaks_its_schema_is_rejected_and_the_rest_delivered(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    run = target(
        schema(
            id={"type": "integer"},
            at={"type": ["string", "null"], "format": "date-time"},
            price={"type": "number", "multipleOf": 0.01},
        ),
        record(id=1, at="2024-05-01T10:00:00Z", price=19.99),
        record(id=2, at=None, price="19.99"),
        record(id=3, at="not checked, as in every Singer target", price=0.1),
        max_rejected_records=1,
    )
    assert run.status == 0
    assert [each["id"] for each in messages()] == [1, 3]
    assert run.rejects[0]["reason"].startswith("breaks its schema at price: ")


def test_validation_can_be_switched_off(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    run = target(schema(id={"type": "integer"}), record(id="x"), validate_records="false")
    assert run.status == 0
    assert messages() == [{"id": "x"}]


SCHEMA_X = {"type": "SCHEMA", "stream": "x", "schema": {"properties": {}}}
DEEP: dict[str, Any] = {}
for _ in range(400):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no JSON", "line 4 of the input is not JSON"),
        (b'{"type":"RECORD","stream":"orders","record":{"id":"\xff"}}', "line 4 .* is not UTF-8"),
        ('{"type":"NEWS"}', "line 4 of the input: unknown message type 'NEWS'"),
        (
            '{"type":"RECORD","stream":"nobody","record":{}}',
            "line 4 of the input: stream 'nobody': a RECORD came before its SCHEMA",
        ),
        (
            '{"type":"SCHEMA","stream":"x"}',
            "line 4 of the input: stream 'x': its SCHEMA lacks schema",
        ),
        (schema("\ud800"), "line 4 .*: a SCHEMA of the input has no name for its stream"),
        (
            {"type": "SCHEMA", "stream": "x", "schema": 5},
            "line 4 of the input: stream 'x': the schema of its SCHEMA must be an object",
        ),
        ({**SCHEMA_X, "key_properties": "id"}, "key_properties of its SCHEMA must be a list"),
        (schema("x", a=DEEP), "line 4 .*: stream 'x': its SCHEMA is nested too deep"),
        ('{"type":"SCHEMA","stream":"x","schema":{"properties":{"a":{"type":"y"}}}}', "stream 'x'"),
        ('{"type":"STATE"}', "line 4 of the input: a STATE lacks value"),
        (
            '{"type":"BATCH","stream":"orders"}',
            "line 4 of the input: stream 'orders': its BATCH lacks encoding, manifest",
        ),
    ],
)
def test_input_that_is_no_singer_ends_the_run_with_one_line_and_the_state_so_far(
    target: Target, mona: Mona, line: Line, reason: str
) -> None:
    run = target(schema(), record(id=1), state(1), line, record(id=2), state(2), max_request_rows=1)
    assert run.status == 1
    assert re.search(reason, run.reason), run.reason
    assert "Traceback" not in run.log
    assert run.states == [1]
    assert [each["message"]["id"] for each in mona.messages()] == [1]


def test_a_record_that_json_cannot_represent_is_rejected_and_replays_as_it_was(
    target: Target, mona: Mona
) -> None:
    odd = [b'{"id":2,"x":NaN}', b'{"id":3,"x":%s%s}' % (b"[" * 9000, b"]" * 9000)]
    lines = [b'{"type":"RECORD","stream":"orders","record":%s}' % each for each in odd]
    run = target(schema(), record(id=1), *lines, record(id=4), state(1), max_rejected_records=2)
    assert run.status == 0
    assert run.states == [1]
    assert [each["message"]["id"] for each in mona.messages()] == [1, 4]
    assert run.summary()["rejected"] == 2
    replayed = subprocess.run(
        [COMMAND.with_name("singer-martech-rejects"), "replay", *run.reports],
        capture_output=True,
        check=True,
    )
    assert replayed.stdout.splitlines()[1:] == lines


def test_a_state_that_is_null_is_not_emitted(target: Target) -> None:
    run = target(schema(), record(id=1), state(1), record(id=2), state(None))
    assert run.status == 0
    assert run.states == [1]


def test_empty_lines_and_no_lines_at_all_are_fine(target: Target, mona: Mona) -> None:
    assert target().status == 0
    assert target("", "  ", schema(), "\t", record(id=1), "").status == 0
    assert len(mona.messages()) == 1


def test_a_thousand_records_arrive_once_each(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", delay=0.01, probability=0.3, times=None)
    run = target(schema(), *records(1000), state(1), max_request_rows=30)
    assert run.status == 0
    assert sorted(each["message"]["id"] for each in mona.messages()) == list(range(1, 1001))
