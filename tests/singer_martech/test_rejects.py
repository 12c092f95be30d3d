from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from singer_martech.delivery.rejects import Rejects, TooManyRejects
from singer_martech.errors import MartechError
from singer_martech.runtime.redaction import register_secret

COMMAND = Path(sys.executable).with_name("singer-martech-rejects")

SCHEMA = {
    "type": "SCHEMA",
    "stream": "orders",
    "schema": {"properties": {"id": {"type": "integer"}, "shop": {"type": "string"}}},
    "key_properties": ["id", "shop"],
}


def rejects(folder: Path, allowed: int = 100) -> Rejects:
    result = Rejects(str(folder), "target-test", allowed)
    result.begin_schema(SCHEMA)
    return result


def reports(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_report_has_the_documented_format(tmp_path: Path) -> None:
    report = rejects(tmp_path / "deep" / "rejects")
    report.add("orders", b'{"id": 1, "shop":"a", "price":1.10}', "too  dear\n", 422)
    report.add("orders", b'{"id":2}', "no shop", None)
    report.close()
    (path,) = reports(tmp_path / "deep" / "rejects")
    assert re.fullmatch(r"target-test\.orders\.\d{8}T\d{6}Z-[0-9a-f]{6}\.jsonl", path.name)
    first, second = path.read_bytes().splitlines()
    start = b'{"stream":"orders","key":{"id":1,"shop":"a"},"reason":"too dear","status":422,'
    # the record as received, to the byte
    assert first.startswith(start + b'"record":{"id": 1, "shop":"a", "price":1.10},"rejected_at":')
    assert list(json.loads(first)) == ["stream", "key", "reason", "status", "record", "rejected_at"]
    assert datetime.fromisoformat(json.loads(first)["rejected_at"]).tzinfo is not None
    assert json.loads(second)["key"] == {"id": 2, "shop": None}
    assert json.loads(second)["status"] is None


@pytest.mark.parametrize(
    ("key_properties", "most_copies"), [(["id", "shop"], 6), ([], 3)], ids=["keys", "no keys"]
)
def test_a_large_record_is_reported_in_little_memory(
    tmp_path: Path, key_properties: list[str], most_copies: int
) -> None:
    report = Rejects(str(tmp_path), "target-test", 100)
    report.begin_schema({**SCHEMA, "key_properties": key_properties})
    record = b'{"id":1,"shop":"a","text":"%s"}' % (b"x" * (1 << 20))
    tracemalloc.start()
    report.add("orders", record, "too large", None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    report.close()
    assert peak < most_copies * len(record)
    (path,) = reports(tmp_path)
    assert record in path.read_bytes()


def test_only_the_owner_may_read_a_report(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        report = rejects(tmp_path / "rejects")
        report.add("orders", b"{}", "bad", None)
        report.close()
    finally:
        os.umask(before)
    modes = {
        path.name.split(".", 2)[-1].partition(".")[2]: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "rejects").iterdir()
    }
    assert modes == {"jsonl": 0o600, "schema.json": 0o600}
    assert stat.S_IMODE((tmp_path / "rejects").stat().st_mode) == 0o700


def test_no_report_is_created_without_rejects(tmp_path: Path) -> None:
    rejects(tmp_path / "rejects").close()
    assert not (tmp_path / "rejects").exists()


def test_a_record_beyond_the_limit_is_reported_and_ends_the_run(tmp_path: Path) -> None:
    report = rejects(tmp_path, allowed=1)
    report.add("orders", b'{"id":1}', "bad", None)
    with pytest.raises(
        TooManyRejects, match=r"stream 'orders': .* bad -- rejected so far: 2, max_"
    ):
        report.add("orders", b'{"id":2}', "bad", None)
    (path,) = reports(tmp_path)
    assert str(path)
    assert len(path.read_bytes().splitlines()) == 2
    report.close()


@pytest.mark.parametrize("stream", ["shop/orders", "../orders", "a b", "ö", ".", "x" * 100])
def test_any_stream_name_stays_within_the_folder(tmp_path: Path, stream: str) -> None:
    report = Rejects(str(tmp_path / "rejects"), "target-test", 100)
    report.begin_schema({**SCHEMA, "stream": stream})
    report.add(stream, b"{}", "bad", None)
    report.close()
    (path,) = reports(tmp_path / "rejects")
    assert json.loads(path.read_text())["stream"] == stream


def test_secrets_in_a_reason_are_hidden(tmp_path: Path) -> None:
    register_secret("hush-hush-hush")
    report = rejects(tmp_path)
    report.add("orders", b"{}", "the vendor says: hush-hush-hush", 400)
    report.close()
    assert "hush" not in reports(tmp_path)[0].read_text()


def test_a_folder_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MartechError, match="'reject_path'"):
        rejects(tmp_path / "file" / "rejects").add("orders", b"{}", "bad", None)


def test_a_new_schema_starts_a_new_report(tmp_path: Path) -> None:
    report = rejects(tmp_path)
    report.add("orders", b'{"id":1}', "bad", None)
    report.begin_schema(SCHEMA)
    report.add("orders", b'{"id":2}', "bad", None)
    report.begin_schema({**SCHEMA, "key_properties": ["shop"]})
    report.add("orders", b'{"id":3,"shop":"a"}', "bad", None)
    report.close()
    lines = {path.name: path.read_text().splitlines() for path in reports(tmp_path)}
    assert sorted(map(len, lines.values())) == [1, 2]
    assert {"shop": "a"} in [json.loads(each[0])["key"] for each in lines.values()]


def test_a_summary_counts_reasons_and_gives_an_example_of_each(tmp_path: Path) -> None:
    report = rejects(tmp_path)
    for number in range(3):
        report.add("orders", b'{"id":%d,"shop":"a"}' % number, "too dear", 422)
    report.add("orders", b'{"id":7,"shop":"b"}', "breaks its schema", None)
    report.close()
    result = run("summary", *reports(tmp_path))
    assert result.returncode == 0
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "3 orders: too dear (status 422)",
        'such as {"id":0,"shop":"a"}',
        "1 orders: breaks its schema",
        'such as {"id":7,"shop":"b"}',
        "4 in all",
    ]


def test_a_replay_prints_the_schema_and_the_records_as_received(tmp_path: Path) -> None:
    report = rejects(tmp_path)
    raw = b'{"id": 1, "shop":"\\ud800", "price":1.10, "big":123456789012345678901234567890}'
    report.add("orders", raw, "bad", None)
    report.close()
    result = subprocess.run(
        [COMMAND, "replay", *reports(tmp_path)], capture_output=True, check=True
    )
    schema, record = result.stdout.splitlines()
    assert json.loads(schema) == SCHEMA
    assert record == b'{"type":"RECORD","stream":"orders","record":%s}' % raw


@pytest.mark.parametrize("command", ["summary", "replay"])
@pytest.mark.parametrize(
    "contents", ["nonsense\n", "{}\n", '{"stream":"orders"}\n', "[]\n", '{"stream": 5']
)
def test_a_file_that_is_not_a_report_is_an_error(
    tmp_path: Path, command: str, contents: str
) -> None:
    path = tmp_path / "target-test.orders.x.jsonl"
    path.write_text(contents)
    path.with_name("target-test.orders.x.schema.json").write_text(json.dumps(SCHEMA))
    result = run(command, path)
    assert result.returncode == 1
    assert f"{path}, line 1: not a line of a reject report" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_replay_without_its_schema_file_names_the_missing_file(tmp_path: Path) -> None:
    report = rejects(tmp_path)
    report.add("orders", b"{}", "bad", None)
    report.close()
    (path,) = reports(tmp_path)
    for schema in tmp_path.glob("*.schema.json"):
        schema.unlink()
    result = run("replay", path)
    assert result.returncode == 1
    assert "must be in the folder of the report" in result.stderr


def entry_without(name: str) -> str:
    entry: dict[str, Any] = {
        "stream": "orders",
        "key": {},
        "reason": "bad",
        "status": None,
        "record": {},
    }
    del entry[name]
    return json.dumps(entry)


@pytest.mark.parametrize("name", ["key", "reason", "status", "record"])
def test_a_line_without_a_required_member_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text(entry_without(name) + "\n")
    result = run("summary", path)
    assert result.returncode == 1
    assert "not a line of a reject report" in result.stderr
