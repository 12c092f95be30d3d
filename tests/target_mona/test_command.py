"""The command: settings, errors, --about and other output, and the dry run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import as_bytes, record, records, schema, state

if TYPE_CHECKING:
    from tests.sandbox.mona import Mona
    from tests.target_mona.conftest import Target

SECRET = "a-secret-of-the-user"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def config_file(target: Target, **config: Any) -> str:
    path = target.folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)


def test_settings_come_as_text_from_the_environment(target: Target, mona: Mona) -> None:
    settings = {
        **target.config,
        "max_request_rows": 2,
        "max_rejected_records": 1,
        "request_timeout_seconds": 20.5,
        "dry_run": False,
        "streams": {"orders": {"arc_class": "sales"}},
    }
    environment = ENVIRONMENT | {
        f"TARGET_MONA_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }
    lines = as_bytes([schema(id={"type": "integer"}), *records(5), record(id="x"), state(1)])
    run = target.command("--config", "ENV", lines=lines, environment=environment)
    assert run.status == 0
    assert run.output == "1\n"
    assert len(mona.exports) == 3
    assert {each["arc_class"] for each in mona.messages()} == {"sales"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"client_id": None}, "setting 'client_id' is required together with 'client_secret'"),
        ({"client_secret": None}, "setting 'client_secret' is required together with"),
        (
            {"client_id": None, "client_secret": None},
            "settings 'client_id' and 'client_secret', or 'access_token', are required",
        ),
        ({"client_secret": [SECRET]}, "setting 'client_secret' must be text"),
        ({"api_url": "http://example.com"}, "setting 'api_url' must start with https://"),
        ({"auth_url": "http://10.0.0.1/x"}, "setting 'auth_url' must start with https://"),
        ({"max_request_rows": "many"}, "setting 'max_request_rows' must be a whole number"),
        ({"dry_run": "perhaps"}, "setting 'dry_run' must be true or false"),
        ({"streams": "{"}, "setting 'streams' is not valid JSON (line 1, column 2: Expecting"),
        (
            {"user_id": "me.example.com/", "api_url": "https://incoming{user_id}.monalabs.io"},
            "setting 'user_id' may hold letters",
        ),
        ({"streams": {"a.b": 5}}, "setting 'streams': the mapping of 'a.b' must be an object"),
    ],
)
def test_a_wrong_setting_ends_the_run_with_one_line(
    target: Target, mona: Mona, settings: dict[str, Any], reason: str
) -> None:
    run = target(schema(), record(id=1), state(1), **settings)
    assert run.status == 1
    assert run.reason.startswith(reason)
    assert "Traceback" not in run.log
    assert SECRET not in run.log
    assert run.output == ""
    assert mona.requests == []


def test_a_real_process_ends_with_one_line_and_status_1(target: Target) -> None:
    path = config_file(target, client_secret=SECRET)
    run = target.command("--config", path, environment=ENVIRONMENT)
    assert run.status == 1
    assert run.output == ""
    assert run.reason == "setting 'client_id' is required together with 'client_secret'"
    assert "Traceback" not in run.log
    assert SECRET not in run.log


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the configuration file .* cannot be read: No such file"),
        ("{", "the configuration file .* is not valid JSON"),
        ('{\n "a": 1,,\n}', "is not valid JSON .line 2, column 9: "),
        ('{"a": NaN}', "the configuration file .* is not valid JSON: it holds NaN"),
        ("[" * 100_000, "the configuration file .* is not valid JSON: it is nested too deep"),
        ("[]", "the configuration file .* must hold a JSON object"),
    ],
)
def test_an_unreadable_configuration_file_is_named(
    target: Target, content: str | None, reason: str
) -> None:
    path = target.folder / "broken.json"
    if content is not None:
        path.write_text(content)
    run = target.command("--config", str(path), environment=ENVIRONMENT)
    assert run.status == 1
    assert re.search(reason, run.reason)
    assert "Traceback" not in run.log


def test_debug_logging_shows_the_traceback(target: Target, mona: Mona) -> None:
    path = config_file(target, **target.config | {"client_secret": SECRET})
    lines = as_bytes([schema(), record(id=1)])
    run = target.command(
        "--config", path, lines=lines, environment=ENVIRONMENT | {"LOGLEVEL": "DEBUG"}
    )
    assert run.status == 1
    assert "Traceback" in run.log
    assert SECRET not in run.log
    assert mona.messages() == []


def test_control_characters_in_names_are_shown_escaped(target: Target, mona: Mona) -> None:
    name = "a\nb\x1b[31m\u202e"
    run = target(schema(name), record(name, id=1), record("c\nd", id=1))
    assert run.status == 1
    assert run.reason.endswith("stream 'c\\nd': a RECORD came before its SCHEMA")
    assert all(re.match(r"20\d\d-\d\d-\d\d ", line) for line in run.log.splitlines())
    assert not re.search("[\x1b\u202e]", run.log)
    assert len(mona.messages()) == 1


def test_a_signal_ends_a_run_whose_output_is_not_read(target: Target) -> None:
    process = target.start(checkpoint_interval_seconds=0.01)
    assert process.stdin is not None
    process.stdin.write(as_bytes([schema(), state("x" * 1_000_000)]))
    process.stdin.flush()
    assert process.stdout is not None
    assert process.stdout.read(1) == b'"'  # so it is writing
    process.send_signal(signal.SIGTERM)
    assert (
        len(process.stdout.read()) == 1_000_002
    )  # with the line end, without the byte that was read
    assert process.wait(20) == 128 + signal.SIGTERM


def test_no_secret_is_ever_logged(target: Target, mona: Mona) -> None:
    path = config_file(target, **target.config)
    lines = as_bytes([schema(), *records(3), state(1)])
    environment = ENVIRONMENT | {"LOGLEVEL": "DEBUG", "TARGET_MONA_LOGLEVEL": "DEBUG"}
    run = target.command("--config", path, lines=lines, environment=environment)
    assert run.status == 0
    everything = run.log + run.output
    assert mona.client_secret not in everything
    assert "eyJ" not in everything  # the start of every access token
    for refresh in mona.tokens.refresh_tokens:
        assert refresh not in everything


def test_the_version_is_that_of_the_distribution(target: Target) -> None:
    run = target.command("--version", environment=ENVIRONMENT)
    assert run.status == 0
    assert run.output == f"target-mona v{version('singer-martech')}, Meltano SDK v" + (
        version("singer-sdk") + "\n"
    )


def test_about_as_json_is_json_alone_without_any_configuration(target: Target) -> None:
    run = target.command("--about", "--format", "json", environment=ENVIRONMENT)
    assert run.status == 0
    about = json.loads(run.output)
    assert about["name"] == "target-mona"
    settings = about["settings"]["properties"]
    assert {name for name, each in settings.items() if each.get("secret")} == {
        "client_secret",
        "access_token",
    }
    assert "load_method" not in settings
    assert settings["max_request_rows"]["default"] == 1000
    assert settings["max_request_bytes"]["default"] == 4 * 1024 * 1024
    assert settings["parallel_requests"]["default"] == 4
    assert settings["api_url"]["default"] == "https://incoming{user_id}.monalabs.io"
    assert all(each.get("description") for each in settings.values())
    assert about["settings"].get("required", []) == []


@pytest.mark.parametrize(
    ("arguments", "start"),
    [([], "Name: target-mona"), (["--format", "markdown"], "# `target-mona`")],
)
def test_about_as_text_and_markdown(target: Target, arguments: list[str], start: str) -> None:
    run = target.command("--about", *arguments, environment=ENVIRONMENT)
    assert run.status == 0
    assert run.output.strip().startswith(start)


def test_after_an_early_failure_the_input_is_read_so_that_its_writer_can_end(
    target: Target,
) -> None:
    lines = as_bytes([schema(), *records(5000)])  # more than a pipe holds
    process = target.start(max_attempts=0)
    assert process.stdin
    assert process.stderr
    while b"max_attempts" not in (line := process.stderr.readline()):
        assert line, "the run ended without its reason"
    process.stdin.write(lines)
    process.stdin.flush()
    process.communicate(timeout=20)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("{command} --config {config} <&-", "there is no input: standard input is closed"),
        ("{command} --config {config} >&-", "nothing can be written: standard output is closed"),
        ("{command} --config {config} >/dev/full", "the output cannot be written: No space left"),
        ("{command} --version >/dev/full", "the output cannot be written: No space left"),
        ("{command} --help >/dev/full", "the output cannot be written: No space left"),
        ("{command} --about >/dev/full", "the output cannot be written: No space left"),
        ("{command} --check --config {config} >/dev/full", "cannot be written: No space left"),
        ("LOGLEVEL=LOUD {command} --config {config}", "logging cannot be set up as LOGLEVEL"),
    ],
)
def test_an_unusable_environment_ends_the_run_with_one_line(
    target: Target, command: str, reason: str
) -> None:
    name = Path(sys.executable).with_name("target-mona")
    line = command.format(command=name, config=config_file(target, **target.config))
    result = subprocess.run(
        ["sh", "-c", line], input=as_bytes([state(1)]), capture_output=True, check=False
    )
    assert result.returncode == 1
    assert reason in result.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in result.stderr


def test_an_interrupt_while_the_command_is_loaded_leaves_no_traceback() -> None:
    # the import of one module represents any moment of loading
    script = (
        "import os, signal, sys\n"
        "from target_mona.__main__ import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'target_mona.target':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, b"")


def test_the_package_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "target_mona", "--version"], capture_output=True, check=True
    )
    assert result.stdout.startswith(b"target-mona v")


def test_meltano_config_test_succeeds(target: Target, mona: Mona) -> None:
    """Meltano treats any line with the words below as a failure."""
    properties = {"id": {"type": "integer"}, "random_letter": {"type": "string"}}
    path = config_file(target, **target.config)
    lines = as_bytes(
        [
            schema("meltano_test_stream", ["id"], **properties),
            record("meltano_test_stream", id=1, random_letter="q"),
            {"type": "ACTIVATE_VERSION", "stream": "meltano_test_stream", "version": 1},
        ]
    )
    run = target.command("--config", path, lines=lines, environment=ENVIRONMENT)
    assert run.status == 0
    assert "error" not in run.log.lower()
    assert "exception" not in run.log.lower()
    assert mona.messages()[0]["arc_class"] == "meltano_test_stream"


def test_a_dry_run_sends_nothing_and_shows_what_it_would_send(target: Target, mona: Mona) -> None:
    run = target(
        schema("a", id={"type": "integer"}),
        schema("b"),
        *records(5, "a", name="first"),
        record("a", id="x"),
        record("b", id=7, name="second"),
        state(1),
        dry_run="true",
        max_request_rows=2,
        max_rejected_records=1,
        streams={"b": {"message": {"n": "{{ name }}"}}},
    )
    assert run.status == 0
    assert run.output == ""
    assert mona.exports == []
    shown = [line for line in run.log.splitlines() if "dry run: the first request" in line]
    assert len(shown) == 2
    assert "stream 'a' holds 2 record(s)" in shown[0]
    assert f"POST {mona.api_url}/export" in shown[0]
    body = json.loads(shown[0].partition("/export ")[2])
    assert body == {
        "userId": mona.user_id,
        "messages": [
            {"arcClass": "a", "contextId": str(each), "message": {"id": each, "name": "first"}}
            for each in (1, 2)
        ],
    }
    assert '"message":{"n":"second"}' in shown[1]
    counts = run.summary("a")
    assert (counts["read"], counts["would_deliver"], counts["rejected"]) == (6, 5, 1)
    assert mona.client_secret not in run.log
    assert "Bearer" not in run.log


def test_a_dry_run_reads_everything_before_it_fails(target: Target, mona: Mona) -> None:
    wrong = [record(id="a"), record(id="b")]
    numbers = schema(id={"type": "integer"})
    run = target(numbers, *records(2), *wrong, *records(3), dry_run=True)
    counts = run.summary()
    assert run.status == 1
    assert "rejected so far: 2, max_rejected_records: 0" in run.log
    assert (counts["read"], counts["would_deliver"], counts["rejected"]) == (7, 5, 2)
    assert not mona.exports


def test_a_dry_run_reports_the_size_that_would_be_sent(target: Target, mona: Mona) -> None:
    dry = target(schema(), *records(3), dry_run=True)
    wet = target(schema(), *records(3))
    assert wet.status == dry.status == 0
    assert dry.summary()["bytes"] == mona.exports[0].size == wet.summary()["bytes"]
    assert f"holds 3 record(s), {mona.exports[0].size} bytes" in dry.log


def test_the_user_agent_is_sent(target: Target, mona: Mona) -> None:
    target(schema(), record(id=1))
    target(schema(), record(id=2), user_agent="mine/1")
    agents = [export.headers["user-agent"] for export in mona.exports]
    assert agents == [f"singer-martech/{version('singer-martech')}", "mine/1"]
