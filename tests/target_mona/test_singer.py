"""Singer features: several streams, changing schemas, versions, deletes, BATCH files, maps."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec  # type: ignore[import-untyped]
import pytest

from tests.kit.singer import record, records, schema, state
from tests.target_mona.conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def test_a_repeated_schema_changes_nothing_and_flushes_nothing(target: Target, mona: Mona) -> None:
    run = target(schema(), record(id=1), schema(), record(id=2), schema(), record(id=3))
    assert run.status == 0
    assert len(mona.exports) == 1


def test_records_of_the_old_schema_are_flushed_before_the_new_one(
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


def test_records_are_validated_against_the_new_schema(target: Target) -> None:
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


def test_a_version_message_needs_no_request_of_its_own(target: Target, mona: Mona) -> None:
    run = target(
        schema(),
        record(id=1),
        {"type": "ACTIVATE_VERSION", "stream": "orders", "version": 5},
        {"type": "ACTIVATE_VERSION", "stream": ["orders"], "version": "x"},
        record(id=2),
        state(1),
    )
    assert run.status == 0
    assert run.states == [1]
    assert len(mona.exports) == 1
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
        (
            b"certainly no gzip",
            "stream 'orders': the BATCH file .* cannot be read: Not a gzipped file",
        ),
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


def named(*addresses: str | Path) -> Line:
    """Return a BATCH message that names files."""
    manifest = [str(address) for address in addresses]
    encoding = {"format": "jsonl"}
    return {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is neither below the working folder nor below the one for temporary files."""
    folder = tmp_path_factory.mktemp("shelf")
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    (folder / "loaded").mkdir()
    for path in (folder / "outside", folder / "loaded" / "inside"):
        path.write_bytes(b'{"id": "%s"}\n' % path.name.encode())
    (folder / "loaded" / "link out").symlink_to(folder / "outside")
    (folder / "loaded" / "link in").symlink_to(folder / "loaded" / "inside")
    os.mkfifo(folder / "loaded" / "fifo")
    yield folder
    tempfile.tempdir = before


def storage(root: str | Path) -> dict[str, Any]:
    return {"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": str(root)}}}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file:///dev/zero", "is not below"),
        ("/dev/stdin", "is not below"),
        ("{shelf}/outside", "is not below .*; name its folder in the setting 'batch_config'"),
        ("file://{shelf}/loaded/inside", "is not below"),
        ("{shelf}/loaded/../outside", "is not below"),
        ("nowhere://a/b", "only 'batch_config' may name a storage of the kind nowhere://"),
        ("http://127.0.0.1:9/a", "only 'batch_config' may name a storage of the kind http://"),
        ("memory://a/b", "only 'batch_config' may name a storage of the kind memory://"),
        ("{config}", "it is the configuration of this run"),
    ],
)
def test_a_batch_file_outside_of_the_working_folder_is_not_read(
    target: Target, shelf: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(target.folder)
    address = name.format(shelf=shelf, config="config-0.json")
    run = target(schema(), named(address), state(1))
    assert run.status == 1
    assert re.search(
        f"stream 'orders': the BATCH file {address} is not read: .*{reason}", run.reason
    )
    assert run.states == []
    assert run.summary()["read"] == 0


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_configuration_is_not_read_under_another_name(
    target: Target, mona: Mona, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]
) -> None:
    monkeypatch.chdir(target.folder)
    (target.folder / "config-0.json").touch()
    link(target.folder / "config-0.json", target.folder / "lines.jsonl")
    run = target(schema(client_secret={}), named("lines.jsonl"))
    assert run.status == 1
    assert run.reason.endswith("is not read: it is the configuration of this run")
    assert mona.messages() == []


@pytest.mark.parametrize("name", ["{shelf}/loaded/link out", "{shelf}/loaded/..", "link%20out"])
def test_no_link_leads_out_of_the_storage(
    target: Target, mona: Mona, shelf: Path, name: str
) -> None:
    run = target(schema(), named(name.format(shelf=shelf)), **storage(shelf / "loaded"))
    assert run.status == 1
    assert "is not below" in run.reason
    assert mona.messages() == []


@pytest.mark.parametrize("name", ["fifo", ""])
def test_a_batch_file_that_is_not_a_regular_file_is_an_error(
    target: Target, shelf: Path, name: str
) -> None:
    (shelf / "loaded" / "folder").mkdir()
    address = shelf / "loaded" / (name or "folder")
    run = target(schema(), named(address), **storage(shelf / "loaded"))
    assert run.status == 1
    assert run.reason.endswith("is not read: it is not a regular file")


@pytest.mark.parametrize(
    "name",
    [
        "{shelf}/loaded/inside",
        "file://{shelf}/loaded/link%20in",
        "/nonexistent/of/the/tap/inside",
        "inside",
    ],
)
@pytest.mark.parametrize("root", ["{shelf}/loaded", "file://{shelf}/loaded/"])
def test_batch_files_below_the_storage_are_read(
    target: Target, mona: Mona, shelf: Path, name: str, root: str
) -> None:
    config = storage(root.format(shelf=shelf))
    run = target(schema(), named(name.format(shelf=shelf)), **config)
    assert run.status == 0
    assert [each["context_id"] for each in mona.messages()] == ["inside"]


def test_a_batch_file_in_the_folder_for_temporary_files_is_read(
    target: Target, mona: Mona, shelf: Path
) -> None:
    assert shelf.exists()
    path = Path(tempfile.gettempdir()) / "batch"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1}\n')
    assert target(schema(), named(path)).status == 0
    assert len(mona.messages()) == 1


def test_a_batch_file_with_an_endless_line_is_an_error(target: Target, shelf: Path) -> None:
    path = shelf / "loaded" / "long"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    run = target(schema(), named(path), **storage(shelf / "loaded"))
    assert run.status == 1
    assert "a BATCH file has a line of more than 268435456 bytes" in run.reason


def test_batch_files_of_another_storage_need_its_name_and_no_folder_is_made(
    target: Target, mona: Mona
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a/b", b'{"id": 1}\n')
    memory.pipe("/secret", b'{"id": 2}\n')
    config = storage("memory://bucket")
    assert target(schema(), named("memory://bucket/a/b"), **config).status == 0
    for name in ("memory://bucket/../secret", "memory://bucket/a/../../secret", "memory://secret/"):
        run = target(schema(), named(name), **config)
        assert run.status == 1
    run = target(schema(), named("memory://elsewhere/x"), **storage("memory://new"))
    assert "cannot be read" in run.reason
    assert not memory.exists("/new")
    assert [each["message"]["id"] for each in mona.messages()] == [1]


@pytest.mark.parametrize(("encoding", "manifest"), [(5, []), ({"format": "jsonl"}, 5)])
def test_a_batch_of_another_shape_is_named(target: Target, encoding: Any, manifest: Any) -> None:
    line = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}
    run = target(schema(), line)
    assert run.status == 1
    assert run.reason.startswith("line 2 of the input: stream 'orders': a BATCH needs an object")


def test_a_batch_of_an_unsupported_format_names_the_supported_one(
    target: Target, tmp_path: Path
) -> None:
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
    assert "invalid literal for int() with base 10: 'none'" in reject["reason"]
    assert reject["record"] == {"id": 1, "price": "none"}


def test_flattening_expands_nested_objects(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
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


def test_names_that_flattening_would_make_equal_are_an_error_of_its_setting(
    target: Target,
) -> None:
    nested = {"type": "object", "properties": {"b": {"type": "string"}}}
    run = target(schema(id={}, a=nested, a__b={}), flattening_enabled=True, flattening_max_depth=1)
    assert run.status == 1
    assert "setting 'flattening_separator': stream 'orders': Duplicate column name" in run.reason


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
        (schema("\ud800"), "line 4 .*: a SCHEMA has no valid stream name"),
        (
            {"type": "SCHEMA", "stream": "x", "schema": 5},
            "line 4 of the input: stream 'x': the schema of its SCHEMA must be an object",
        ),
        ({**SCHEMA_X, "key_properties": "id"}, "key_properties of its SCHEMA must be a list"),
        ('{"type":"STATE"}', "line 4 of the input: a STATE lacks value"),
        (
            '{"type":"BATCH","stream":"orders"}',
            "line 4 of the input: stream 'orders': its BATCH lacks encoding, manifest",
        ),
        (
            {"type": "BATCH", "stream": ["orders"], "encoding": {}, "manifest": []},
            "line 4 of the input: the stream of a BATCH must be a name",
        ),
        (
            {"type": "BATCH", "stream": "nobody", "encoding": {}, "manifest": []},
            "line 4 of the input: stream 'nobody': a BATCH came before its SCHEMA",
        ),
        (
            {
                "type": "BATCH",
                "stream": "orders",
                "encoding": {"format": "jsonl", "compression": ["gzip"]},
                "manifest": [],
            },
            r"stream 'orders': a BATCH has the format jsonl \['gzip'\]; let the tap write jsonl",
        ),
    ],
)
def test_invalid_input_ends_the_run_with_one_line_and_the_state_so_far(
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
    odd = [b'{"id":2,"x":NaN}', b'{"id":3,"x":%s%s}' % (b"[" * 20_000, b"]" * 20_000)]
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


def test_a_number_that_a_stream_map_would_expand_for_minutes_rejects_its_record(
    target: Target, mona: Mona
) -> None:
    run = target(
        schema(id={"type": "integer"}, price={}),
        '{"type":"RECORD","stream":"orders","record":{"id":1,"price":[1e999990]}}',
        '{"type":"RECORD","stream":"orders","record":{"id":2,"price":[12.7]}}',
        stream_maps={"orders": {"price": "int(price[0])"}},
        max_rejected_records=1,
    )
    assert run.status == 0
    assert [each["message"] for each in mona.messages()] == [{"id": 2, "price": 12}]


@pytest.mark.parametrize(
    ("expression", "v", "w"),
    [
        ("v * w", "a" * 60_000, "a" * 60_000),
        ("v ** w", 3_999_999, 3_999_999),
        ("v.ljust(w)", "a", 3 * 10**9),
        ("datetime.datetime.fromtimestamp(v).isoformat()", 10**17, None),
    ],
)
def test_a_stream_map_that_a_record_makes_multiply_rejects_the_record(
    target: Target, mona: Mona, expression: str, v: Any, w: Any
) -> None:
    run = target(
        schema(id={"type": "integer"}, v={}, w={}),
        record(id=1, v=v, w=w),
        record(id=2, v=3, w=2),
        stream_maps={"orders": {"result": expression, "v": "__NULL__", "w": "__NULL__"}},
        max_rejected_records=2,
    )
    assert run.status == 0
    assert run.rejects[0]["reason"].startswith("a stream map fails: ")
    delivered = [each["message"]["id"] for each in mona.messages()]
    assert delivered == ([2] if len(run.rejects) == 1 else [])
