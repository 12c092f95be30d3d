"""Only complete results are read: downloads, their checks, and retries."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.http.errors import IncompleteBody
from tap_mediarithmics.result_files import check_file
from tap_mediarithmics.tap import TapMediarithmics
from tests.sandbox.impostors import IMPOSTORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox
    from tests.tap_mediarithmics.conftest import Output

FILES = "files/technical_name"


@pytest.fixture
def export(vendor: Mediarithmics) -> str:
    """An export without any execution."""
    return vendor.add_export("Things", "SELECT { id } FROM UserPoint")


@pytest.fixture
def read(config: dict[str, Any], export: str, sync: Any) -> Callable[..., Output]:
    """Read that export's newest result."""

    def run(**item: Any) -> Output:
        output: Output = sync(
            {**config, "exports": [{"stream": "things", "export_id": export, **item}]}
        )
        return output

    return run


def ids(output: Output) -> list[str]:
    return [each["id"] for each in output.records("things")]


def test_several_files_are_read_in_order_with_continuous_line_numbers(
    vendor: Mediarithmics, export: str, read: Any
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n{"id":"b"}\n', b"", b'{"id":"c"}'])
    output = read()
    assert ids(output) == ["a", "b", "c"]
    assert [each["_line"] for each in output.records("things")] == [1, 2, 3]


def test_a_null_result_is_read_from_a_file_named_export(
    vendor: Mediarithmics, export: str, read: Any
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n'], null_result=True)
    assert ids(read()) == ["a"]


def test_an_empty_result_is_read_and_the_bookmark_advances(
    vendor: Mediarithmics, export: str, read: Any
) -> None:
    execution = vendor.add_execution(export, files=[b""])
    output = read()
    assert ids(output) == []
    assert output.bookmark("things")["execution"]["id"] == execution


@pytest.mark.parametrize("status", [404, 403, 500])
def test_the_data_file_api_is_used_when_the_exports_api_fails(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox, status: int
) -> None:
    execution = vendor.add_execution(export, files=[b'{"id":"a"}\n'])
    sandbox.faults.add("mediarithmics", FILES, status=status, times=None)
    assert ids(read()) == ["a"]
    (request,) = vendor.requests_to("data_file/data")
    assert request.query["uri"] == (
        f"mics://data_file/tenants/1426/jobs/executions/{execution}/result/export.data"
    )


def test_when_both_apis_fail_both_reasons_are_named_and_nothing_is_written(
    vendor: Mediarithmics, export: str, sandbox: Sandbox, config: dict[str, Any], command: Any
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n'])
    body = {"status": "error", "error": "Resource Not Found", "error_id": "9eedef5f-1"}
    sandbox.faults.add("mediarithmics", FILES, status=404, body=body, times=None)
    other = {"status": "error", "error": "Gone", "error_id": "9eedef5f-2"}
    sandbox.faults.add("mediarithmics", "data_file", status=404, body=other, times=None)
    ended = command({**config, "exports": [{"stream": "things", "export_id": export}]})
    assert ended.status == 1
    assert "Resource Not Found, error_id 9eedef5f-1" in ended.last_line
    assert "Gone, error_id 9eedef5f-2" in ended.last_line
    assert ended.output.bookmark("things") == {}


@pytest.mark.parametrize("fault", [{"reset": "mid-body"}, {"truncate": True}, {"status": 503}])
def test_a_broken_download_is_retried_and_no_record_is_repeated(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    content = b"".join(b'{"id":"%d"}\n' % number for number in range(5000))
    vendor.add_execution(export, files=[content])
    sandbox.faults.add("mediarithmics", FILES, **fault)
    assert ids(read()) == [str(number) for number in range(5000)]


def test_a_result_with_a_truncated_last_line_is_downloaded_again(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n{"id":"b"}\n'])
    sandbox.faults.add("mediarithmics", FILES, status=200, body='{"id":"a"}\n{"id":')
    assert ids(read()) == ["a", "b"]
    assert len(vendor.requests_to(FILES)) == 2


def test_a_result_that_stays_truncated_is_an_error(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n'])
    for path in (FILES, "data_file"):
        sandbox.faults.add("mediarithmics", path, status=200, body='{"id":', times=None)
    with pytest.raises(MartechError, match="the last line is not complete JSON"):
        read()


def test_an_error_response_in_place_of_a_result_is_not_a_result(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n'])
    body = {"status": "error", "error": "Try later", "error_id": "e-1"}
    sandbox.faults.add("mediarithmics", FILES, status=200, body=body)
    assert ids(read()) == ["a"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_result_can_be_compressed_as_a_file_or_in_transit(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox, stored: bool
) -> None:
    content = gzip.compress(b'{"id":"a"}\n') + gzip.compress(b'{"id":"b"}')
    vendor.add_execution(export, files=[b'{"id":"x"}\n'])
    headers = {} if stored else {"Content-Encoding": "gzip"}
    sandbox.faults.add("mediarithmics", FILES, status=200, body=content, headers=headers, times=9)
    assert ids(read()) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_compressed_result_without_its_end_is_broken(cut: int) -> None:
    content = gzip.compress(b'{"id":"a"}\n' * 50)[:-cut]
    with pytest.raises(IncompleteBody, match="compressed"):
        check_file(io.BytesIO(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b'{"a":1}',
        b'{"a":1}\n',
        b'{"a":1}\r\n\r\n',
        b'{"a":1}\n' * 9000,
        b'{"a":1}\n{"b":"' + b"x" * 300_000 + b'"}\n',
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_complete_file_passes_the_check(content: bytes, pack: Callable[[bytes], bytes]) -> None:
    check_file(io.BytesIO(pack(content)))


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1}\n{"b"',
        b"<html>",
        b'{"a":1}\n' * 9000 + b'{"b":' + b"[" * 200_000,
        b'{"a":1}{"b":2}',
        b'{"a":1}\n{"b":"\xe9"}\n',
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_that_ends_within_a_line_fails_the_check(
    content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(IncompleteBody, match=r"last line is not complete JSON in UTF-8$"):
        check_file(io.BytesIO(pack(content)))


def test_an_invalid_line_fails_the_run_and_is_named(
    vendor: Mediarithmics, export: str, config: dict[str, Any], command: Any
) -> None:
    execution = vendor.add_execution(export, files=[b'{"id":"a"}\n{"id":\n{"id":"c"}\n'])
    ended = command({**config, "exports": [{"stream": "things", "export_id": export}]})
    assert ended.status == 1
    assert f"line 2 of the result of execution {execution}" in ended.last_line
    assert "stream 'things'" in ended.last_line
    assert ended.output.bookmark("things") == {}


@pytest.mark.parametrize("zeros", [1, 7, 3 * 1024 * 1024])
@pytest.mark.parametrize("members", [1, 2])
def test_zero_bytes_after_a_gzip_trailer_are_padding(
    vendor: Mediarithmics, export: str, read: Any, zeros: int, members: int
) -> None:
    packed = gzip.compress(b'{"id":"a"}\n') + bytes(zeros)
    vendor.add_execution(export, files=[packed * members])
    assert ids(read()) == ["a"] * members


def test_other_bytes_after_a_gzip_trailer_are_an_error() -> None:
    with pytest.raises(IncompleteBody, match="damaged"):
        check_file(io.BytesIO(gzip.compress(b"1") + b"\0more"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_byte_order_mark_is_skipped_in_each_file(
    vendor: Mediarithmics, export: str, read: Any, pack: Callable[[bytes], bytes]
) -> None:
    mark = b"\xef\xbb\xbf"
    files = [pack(mark + b'{"id":"a"}\n{"id":"b"}\n'), pack(mark + b'{"id":"c"}'), pack(mark)]
    vendor.add_execution(export, files=files)
    assert ids(read()) == ["a", "b", "c"]


def test_an_execution_id_cannot_change_the_path_of_a_file(
    vendor: Mediarithmics, export: str, config: dict[str, Any], command: Any, sandbox: Sandbox
) -> None:
    row = {"id": "../5/x y", "creation_date": 1_700_000_000_000, "status": "SUCCEEDED"}
    body = {"status": "ok", "data": [row]}
    sandbox.faults.add("mediarithmics", "*/executions", times=None, status=200, body=body)
    sandbox.faults.add("mediarithmics", "*/data", status=200, body=b'{"id":"a"}\n', times=None)
    schema = {"type": "object", "properties": {"id": {"type": "string"}}}
    item = {"stream": "things", "export_id": export, "schema": schema}
    ended = command({**config, "exports": [item]})
    assert ended.status == 0, ended.stderr
    paths = [each.path for each in vendor.requests if "technical_name" in each.path]
    assert paths
    assert all(f"/exports/{export}/executions/" in path for path in paths)
    uris = [each.query["uri"] for each in vendor.requests_to("data_file/data")]
    assert set(uris) == {
        "mics://data_file/tenants/1426/jobs/executions/..%2F5%2Fx%20y/result/export.data"
    }
    assert ended.output.bookmark("things")["execution"]["id"] == "../5/x y"


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_foreign_response_in_place_of_a_result_is_retried(
    vendor: Mediarithmics, export: str, read: Any, sandbox: Sandbox, impostor: str
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n'])
    columns = {"type": "object", "properties": {"id": {"type": "string"}}}
    sandbox.faults.add("mediarithmics", FILES, impostor=impostor)
    assert ids(read(schema=columns)) == ["a"]


@pytest.mark.parametrize(
    "line", [b"{}", b'{"status":"ok"}', b'{"status":500}', b'{"error":1,"id":2}']
)
def test_a_row_that_looks_like_an_error_is_a_row(
    vendor: Mediarithmics, export: str, read: Any, line: bytes
) -> None:
    vendor.add_execution(export, files=[line])
    assert read().counts["things"] == 1


def test_blank_lines_are_skipped(vendor: Mediarithmics, export: str, read: Any) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\r\n\r\n  \n{"id":"b"}\n\n'])
    assert ids(read()) == ["a", "b"]


def test_an_endless_line_is_an_error(
    vendor: Mediarithmics, export: str, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mediarithmics.result_files._MAX_LINE_BYTES", 3_000_000)
    long = b'{"id":"' + b"x" * 5_000_000 + b'"}\n'
    vendor.add_execution(export, files=[long + b'{"id":"a"}\n'])
    with pytest.raises(MartechError, match="longer than 3000000 bytes"):
        read()


def test_no_temporary_file_remains(
    vendor: Mediarithmics, export: str, config: dict[str, Any], command: Any, tmp_path: Path
) -> None:
    vendor.add_execution(export, files=[b'{"id":"a"}\n{"id":\n{"id":"c"}\n'])
    spool = tmp_path / "spool"
    spool.mkdir()
    ended = command(
        {**config, "exports": [{"stream": "things", "export_id": export}]},
        env={**os.environ, "TMPDIR": str(spool)},
    )
    assert ended.status == 1
    assert list(spool.iterdir()) == []


def test_memory_does_not_grow_with_the_result(
    vendor: Mediarithmics, export: str, config: dict[str, Any]
) -> None:
    line = json.dumps({"id": "x" * 500}).encode() + b"\n"
    peaks = []
    for count in (20_000, 80_000):
        vendor.add_execution(export, files=[line * count])
        tracemalloc.start()
        settings = {**config, "exports": [{"stream": "things", "export_id": export}]}
        run_silently(settings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5_000_000, peaks


def run_silently(settings: dict[str, Any]) -> None:
    """Run the tap and discard its output."""
    with (
        Path("/dev/null").open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        TapMediarithmics(config=settings).sync_all()
