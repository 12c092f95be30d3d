"""Errors of the console script for invalid settings and credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from singer_martech.singer.config_check import check_config
from tap_mediarithmics import export_config
from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

TOKEN = "api:MarkerOfASecret+token/42"
GOOD = {"stream": "s", "query": "SELECT { id ts } FROM T"}
START = {**GOOD, "query": "SELECT { id ts } FROM T WHERE ts >= {start}"}


def faults(**settings: Any) -> str:
    """Return the errors of settings, without network access."""
    base = {"api_token": TOKEN, "organisation_id": "1", "datamart_id": "2"}
    tap_class: Any = TapMediarithmics
    tap = tap_class.__new__(tap_class)
    with pytest.raises(Exception) as error:  # noqa: PT011 - the SDK's own, with a list
        tap.__init__(config={**base, **settings})
    return "; ".join(getattr(error.value, "errors", [str(error.value)]))


@pytest.mark.parametrize(
    ("exports", "expected"),
    [
        ([GOOD, GOOD], "setting 'exports[1].stream' is the same as 'exports[0].stream'"),
        ([{**GOOD, "stream": "exports"}], "'exports[0].stream': the tap has a stream 'exports'"),
        ([{**GOOD, "stream": "export_executions"}], "'exports[0].stream'"),
        ([GOOD, {"stream": "x"}], "'exports[1]' must have one of export_id, query_id, query"),
        ([{**GOOD, "export_id": "1"}], "has export_id and query"),
        ([{"query": "x"}], "'exports[0].stream' is required"),
        (
            [
                GOOD,
                {"stream": "b", "export_id": "1"},
                {"stream": "c", "export_id": "1", "mode": "newest"},
            ],
            "setting 'exports[2].mode' must be one of latest, all, run",
        ),
        ([{**GOOD, "max_error_ratio": 2}], "'exports[0].max_error_ratio' must be at most 1"),
        ([{**GOOD, "lookback_seconds": -1}], "'exports[0].lookback_seconds' must be at least 0"),
        ([{**GOOD, "start_format": "unix"}], "'exports[0].start_format' must be one of"),
        ([{**GOOD, "primary_key": "id"}], "did you mean 'primary_keys'"),
        (
            [{**GOOD, "primary_keys": ["no"]}],
            "'exports[0].primary_keys': the query does not select",
        ),
        ([{**GOOD, "replication_key": "no"}], "'exports[0].replication_key': the query does not"),
        ([{**GOOD, "query": "SELECT @count{} FROM T"}], "'exports[0].query': @count at line 1"),
        (
            [START],
            "'exports[0].replication_key' is required, because 'exports[0].query' holds {start}",
        ),
        ([{**START, "replication_key": "ts", "mode": "all"}], "'exports[0].mode' must be run"),
        ([{**GOOD, "schema": {"type": "array"}}], "'exports[0].schema' must be the JSON Schema"),
        (
            [{**GOOD, "schema": {"properties": {"a": {"type": 5}}}}],
            "'exports[0].schema' is not a valid",
        ),
        (
            [{**GOOD, "schema": {"properties": {}}, "replication_key": "ts"}],
            "'exports[0].schema' has no property 'ts'",
        ),
        ("[{", "setting 'exports' must be an array (JSON)"),
    ],
)
def test_each_item_is_validated_and_named_by_its_index(exports: Any, expected: str) -> None:
    assert expected in faults(exports=exports)


def test_all_problems_are_reported_at_once() -> None:
    told = faults(exports=[{"stream": "a"}, {**GOOD, "stream": "exports"}], start_date="soon")
    assert "exports[0]" in told
    assert "exports[1].stream" in told
    assert "setting 'start_date' must be a date" in told


def test_a_start_date_in_the_future_is_an_error() -> None:
    told = faults(exports=[GOOD], start_date="2099-01-01")
    assert "setting 'start_date' (2099-01-01) is in the future, so nothing would be read" in told


def test_a_query_as_text_needs_the_datamart() -> None:
    assert "setting 'datamart_id' is required" in faults(datamart_id="", exports=[GOOD])


@pytest.mark.parametrize("name", ["api_token", "organisation_id"])
def test_required_settings_are_named_with_their_variable(name: str, command: Any) -> None:
    settings = {"api_token": TOKEN, "organisation_id": "1"}
    del settings[name]
    ended = command(settings)
    assert ended.status == 1
    assert f"TAP_MEDIARITHMICS_{name.upper()}" in ended.last_line
    assert TOKEN not in ended.stderr


def test_an_unencrypted_address_is_an_error(command: Any) -> None:
    ended = command({"api_token": TOKEN, "organisation_id": "1", "api_url": "http://example.com"})
    assert ended.status == 1
    assert "setting 'api_url' must start with https://" in ended.last_line


def test_settings_come_from_environment_variables_as_text(
    vendor: Mediarithmics, config: dict[str, Any]
) -> None:
    export = vendor.exports()[1]["id"]
    variables = {f"TAP_MEDIARITHMICS_{name.upper()}": str(value) for name, value in config.items()}
    item = {"stream": "visits", "export_id": int(export), "mode": "all"}
    variables["TAP_MEDIARITHMICS_EXPORTS"] = json.dumps([item])
    variables["TAP_MEDIARITHMICS_DISCOVER_EXPORTS"] = "false"
    ended = subprocess.run(
        [sys.executable, "-m", "tap_mediarithmics", "--config", "ENV"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert '"stream":"visits","record":' in ended.stdout


@pytest.mark.parametrize("arguments", [(), ("--discover",)])
def test_a_rejected_token_is_reported_with_the_error_id_and_without_the_token(
    vendor: Mediarithmics, config: dict[str, Any], command: Any, sandbox: Sandbox, arguments: Any
) -> None:
    vendor.token_valid = False
    body = {"status": "error", "error": "Invalid token", "error_id": "e1d-77"}
    sandbox.faults.add("mediarithmics", status=401, body=body, times=None)
    ended = command(
        {
            **config,
            "api_token": TOKEN,
            "exports": [{"stream": "visits", "export_id": vendor.exports()[0]["id"]}],
        },
        *arguments,
        env={**os.environ, "LOGLEVEL": "DEBUG"} if not arguments else None,
    )
    assert ended.status == 1
    line = next(each for each in ended.stderr.splitlines() if "e1d-77" in each)
    assert "Invalid token, error_id e1d-77" in line
    assert "api_token" in line
    assert TOKEN not in ended.stderr
    assert ended.output.messages == []


def test_an_unknown_export_is_reported_with_its_stream(
    config: dict[str, Any], command: Any
) -> None:
    ended = command({**config, "exports": [{"stream": "ghost", "export_id": "1"}]})
    assert ended.status == 1
    assert "stream 'ghost'" in ended.last_line
    assert "export 1" in ended.last_line
    assert "error_id" in ended.last_line
    assert "Traceback" not in ended.stderr


def test_a_name_that_collides_with_a_discovered_export_is_an_error(
    vendor: Mediarithmics, config: dict[str, Any], command: Any
) -> None:
    first, second = (each["id"] for each in vendor.exports()[:2])
    ended = command(
        {
            **config,
            "discover_exports": True,
            "exports": [{"stream": f"export_{first}", "export_id": second}],
        }
    )
    assert ended.status == 1
    assert f"setting 'exports': stream 'export_{first}'" in ended.last_line


def test_about_and_version_need_no_settings() -> None:
    for argument in ("--about", "--version"):
        ended = subprocess.run(
            [sys.executable, "-m", "tap_mediarithmics", argument],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "tap-mediarithmics" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "body",
    [
        "<html>Bad gateway</html>",
        "[]",
        '{"status":"ok"}',
        "null",
        '{"status":"ok","data":{"a":1}}',
        '{"data":[1]}',
        "",
    ],
)
def test_responses_of_another_shape_end_the_run_with_one_line(
    config: dict[str, Any], command: Any, sandbox: Sandbox, body: str
) -> None:
    sandbox.faults.add("mediarithmics", "*/exports", status=200, body=body, times=None)
    ended = command({**config, "discover_exports": True})
    assert ended.status == 1
    assert "exports of organisation 1426" in ended.last_line
    assert "Traceback" not in ended.stderr


def test_a_list_that_repeats_before_its_total_is_an_error(
    vendor: Mediarithmics, config: dict[str, Any], command: Any, sandbox: Sandbox
) -> None:
    rows = [{"id": str(number)} for number in range(50)]
    body = {"status": "ok", "data": rows, "max_results": 50, "total": 163}
    sandbox.faults.add("mediarithmics", "*/exports", status=200, body=body, times=None)
    ended = command({**config, "discover_exports": True})
    assert ended.status == 1
    assert "the list does not end" in ended.last_line
    assert len(vendor.requests_to("/exports$")) == 2


def test_the_example_of_the_documentation_is_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tap-mediarithmics.md").read_text()
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    (plugin,) = example["plugins"]["extractors"]
    config = {**plugin["config"], "api_token": TOKEN}
    schema = TapMediarithmics.config_jsonschema
    typed, found = check_config(schema, config, "TAP_MEDIARITHMICS_")
    assert [*found, *export_config.problems(typed), *export_config.start_date_problems(typed)] == []
