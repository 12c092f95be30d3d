"""The command `singer-martech-rejects`: its input files and its output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("singer-martech-rejects")

SCHEMA = {"type": "SCHEMA", "stream": "orders", "schema": {}, "key_properties": []}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def write_report(
    folder: Path, target: str = "target-mona", *, key: str = '{"id":7}', reason: str = "bad"
) -> Path:
    """Write a report of one record, its schema file, and an error file as reports have them."""
    path = folder / f"{target}.orders.20260101T000000Z-aa.jsonl"
    line = f'{{"stream":"orders","key":{key},"reason":{json.dumps(reason)},"status":null,'
    path.write_text(line + '"record":{"id":7.10},"rejected_at":"2026-01-01T00:00:00Z"}\n')
    stem = path.name.removesuffix(".jsonl")
    (folder / f"{stem}.schema.json").write_text(json.dumps(SCHEMA))
    (folder / f"{stem}.1234.errors").write_text("line 1: refused\n")
    return path


def test_schema_and_error_files_that_match_a_pattern_are_skipped(tmp_path: Path) -> None:
    write_report(tmp_path)
    result = run("replay", *tmp_path.iterdir())
    assert (result.returncode, result.stderr) == (0, "")
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == ["SCHEMA", "RECORD"]


@pytest.mark.parametrize("command", ["summary", "replay"])
def test_an_unexpanded_pattern_is_expanded(tmp_path: Path, command: str) -> None:
    write_report(tmp_path)
    result = run(command, tmp_path / "target-mona.*")
    assert result.returncode == 0
    assert "7.10" in result.stdout or '{"id":7}' in result.stdout


def test_reports_of_two_targets_are_not_replayed_together(tmp_path: Path) -> None:
    paths = [write_report(tmp_path), write_report(tmp_path, "target-monetate")]
    result = run("replay", *paths)
    assert (result.returncode, result.stdout) == (1, "")
    assert "reports of target-mona and target-monetate; replay those of one" in result.stderr


def test_reports_of_another_target_are_rejected(tmp_path: Path) -> None:
    path = write_report(tmp_path)
    result = run("--target", "target-monetate", "replay", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "reports of target-mona, not of target-monetate" in result.stderr
    assert run("--target", "target-mona", "replay", path).returncode == 0


def test_a_summary_shows_the_record_if_the_key_is_empty(tmp_path: Path) -> None:
    result = run("summary", write_report(tmp_path, key="{}"))
    assert (result.returncode, result.stderr) == (0, "")
    assert 'such as {"id":7.10}' in result.stdout


def test_a_summary_escapes_control_characters(tmp_path: Path) -> None:
    result = run("summary", write_report(tmp_path, reason="bad\x1b[2J\nno", key='{"id":"\x7f"}'))
    assert result.returncode == 0
    assert r"orders: bad\x1b[2J\nno" in result.stdout
    assert r'{"id":"\x7f"}' in result.stdout


@pytest.mark.parametrize("names", [["missing.jsonl"], ["missing-*.jsonl"]])
def test_a_file_that_does_not_exist_is_named(tmp_path: Path, names: list[str]) -> None:
    result = run("summary", *(tmp_path / name for name in names))
    assert result.returncode == 1
    assert f"Error: {tmp_path / names[0]} does not exist\n" == result.stderr


@pytest.mark.parametrize(
    "arguments", [["summary"], ["replay"], ["--help"], ["--version"]], ids=lambda each: each[0]
)
def test_a_full_disk_at_the_output_is_reported_in_one_line(
    tmp_path: Path, arguments: list[str]
) -> None:
    files = (
        [str(write_report(tmp_path))] if len(arguments[0]) < 8 and arguments[0][0] != "-" else []
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments, *files],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["summary", "replay"])
def test_a_closed_standard_output_is_an_error(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", COMMAND, name, write_report(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    error = "Error: nothing can be written: standard output is closed\n"
    assert (done.returncode, done.stderr) == (1, error)
