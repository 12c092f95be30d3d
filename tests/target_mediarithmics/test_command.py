from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mediarithmics.conftest import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

    Start = Callable[..., subprocess.Popen[str]]

COMMAND = str(Path(sys.executable).with_name("target-mediarithmics"))
STREAMS = {"list": {"document_type": "ANYTHING"}}


@pytest.fixture
def start(settings: dict[str, Any], tmp_path: Path) -> Start:
    def begin(**more: Any) -> subprocess.Popen[str]:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({**settings, "streams": STREAMS, **more}))
        return subprocess.Popen(
            [COMMAND, "--config", config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def last_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    return [line for line in stderr.splitlines() if "ERROR" in line][-1]


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({}, ["'document_type'", "is required"]),
        ({"document_type": "{{ type }}"}, ["'document_type'"]),
        ({"document_type": "USER_ACTIVITY", "mime_type": "TEXT_CSV"},
         ["'mime_type'", "TEXT_CSV is for USER_SEGMENT only", "use APPLICATION_X_NDJSON"]),
        ({"document_type": "USER_POINTS_DELETION", "mime_type": "TEXT_CSV"},
         ["'mime_type'", "TEXT_CSV is for USER_SEGMENT only"]),
        ({"document_type": "X", "mime_type": "TEXT_CSV"}, ["'mime_type'", "USER_SEGMENT only"]),
        ({"document_type": "X", "mime_type": "CSV"}, ["'mime_type'", "TEXT_CSV"]),
        ({"document_type": "X", "priority": "URGENT"}, ["'priority'", "HIGH, MEDIUM, LOW"]),
        ({"document_type": "X", "document_import_id": "1", "document_import_name": "n"},
         ["'document_import_id'", "document_import_name"]),
        ({"document_type": "X", "document_import_name": "{{ id }}"},
         ["'document_import_name'", "{{ stream }}"]),
        ({"document_type": "X", "document_import_id": True}, ["'document_import_id'"]),
        ({"document_type": "X", "document": "{{ id"}, ["'document'", "}}"]),
        ({"document_type": "X", "document": ["a"]}, ["'document'", "must be an object"]),
        ({"document_type": "USER_SEGMENT", "mime_type": "TEXT_CSV", "document": "{{ record }}"},
         ["'document'", "header"]),
        ({"document_type": "USER_SEGMENT", "document": {"operation": "UPSERT"}},
         ["'document'", "operation must be one of UPDATE, DELETE"]),
        ({"document_typ": "X"}, ["document_typ", "document_type"]),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_one_line_that_names_stream_and_key(
    vendor: Mediarithmics, start: Start, mapping: dict[str, Any], parts: list[str]
) -> None:
    run = start(streams={"list": mapping})
    stdout, stderr = run.communicate("")
    assert run.returncode == 1
    assert stdout == ""
    for part in ["'list'", *parts]:
        assert part in last_line(stderr)
    assert vendor.requests == []


def test_settings_that_are_missing_are_named(start: Start) -> None:
    run = start(api_token=None, datamart_id="")
    _, stderr = run.communicate("")
    assert run.returncode == 1
    assert "api_token" in last_line(stderr)
    assert "datamart_id" in last_line(stderr)


def test_the_command_delivers_and_ends_with_state_and_summary(
    vendor: Mediarithmics, start: Start
) -> None:
    run = start(datamart_id=int(vendor.datamart_id), parallel_requests="1")
    stdout, stderr = run.communicate("\n".join([schema(), record(id=1), state({"n": 1})]))
    assert run.returncode == 0
    assert json.loads(stdout) == {"n": 1}
    assert '"delivered": 1' in stderr
    assert vendor.api_token not in stderr
    assert vendor.documents() == [{"id": 1}]


def test_a_stream_without_a_mapping_is_one_line(start: Start) -> None:
    run = start()
    _, stderr = run.communicate(schema("other"))
    assert run.returncode == 1
    assert "stream 'other' has no mapping" in last_line(stderr)


def test_a_failed_execution_is_one_line_with_its_id_and_reason(
    vendor: Mediarithmics, start: Start
) -> None:
    vendor.plan("import", status="FAILED", error={"message": "bad file", "error_id": "e-9"})
    run = start()
    stdout, stderr = run.communicate("\n".join([schema(), record(id=1), state({"n": 1})]))
    assert run.returncode == 1
    assert stdout == ""
    (execution,) = vendor.import_executions()
    line = last_line(stderr)
    assert f"execution {execution.id} of document import 'singer-martech list'" in line
    assert "ended FAILED: bad file, error_id e-9" in line


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_state_excludes_unconfirmed_documents(
    sandbox: Sandbox, vendor: Mediarithmics, start: Start, signum: signal.Signals
) -> None:
    run = start(max_request_rows=1, poll_interval_seconds=0.05)
    assert run.stdin is not None
    run.stdin.write("\n".join([schema(), record(id=1), state({"n": 1}), ""]))
    run.stdin.flush()
    assert run.stdout is not None
    assert json.loads(run.stdout.readline()) == {"n": 1}
    vendor.hold()
    run.stdin.write("\n".join([record(id=2), state({"n": 2}), record(id=3), state({"n": 3}), ""]))
    run.stdin.flush()
    polls = len(vendor.requests_to(r"/executions/\d+$", "GET"))
    sandbox.wait_for_requests("mediarithmics", r"/executions/\d+$", count=polls + 1)
    run.send_signal(signum)
    stdout, stderr = run.communicate()
    assert run.returncode == 128 + signum
    assert stdout == ""
    assert "continues at the vendor" in stderr
    assert '"undelivered": 2' in stderr
    assert len(vendor.import_executions()) == 2
    vendor.release()
    # the next run resumes from STATE and sends the unconfirmed documents again
    again = start()
    stdout, _ = again.communicate(
        "\n".join([schema(), record(id=2), record(id=3), state({"n": 3}), ""])
    )
    assert again.returncode == 0
    assert json.loads(stdout) == {"n": 3}
    assert {each["id"] for each in vendor.documents()} >= {1, 2, 3}


def test_records_are_sent_while_the_input_is_idle(start: Start) -> None:
    run = start(checkpoint_interval_seconds=0.2)
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write("\n".join([schema(), record(id=1), state({"n": 1}), ""]))
    run.stdin.flush()
    assert json.loads(run.stdout.readline()) == {"n": 1}
    run.communicate()
    assert run.returncode == 0


def test_about_needs_no_configuration() -> None:
    command = [COMMAND, "--about", "--format", "json"]
    about = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    properties = about["settings"]["properties"]
    defaults = {name: properties[name].get("default") for name in properties}
    assert defaults["api_url"] == "https://api.mediarithmics.com/v1"
    assert defaults["max_request_rows"] == 100_000
    assert defaults["max_request_bytes"] == 52_428_800
    assert defaults["parallel_requests"] == 1
    assert defaults["poll_interval_seconds"] == 5
    assert defaults["execution_timeout_seconds"] == 3600
    assert defaults["wait_for_completion"] is True
    assert properties["api_token"]["secret"] is True
    assert properties["deletes"]["enum"] == ["skip", "reject", "apply"]
