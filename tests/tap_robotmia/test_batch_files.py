"""With ``batch_config``, records go into files that BATCH messages announce."""

from __future__ import annotations

import gzip
import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.tap_robotmia.conftest import day, numbered

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia
    from tests.tap_robotmia.conftest import Run, Tap

_GZIP = {"format": "jsonl", "compression": "gzip"}


def batches(**settings: Any) -> dict[str, Any]:
    return {"encoding": _GZIP, "storage": {"root": "batches"}, **settings}


@pytest.fixture
def span(vendor: Robotmia) -> dict[str, Any]:
    vendor.set_events(numbered(12))
    return {"start_date": day(0), "end_date": day(2)}


def files(run: Run, stream: str = "events") -> list[Path]:
    """Return the files that BATCH messages name, in their order."""
    return [
        Path(unquote(urlsplit(address).path))
        for message in run.messages
        if message["type"] == "BATCH" and message["stream"] == stream
        for address in message["manifest"]
    ]


def lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def record_parts(run: Run, stream: str = "events") -> list[bytes]:
    """Return the records of RECORD messages as they were written."""
    start = b'{"type":"RECORD","stream":"%s","record":' % stream.encode()
    return [
        line.removeprefix(start).rpartition(b',"time_extracted"')[0]
        for line in run.lines
        if line.startswith(start)
    ]


@pytest.mark.parametrize("maps", [None, {"*": {}}])
def test_files_hold_the_records_byte_for_byte(
    tap: Tap, span: dict[str, Any], maps: dict[str, Any] | None
) -> None:
    settings = {**span, "event_streams": ["Login"], "stream_maps": maps}
    plain, run = tap.run(**settings), tap.run(**settings, batch_config=batches())
    for stream in ("events", "event_login"):
        found = [line for path in files(run, stream) for line in lines(path)]
        assert found == record_parts(plain, stream)
        assert len(found) == 12
        assert run.schema(stream) == plain.schema(stream)
    assert run.states == plain.states
    assert not run.records()


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_no_file_has_more_records_than_the_batch_size(
    tap: Tap, span: dict[str, Any], size: int
) -> None:
    run = tap.run(**span, batch_config=batches(batch_size=size))
    assert [len(lines(path)) for path in files(run)] == [
        min(size, 4 - start) for _ in range(3) for start in range(0, 4, size)
    ]


def test_each_stream_of_a_stream_map_has_files_of_its_own(tap: Tap, span: dict[str, Any]) -> None:
    maps = {
        "events": {"user": "distinct_id", "event_id": "event_id", "__else__": None},
        "copy": {"__source__": "events", "event_id": "event_id", "__else__": None},
    }
    run = tap.run(**span, batch_config=batches(), stream_maps=maps)
    (first, *_), (copy, *_) = files(run), files(run, "copy")
    assert [json.loads(line)["user"] for line in lines(first)] == ["u0", "u1", "u2", "u3"]
    assert [set(json.loads(line)) for line in lines(copy)] == [{"event_id"}] * 4


def test_files_and_their_folder_are_private(tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run(**span, batch_config=batches())
    folder = tap.folder / "batches"
    assert files(run)[0].parent == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_prefix_may_name_a_folder_below_the_root(tap: Tap, span: dict[str, Any]) -> None:
    config = batches(storage={"root": f"file://{tap.folder}/a b%20c", "prefix": "x/y-"})
    run = tap.run(**span, batch_config=config)
    folder = tap.folder / "a b c" / "x"
    assert {path.parent for path in files(run)} == {folder}
    assert all(path.name.startswith("y-tap-robotmia--events-") for path in files(run))
    assert len(lines(files(run)[0])) == 4


def test_malformed_lines_are_kept_and_counted_as_without_files(tap: Tap, vendor: Robotmia) -> None:
    body = b"".join(json.dumps(event).encode() + b"\n" for event in numbered(4))
    vendor.set_body(day(0), b"oops\n" + body)
    settings: dict[str, Any] = {"start_date": day(0), "end_date": day(0)}
    run = tap.run(**settings, batch_config=batches(), max_malformed_lines=1)
    assert [len(lines(path)) for path in files(run)] == [4]
    (kept,) = (tap.folder / "rejects").iterdir()
    assert b"oops" in kept.read_bytes()
    failed = tap.run(**settings, batch_config=batches(), status=1)
    assert not files(failed)
    assert not failed.bookmarks()
    assert len(list((tap.folder / "batches").iterdir())) == 1


def test_a_later_run_removes_expired_files_of_its_own_and_no_others(
    tap: Tap, span: dict[str, Any]
) -> None:
    run = tap.run(**span, batch_config=batches())
    expired, recent, *_ = files(run)
    foreign = expired.with_name("tap-other--events-1.json.gz")
    foreign.write_bytes(b"")
    old = time.time() - 4 * 24 * 3600
    for path in (expired, foreign):
        os.utime(path, (old, old))
    tap.run(**span, batch_config=batches())
    assert not expired.exists()
    assert recent.exists()
    assert foreign.exists()


def test_a_folder_that_cannot_be_made_names_the_setting(tap: Tap, span: dict[str, Any]) -> None:
    (tap.folder / "batches").write_text("")
    run = tap.run(**span, batch_config=batches(), status=1)
    assert "a BATCH file cannot be written to batches (" in run.reason
    assert "the setting 'batch_config.storage.root'" in run.reason
    assert not run.bookmarks()


def test_a_connection_test_writes_no_file(tap: Tap, span: dict[str, Any]) -> None:
    run = tap.run("--test", **span, batch_config=batches())
    assert len(run.records()) == 1
    assert not (tap.folder / "batches").exists()
