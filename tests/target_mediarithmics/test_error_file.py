from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.mediarithmics.client import MediarithmicsClient
from singer_martech.mediarithmics.executions import Execution
from singer_martech.mediarithmics.import_results import ImportResult
from singer_martech.mediarithmics.imports import DocumentImports
from singer_martech.mediarithmics.uploads import Uploads
from target_mediarithmics.error_file import failed_lines
from tests.sandbox.mediarithmics_documents import error_line
from tests.target_mediarithmics.conftest import TABLE, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.target_mediarithmics.conftest import Run

STREAMS = {"list": {"document_type": "ANYTHING"}}
SHAPES = ("line_number", "echo", "json", "json_echo")


class EncodedRecords(list[bytes]):
    def line(self, index: int) -> bytes:
        return self[index]


def reject(vendor: Mediarithmics, *ids: Any) -> None:
    vendor.refuse_if = lambda _, document: (
        f"no such thing as {name}"
        if (name := document.get("id", document.get("email_hash"))) in ids
        else None
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_failed_lines_become_rejected_records(
    vendor: Mediarithmics, load: Callable[..., Run], shape: str
) -> None:
    vendor.error_shape = shape
    reject(vendor, 2, 5)
    run = load(
        schema(),
        *[record(id=number, name="é") for number in range(7)],
        state({"n": 7}),
        streams=STREAMS,
        max_rejected_records=2,
    )
    assert run.error is None
    assert run.counts() == {"read": 7, "delivered": 5, "rejected": 2}
    assert run.states == [{"n": 7}]
    assert [line["key"]["id"] for line in run.rejected] == [2, 5]
    assert run.rejected[0]["record"] == {"id": 2, "name": "é"}
    assert run.rejected[0]["status"] is None
    (execution,) = vendor.import_executions()
    assert f"execution {execution.id}" in run.rejected[0]["reason"]
    if shape != "echo":
        assert run.rejected[0]["reason"].startswith("no such thing as 2")
    assert not [name for name in run.reports if name.endswith(".errors")]


def test_more_failed_lines_than_allowed_end_the_run_with_state_before_the_first(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.error_shape = "json"
    reject(vendor, 2)
    messages = [text for n in range(4) for text in (record(id=n), state({"n": n}))]
    run = load(schema(), *messages, streams=STREAMS)
    assert "stream 'list': a record was rejected: no such thing as 2" in str(run.error)
    assert run.counts() == {"read": 4, "delivered": 3, "rejected": 1}
    assert run.states == [{"n": 1}]


def test_an_error_file_that_names_no_lines_is_kept_beside_the_report(
    vendor: Mediarithmics, load: Callable[..., Run], tmp_path: Path
) -> None:
    vendor.error_shape = "free_text"
    reject(vendor, 2, 5)
    run = load(
        schema(),
        *[record(id=number) for number in range(7)],
        state({"n": 7}),
        streams=STREAMS,
        max_rejected_records=2,
    )
    assert run.error is None
    assert run.counts() == {"read": 7, "delivered": 5, "rejected": 2}
    assert run.states == [{"n": 7}]
    (execution,) = vendor.import_executions()
    (line,) = run.rejected
    assert line["records"] == 2
    assert line["record"] is None
    assert f"execution {execution.id}" in line["reason"]
    assert "Some documents could not be imported" in line["reason"]
    (report,) = [name for name in run.reports if name.endswith(".jsonl")]
    assert line["file"] == report.replace(".jsonl", f".{execution.id}.errors")
    assert run.reports[line["file"]].startswith("Some documents could not be imported")
    assert (tmp_path / "rejects" / line["file"]).stat().st_mode & 0o777 == 0o600


def test_unidentified_lines_count_against_the_allowance(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.error_shape = "free_text"
    reject(vendor, 2, 5)
    messages = [text for n in range(7) for text in (record(id=n), state({"n": n}))]
    run = load(schema(), *messages, streams=STREAMS, max_rejected_records=1)
    assert "2 record(s) were rejected" in str(run.error)
    assert "Some documents" not in str(run.error)
    assert run.counts() == {"read": 7, "delivered": 5, "rejected": 2}
    assert run.states == []


def test_an_error_file_that_is_missing_leaves_one_line_in_the_report(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.plan("import", lose_error_file=True)
    reject(vendor, 2)
    run = load(schema(), *[record(id=n) for n in range(4)], streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 4, "delivered": 3, "rejected": 1}
    (line,) = run.rejected
    assert (line["records"], line["file"]) == (1, None)


def test_an_execution_id_cannot_lead_out_of_the_folder_of_the_reports(
    sandbox: Sandbox, load: Callable[..., Run]
) -> None:
    result = {"total_success": 1, "total_failure": 1, "error_file_uri": "mics://errors"}
    execution = {"id": "../7", "status": "SUCCEEDED", "creation_date": 1, "result": result}
    response = {"status": "ok", "data": execution}
    sandbox.faults.add("mediarithmics", "*/executions", method="POST", status=200, body=response)
    sandbox.faults.add("mediarithmics", "*/data_file/data", status=200, body="something is wrong")
    run = load(schema(), record(id=1), record(id=2), streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    (line,) = run.rejected
    assert line["file"].endswith("...%2F7.errors")
    assert run.reports[line["file"]] == "something is wrong"


PACKED = gzip.compress(b"Line 2: no\n" * 1000, mtime=0)


@pytest.mark.parametrize(
    "body",
    [PACKED[:12] + b"\xff" * 40, PACKED[:30], PACKED[:-8] + bytes(8), PACKED[:3]],
    ids=["broken data", "cut data", "wrong checksum", "cut head"],
)
def test_a_broken_compressed_error_file_identifies_no_line_and_ends_no_run(
    sandbox: Sandbox, vendor: Mediarithmics, load: Callable[..., Run], body: bytes
) -> None:
    reject(vendor, 2)
    sandbox.faults.add("mediarithmics", "*/data_file/data", status=200, body=body)
    run = load(schema(), record(id=1), record(id=2), streams=STREAMS, max_rejected_records=1)
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}


def test_a_compressed_error_file_is_read_as_plain_text(
    vendor: Mediarithmics, load: Callable[..., Run], settings: dict[str, Any]
) -> None:
    reject(vendor, 2)
    load(schema(), record(id=1), record(id=2), streams=STREAMS, max_rejected_records=1)
    (ended,) = vendor.import_executions()
    vendor.executions.file(f"{ended.id}.import.error").write_bytes(gzip.compress(b"Line 2: no\n"))
    client = MediarithmicsClient(settings["api_token"], settings["api_url"])
    uploads = Uploads(DocumentImports(client, settings["datamart_id"]))
    execution = Execution.read(vendor.execution(ended.id))
    uri = ImportResult.of(execution).error_file_uri
    assert uri
    with uploads.error_file(execution, uri) as file:
        assert file.read() == b"Line 2: no\n"
    client.http.close()


@pytest.mark.parametrize("shape", ["echo", "json", "json_echo"])
def test_failed_rows_of_a_csv_are_matched_by_a_copy(
    vendor: Mediarithmics, load: Callable[..., Run], shape: str
) -> None:
    vendor.error_shape = shape if shape != "json_echo" else "json"
    reject(vendor, "2")
    run = load(
        schema(name={}),
        *[record(id=number, name='{"a": "b, c"}') for number in range(4)],
        streams=TABLE,
        max_rejected_records=1,
    )
    assert run.counts() == {"read": 4, "delivered": 3, "rejected": 1}
    assert [line["key"] for line in run.rejected] == [{"id": 2}]


def test_bare_row_numbers_of_a_csv_match_no_line(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.error_shape = "line_number"
    reject(vendor, "2")
    run = load(schema(), *[record(id=n) for n in range(4)], streams=TABLE, max_rejected_records=1)
    assert run.counts() == {"read": 4, "delivered": 3, "rejected": 1}
    assert [line["records"] for line in run.rejected] == [1]


def test_unnamed_failures_of_a_shared_execution_add_up_in_every_stream(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    vendor.error_shape = "free_text"
    reject(vendor, 1, 2, 3, 4)
    shared = {"document_type": "ANYTHING", "document_import_name": "both"}
    run = load(
        schema("a"),
        schema("b"),
        *[record("aab"[n % 3], id=n) for n in range(6)],
        streams={"a": shared, "b": shared},
        max_rejected_records=4,
    )
    assert run.error is None
    assert run.counts("a")["read"] == 4
    assert run.counts("b")["read"] == 2
    assert run.counts("a")["rejected"] + run.counts("b")["rejected"] == 4


def test_a_report_with_unnamed_records_replays_the_others_and_says_so(
    vendor: Mediarithmics, load: Callable[..., Run], tmp_path: Path
) -> None:
    vendor.error_shape = "free_text"
    reject(vendor, 3)
    run = load(
        schema(), record(id=1), record(id=2, text="x" * 500), record(id=3), streams=STREAMS,
        max_rejected_records=2, max_request_bytes=400,
    )  # fmt: skip
    assert run.error is None
    (report,) = (tmp_path / "rejects").glob("*.jsonl")
    command = [str(Path(sys.executable).with_name("singer-martech-rejects")), "replay", str(report)]
    replayed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert replayed.returncode == 1
    records = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert [each["record"]["id"] for each in records if each["type"] == "RECORD"] == [2]
    assert "1 record(s) of stream 'list' cannot be replayed" in replayed.stderr


def test_identifiers_match_a_line_if_no_other_line_has_them() -> None:
    lines = EncodedRecords(
        json.dumps({"operation": "UPDATE", "email_hash": name}).encode() for name in "abca"
    )
    file = io.BytesIO(b'{"error":"gone","identifier":{"email_hash":"b"}}\n')
    assert failed_lines(file, lines, 1) == {1: "gone"}
    file = io.BytesIO(b'{"error":"gone","email_hash":"a"}\n')
    assert failed_lines(file, lines, 1) == {}


def test_an_index_counts_from_zero_and_a_line_from_one() -> None:
    lines = EncodedRecords([b'{"id":1}', b'{"id":2}', b'{"id":3}'])
    assert failed_lines(io.BytesIO(b'{"index":1,"reason":"bad"}'), lines, 1) == {1: "bad"}
    assert failed_lines(io.BytesIO(b'{"line":1,"reason":"bad"}'), lines, 1) == {0: "bad"}


@pytest.mark.parametrize(
    "text",
    [
        "line" + " " * 3000 + "x",
        "error " * 3000,
        " " * 3000 + "line 1",
        "\t" * 3000,
        "." * 3000 + "line 2",
        "line " + "1" * 5000,
        "line 2" + " :" * 3000 + "\x00",
        "{" * 3000 + "}" * 3000,
        '{"line":' + "9" * 5000 + "}",
    ],
)
def test_a_long_line_is_read_in_linear_time(text: str) -> None:
    lines = EncodedRecords([b'{"id":1}', b'{"id":2}'])
    began = time.process_time()
    failed_lines(io.BytesIO(text.encode()), lines, 1)
    assert time.process_time() - began < 2


def test_the_rest_of_a_line_that_is_too_long_identifies_no_record() -> None:
    text = b"x" * 1024 * 1024 + b"line 1: the end\nline 2: bad\n"
    assert failed_lines(io.BytesIO(text), EncodedRecords([b"1", b"2"]), 2) == {1: "bad"}


def test_white_space_in_a_line_does_not_matter() -> None:
    lines = EncodedRecords([b'{"id":1}', b'{"id":2}'])
    text = b"  Error \t at   line  no. \t 2 \t:   bad   thing\n"
    assert failed_lines(io.BytesIO(text), lines, 1) == {1: "bad thing"}


def test_line_numbers_beyond_the_upload_match_no_line() -> None:
    lines = EncodedRecords([b'{"id":1}', b'{"id":2}'])
    assert failed_lines(io.BytesIO(b"Line 1: bad\nLine 3: bad"), lines, 2) == {}
    assert failed_lines(io.BytesIO(b"Line 0: bad\nLine 1: bad"), lines, 2) == {}


def test_more_lines_than_failed_match_no_line() -> None:
    lines = EncodedRecords([b'{"id":1}', b'{"id":2}'])
    assert failed_lines(io.BytesIO(b"Line 1: bad\nLine 2: bad"), lines, 1) == {}


@given(
    documents=st.lists(
        st.dictionaries(
            st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3
        ),
        min_size=1,
        max_size=20,
    ),
    data=st.data(),
    shape=st.sampled_from(SHAPES),
)
def test_every_shape_that_names_its_line_is_understood(
    documents: list[dict[str, Any]], data: st.DataObject, shape: str
) -> None:
    lines = EncodedRecords(json.dumps(document).encode() for document in documents)
    failed = data.draw(st.sets(st.integers(0, len(lines) - 1)))
    text = "".join(
        error_line(shape, index + 1, lines[index].decode(), "it is bad") + "\n"
        for index in sorted(failed)
    )
    found = failed_lines(io.BytesIO(text.encode()), lines, len(failed))
    # equal lines are interchangeable
    assert sorted(lines[index] for index in found) == sorted(lines[index] for index in failed)


@given(st.binary(max_size=300), st.integers(1, 3))
def test_no_error_file_raises_an_error(content: bytes, failures: int) -> None:
    lines = EncodedRecords([b'{"id":1}', b"a,b", b""])
    found = failed_lines(io.BytesIO(content), lines, failures)
    assert len(found) <= failures
    assert set(found) <= set(range(len(lines)))
