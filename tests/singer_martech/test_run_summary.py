"""The JSON file that a target writes at the end of a run for the setting `summary_path`."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.delivery.reject_reasons import RejectReasons
from singer_martech.delivery.run_summary import Timeline
from singer_martech.delivery.target import MartechTarget
from singer_martech.errors import MartechError, SettingError
from target_mona.target import TargetMona
from tests.robustness.plugins import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

SCHEMA = {
    "type": "SCHEMA",
    "stream": "scores",
    "key_properties": ["id"],
    "schema": {"properties": {"id": {"type": "string"}, "score": {"type": "number"}}},
}


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path) -> dict[str, Any]:
    return {
        **sandbox.mona.credentials(),
        "reject_path": str(tmp_path / "rejects"),
        "summary_path": str(tmp_path / "summaries"),
    }


def lines(records: Iterable[dict[str, Any]]) -> str:
    messages = [SCHEMA, *({"type": "RECORD", "stream": "scores", "record": r} for r in records)]
    return "".join(json.dumps(message) + "\n" for message in messages)


def load(config: dict[str, Any], records: Iterable[dict[str, Any]]) -> None:
    TargetMona(config=config).listen(io.StringIO(lines(records)))


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def only_summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(only_file(folder).read_text(encoding="utf-8"))
    return summary


def test_the_summary_of_a_success_has_the_delivered_records(
    config: dict[str, Any], tmp_path: Path
) -> None:
    load(config, [{"id": str(number), "score": 0.5} for number in range(2_500)])
    summary = only_summary(tmp_path / "summaries")
    (stream,) = summary.pop("streams")
    timeline = stream.pop("timeline")
    assert summary["target"] == "target-mona"
    assert summary["outcome"] == "succeeded"
    assert summary["reason"] is None
    assert summary["dry_run"] is False
    assert summary["started_at"] < summary["ended_at"]
    assert (summary["rejects"], summary["rejects_for_other_reasons"]) == ([], 0)
    assert (stream["stream"], stream["read"], stream["delivered"]) == ("scores", 2_500, 2_500)
    assert stream["requests"] == 3
    assert timeline["delivered"][0] == 0
    assert timeline["delivered"][-1] == 2_500
    assert timeline["seconds"] == sorted(timeline["seconds"])
    assert len({len(column) for column in timeline.values()}) == 1


def test_the_file_name_has_the_same_run_name_as_the_reject_reports(
    config: dict[str, Any], tmp_path: Path
) -> None:
    load({**config, "max_rejected_records": 1}, [{"id": "a", "score": "high"}])
    run = only_summary(tmp_path / "summaries")["run"]
    assert only_file(tmp_path / "summaries").name == f"target-mona.{run}.json"
    assert (tmp_path / "rejects" / f"target-mona.scores.{run}.jsonl").exists()


def test_the_file_is_private_and_replaces_the_previous_one(
    config: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "last.json"
    for count in (1, 2):
        load({**config, "summary_path": str(file)}, [{"id": str(n)} for n in range(count)])
        assert json.loads(file.read_text())["streams"][0]["delivered"] == count
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_the_summary_of_a_failure_has_its_reason_and_counts(
    config: dict[str, Any], tmp_path: Path
) -> None:
    records: list[dict[str, Any]] = [{"id": "good", "score": 1}, {"id": "bad", "score": "high"}]
    with pytest.raises(MartechError) as failure:
        load(config, records)
    summary = only_summary(tmp_path / "summaries")
    assert summary["outcome"] == "failed"
    assert summary["reason"] == str(failure.value)
    assert "max_rejected_records" in summary["reason"]
    (reject,) = summary["rejects"]
    assert (reject["stream"], reject["count"], reject["example"]) == ("scores", 1, {"id": "bad"})
    stream = summary["streams"][0]
    assert (stream["delivered"], stream["rejected"]) == (1, 1)
    assert stream["timeline"]["rejected"][-1] == 1


@pytest.mark.parametrize("plugin", TARGETS, ids=str)
def test_an_error_of_the_sdk_after_the_input_has_a_summary(
    plugin: Plugin, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(message: str, *_: object) -> None:
        if message.startswith("Reader"):
            raise OSError(errno.ENOSPC, "the disk is full")

    config = {**plugin.settings(sandbox), "summary_path": str(tmp_path / "summaries")}
    target = cast("MartechTarget", plugin.plugin(config=config))
    monkeypatch.setattr(target.logger, "info", fail)
    with pytest.raises(OSError, match="the disk is full"):
        target.listen(io.StringIO(""))
    assert only_summary(tmp_path / "summaries")["outcome"] == "failed"


def test_an_error_after_the_end_of_the_run_replaces_its_summary(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(target: TargetMona) -> None:
        MartechTarget.process_endofpipe(target)
        assert only_summary(tmp_path / "summaries")["outcome"] == "succeeded"
        raise MemoryError("after the end")

    monkeypatch.setattr(TargetMona, "process_endofpipe", end)
    with pytest.raises(MemoryError, match="after the end"):
        load(config, [{"id": "a"}])
    summary = only_summary(tmp_path / "summaries")
    assert (summary["outcome"], summary["reason"]) == ("failed", "after the end")
    assert summary["streams"][0]["delivered"] == 1


def test_equal_reasons_are_counted_together(config: dict[str, Any], tmp_path: Path) -> None:
    records = [{"id": str(number), "score": "high"} for number in range(7)]
    load({**config, "max_rejected_records": 7}, records)
    (reject,) = only_summary(tmp_path / "summaries")["rejects"]
    assert (reject["count"], reject["example"], reject["status"]) == (7, {"id": "0"}, None)


def test_the_timeline_has_retries(config: dict[str, Any], tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", path="/export", status=503, retry_after=0, times=2)
    load(config, [{"id": "a"}])
    (stream,) = only_summary(tmp_path / "summaries")["streams"]
    assert stream["retries"] == 2
    assert stream["timeline"]["retries"][-1] == 2


def test_a_dry_run_is_marked(config: dict[str, Any], tmp_path: Path) -> None:
    load({**config, "dry_run": True}, [{"id": "a"}])
    assert only_summary(tmp_path / "summaries")["dry_run"] is True


def test_the_summary_names_the_pipeline_and_the_run_of_meltano(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "EXTRACTOR_NAME": "tap-shop",
        "LOADER_NAME": "target-mona",
        "ENVIRONMENT": "prod",
        "RUN_STATE_ID_SUFFIX": "2025",
        "RUN_ID": "01a21df4-7226-7e8a-bb2a-6922a325a54a",
    }.items():
        monkeypatch.setenv(f"MELTANO_{name}", value)
    load(config, [{"id": "a"}])
    summary = only_summary(tmp_path / "summaries")
    assert summary["pipeline"] == "prod:tap-shop-to-target-mona:2025"
    assert summary["meltano_run_id"] == "01a21df4-7226-7e8a-bb2a-6922a325a54a"


def test_without_meltano_there_is_no_pipeline(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MELTANO_EXTRACTOR_NAME", raising=False)
    monkeypatch.delenv("MELTANO_RUN_ID", raising=False)
    load(config, [{"id": "a"}])
    summary = only_summary(tmp_path / "summaries")
    assert (summary["pipeline"], summary["meltano_run_id"]) == (None, None)


def test_the_summary_contains_no_secret(
    config: dict[str, Any], tmp_path: Path, sandbox: Sandbox
) -> None:
    secret = sandbox.mona.credentials()["client_secret"]
    records = [{"id": f"id of {secret}", "score": f"as {secret}"}]
    load({**config, "max_rejected_records": 1}, records)
    text = only_file(tmp_path / "summaries").read_text(encoding="utf-8")
    assert secret not in text
    assert json.loads(text)["rejects"][0]["example"] == {"id": "id of [secret]"}


def test_without_the_setting_nothing_is_written(config: dict[str, Any], tmp_path: Path) -> None:
    del config["summary_path"]
    load(config, [{"id": "a"}])
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path_is_an_error_before_anything_is_sent(
    config: dict[str, Any], tmp_path: Path, sandbox: Sandbox
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="setting 'summary_path'"):
        load({**config, "summary_path": str(tmp_path / "file" / "summaries")}, [{"id": "a"}])
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/dev/stderr", '"$@" 2>output'),
        ("/dev/fd/3", '"$@" 3>output'),
        ("fifo", 'mkfifo fifo; exec 3<>fifo; "$@" || exit; read -r line <&3; echo "$line" >output'),
        ("/dev/null", '"$@"; touch output'),
    ],
)
def test_a_summary_is_written_to_what_is_no_regular_file(
    config: dict[str, Any], tmp_path: Path, path: str, script: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**config, "summary_path": path}))
    command = [sys.executable, "-m", "target_mona", "--config", "config.json"]
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command],
        cwd=tmp_path,
        input=lines([{"id": "a"}]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written" not in done.stderr
    written = (tmp_path / "output").read_text(encoding="utf-8").splitlines()
    outcomes = [json.loads(line)["outcome"] for line in written if line.startswith('{"format"')]
    assert outcomes == ([] if path == "/dev/null" else ["succeeded"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/stdout", "names standard output, which carries the STATE messages"),
        ("/dev/fd/1", "names standard output"),
        ("/proc/self/fd/1", "names standard output"),
        ("link.json", "link.json is a symbolic link; name the file itself"),
        ("link", "link is a symbolic link"),
        ("fifo/summaries", "/fifo' is not a folder"),
        ("link/summary.json", "/link' is a symbolic link to nothing"),
    ],
)
def test_a_path_that_cannot_be_written_is_named_before_anything_is_sent(
    config: dict[str, Any], tmp_path: Path, sandbox: Sandbox, path: str, reason: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("link.json", "link"):
        (tmp_path / name).symlink_to("nothing")
    given = path if path.startswith("/") else str(tmp_path / path)
    with pytest.raises(SettingError, match=f"setting 'summary_path'.*{reason}"):
        load({**config, "summary_path": given}, [{"id": "a"}])
    assert sandbox.requests == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_ended_by_a_signal_is_marked(
    config: dict[str, Any], tmp_path: Path, sandbox: Sandbox, number: signal.Signals
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_request_rows": 1}))
    process = subprocess.Popen(
        [sys.executable, "-m", "target_mona", "--config", str(tmp_path / "config.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    process.stdin.write(lines([{"id": "a"}]).encode())
    process.stdin.flush()
    sandbox.wait_until(lambda: len(sandbox.mona.messages()) == 1)
    os.kill(process.pid, number)
    assert process.wait() == 128 + number
    process.stdin.close()
    summary = only_summary(tmp_path / "summaries")
    assert (summary["outcome"], summary["reason"]) == ("stopped", f"stopped by {number.name}")
    assert summary["streams"][0]["read"] == 1


def test_the_timeline_of_a_month_has_a_few_hundred_points() -> None:
    timeline = Timeline(started_at=0.0)
    metrics = StreamMetrics("events")
    late = StreamMetrics("late")
    now = 0.0
    while now < 30 * 24 * 3600:
        now = max(now + 0.01, timeline.due_at)
        metrics.delivered = int(now * 10)
        timeline.add(now, [metrics, late] if now > 3600 else [metrics])
    columns = timeline.columns(metrics)
    assert 150 <= len(columns["seconds"]) <= 301
    assert columns["seconds"][0] == 0
    assert columns["delivered"][-1] == int(now * 10)
    rates = [
        count / seconds
        for seconds, count in zip(*list(columns.values())[:2], strict=True)
        if seconds
    ]
    assert all(9.9 < rate <= 10 for rate in rates)
    assert len(timeline.columns(late)["delivered"]) == len(columns["seconds"])


def test_the_number_of_reasons_is_bounded() -> None:
    reasons = RejectReasons()
    for number in range(1_000):
        reasons.add("s", f"reason {number}", 400, {"id": "x" * 10_000})
        reasons.add("s", "reason 7", 400, {"id": number})
    known = reasons.most_common()
    assert len(known) == 100
    assert (known[0].reason, known[0].count) == ("reason 7", 1_001)
    assert sum(reason.count for reason in known) + reasons.others == 2_000
    assert max(len(str(reason.example["id"])) for reason in known) <= 201


def test_the_page_about_summaries_names_every_field(config: dict[str, Any], tmp_path: Path) -> None:
    load(config, [{"id": "a"}])
    page = (Path(__file__).parents[2] / "docs" / "run-summaries.md").read_text(encoding="utf-8")
    table = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(only_summary(tmp_path / "summaries"))
