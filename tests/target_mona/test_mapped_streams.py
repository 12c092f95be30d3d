"""Keys of the setting ``streams`` that match no stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import as_bytes, record, schema

if TYPE_CHECKING:
    from tests.target_mona.conftest import Target

MISSPELT = {"ordres": {"arc_class": "SHOP_ORDER"}}


def test_a_misspelt_key_is_named_while_the_run_goes_on(target: Target) -> None:
    process = target.start(streams=MISSPELT)
    assert process.stdin
    assert process.stderr
    process.stdin.write(as_bytes([schema("orders")]))
    process.stdin.flush()
    while b"did you mean 'orders'?" not in (line := process.stderr.readline()):
        assert line, "the run ended without a warning"
    assert b"WARNING" in line
    assert b"no key matches stream 'orders', and key 'ordres' has matched no stream" in line
    rest, log = process.communicate(as_bytes([record("orders", id=1)]))
    assert process.returncode == 0, rest
    assert b"'ordres'" not in log


def test_an_unmapped_stream_unlike_any_key_is_named_at_info(target: Target) -> None:
    run = target(schema("orders_2024"), schema("orders_2025"), streams={"orders_2025": {}})
    assert run.status == 0
    (line,) = (line for line in run.log.splitlines() if "no key of setting" in line)
    assert "INFO" in line
    assert "stream 'orders_2024'" in line
    assert "did you mean" not in run.log


def test_a_key_unlike_any_stream_is_named_at_the_end(target: Target) -> None:
    run = target(schema("orders"), record("orders", id=1), streams={"orders": {}, "people": {}})
    (line,) = (line for line in run.log.splitlines() if "WARNING" in line)
    assert line.endswith("setting 'streams': no stream of this run matches 'people'")


@pytest.mark.parametrize(
    ("key", "value"),
    [("context_id", "tme"), ("context_id", ["time", "tme"]), ("export_timestamp", "tme")],
)
def test_a_misspelt_field_name_is_named_at_the_schema(target: Target, key: str, value: Any) -> None:
    run = target(schema("orders", time={"type": "string"}), streams={"orders": {key: value}})
    (line,) = (line for line in run.log.splitlines() if "WARNING" in line)
    assert line.endswith(f"key '{key}': no field 'tme' in the SCHEMA; did you mean 'time'?")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (
            "{{ shipping.cuntry }}",
            "no field 'shipping.cuntry' in the SCHEMA; did you mean 'country'?",
        ),
        ("{{ record.shipping.cuntry | upper }}", "no field 'shipping.cuntry' in the SCHEMA; did"),
        ("to {{ shipping.cuntry }}", "no field 'shipping.cuntry' in the SCHEMA; did you mean"),
        (
            "{{ email.lower }}",
            "field 'email' has no field 'lower'; a method needs parentheses: email.lower()",
        ),
        ("{{ email.domain }}", "field 'email' has no field 'domain'"),
        ("{{ record['shipping']['cuntry'] }}", "no field 'shipping.cuntry' in the SCHEMA; did"),
        ("{{ email.lower() }}", None),
        ("{{ shipping.country.strip().lower() }}", None),
        ("{{ email ~ ' shipping.cuntry' }}", None),
        ("{{ 'shipping.cuntry' }}", None),
        ("{{ free.anything.at.all }}", None),
        ("{{ mixed.anything }}", None),
        ("{{ lines[0].sku }}", None),
    ],
)
def test_a_misspelt_nested_field_is_named(
    target: Target, template: str, problem: str | None
) -> None:
    fields: dict[str, Any] = {
        "email": {"type": ["string", "null"]},
        "shipping": {"type": "object", "properties": {"country": {"type": "string"}}},
        "free": {"type": "object"},
        "mixed": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "lines": {"type": "array"},
    }
    message = {"x": template, "n": 1}
    run = target(schema("orders", **fields), streams={"orders": {"message": message}})
    warnings = [line for line in run.log.splitlines() if "WARNING" in line]
    assert len(warnings) == int(problem is not None)
    assert problem is None or f"key 'message': x: {problem}" in warnings[0]


@pytest.mark.parametrize("text", ["email", "{email}", "to { email }"])
def test_a_fields_name_that_is_sent_as_text_is_named(target: Target, text: str) -> None:
    message = {"user": {"mails": [text]}, "x": "{{ 'email' }}", "y": "other"}
    run = target(
        schema("orders", email={"type": "string"}),
        record("orders", id=1, email="a@b"),
        streams={"orders": {"message": message}},
    )
    (line,) = (line for line in run.log.splitlines() if "WARNING" in line)
    assert (
        f"key 'message': user.mails[0]: '{text}' is sent as text; write '{{{{ email }}}}'" in line
    )


def test_an_input_without_streams_blames_no_key(target: Target) -> None:
    run = target(streams={"orders": {}})
    assert run.status == 0
    assert "WARNING" not in run.log


def test_the_check_of_an_input_fails_on_a_misspelt_key(target: Target) -> None:
    given = target.folder / "schemas.jsonl"
    given.write_bytes(as_bytes([schema("orders")]))
    config = target.folder / "config.json"
    config.write_text(json.dumps({**target.config, "streams": MISSPELT}))
    run = target.command("--config", str(config), "--check", "--input", str(given))
    assert run.status == 1
    (line,) = (line for line in run.output.splitlines() if line.startswith("✗"))
    assert line.startswith("✗ stream 'orders': setting 'streams': no key matches stream 'orders'")
    assert "WARNING" not in run.log


def test_a_stream_map_without_a_stream_is_named_at_the_end(target: Target) -> None:
    maps = {"ordres": {"__filter__": "True"}, "o*": {"x": "'a'"}}
    run = target(schema("orders"), record("orders", id=1), stream_maps=maps)
    (line,) = (line for line in run.log.splitlines() if "WARNING" in line)
    assert line.endswith(
        "setting 'stream_maps' has stream 'ordres', which is not in the input; did you mean "
        "'orders'?"
    )
    assert "'stream_maps'" not in target(stream_maps=maps).log
