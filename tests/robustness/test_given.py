"""Arbitrary inputs: settings, catalogs, STATE and messages."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from singer_sdk.exceptions import ConfigValidationError

from singer_martech.errors import MartechError
from tests.robustness.plugins import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(
        [
            "",
            " ",
            "0",
            "-1",
            "1e999",
            "NaN",
            "[",
            "{}",
            "[]",
            "null",
            "true",
            "http://",
            "2024-02-30",
            "99999-01-01",
            "2024-01-01T25:00Z",
            "{{",
            "{{ a }}",
            "{% if %}",
            "\ud800",
            "\x00",
            "9" * 5000,
            "[" * 100_000,
            "x" * 100_000,
            "https://[::1",
            "https://a:b",
            "https://u:p@h",
            "Mars/Phobos",
            "../../etc/passwd",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(), st.sampled_from(["*", "people"])), inner, max_size=4),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("as_text", [False, True])
@settings(max_examples=25, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_value_of_a_setting_is_accepted_or_an_error_that_names_it(
    plugin: Plugin, sandbox: Sandbox, as_text: bool, data: st.DataObject
) -> None:
    names = plugin.plugin._settings_schema()["properties"]  # noqa: SLF001 - with those of the SDK
    name = data.draw(st.sampled_from(sorted(names)))
    value = data.draw(values)
    if as_text:
        value = value if isinstance(value, str) else json.dumps(value)
    config = {**plugin.settings(sandbox), name: value}
    lines: list[str] = []
    try:
        plugin.plugin(config=config, validate_config=True)
    except ConfigValidationError as error:
        lines = error.errors
        assert lines
    except MartechError as error:
        lines = [str(error)]
    assert all(any(f"'{each}" in line for each in names) for line in lines)


def test_a_very_long_text_of_any_setting_is_accepted_or_an_error_that_names_it(
    plugin: Plugin, sandbox: Sandbox
) -> None:
    names = plugin.plugin._settings_schema()["properties"]  # noqa: SLF001 - with those of the SDK
    text = json.dumps(["[" * 9000])
    lines: list[str] = []
    for name in names:
        sandbox.reset()
        try:
            plugin.plugin(config={**plugin.settings(sandbox), name: text}, validate_config=True)
        except ConfigValidationError as error:
            lines += error.errors
        except MartechError as error:
            lines.append(str(error))
    assert lines
    assert [line for line in lines if not any(f"'{each}" in line for each in names)] == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"17",
        b"null",
        b"{",
        b'{"a": 1',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"streams": NaN}',
    ],
)
def test_a_configuration_file_without_an_object_is_an_error(
    plugin: Plugin, folder: Path, text: bytes
) -> None:
    outcome = run(plugin, text, folder)
    assert outcome.status == 1
    assert "config" in outcome.reason or "setting" in outcome.reason


ODD_STATES = [
    {},
    {"bookmarks": None},
    {"bookmarks": []},
    {"bookmarks": {"events": []}},
    {"currently_syncing": "events"},
    {"singer_state": {"bookmarks": {}}},
    {"bookmarks": {"orders": {"replication_key": "id", "replication_key_value": 7}}},
    {"bookmarks": {"events": {"partitions": [{"context": {"id": 1}, "replication_key_value": 1}]}}},
    {"bookmarks": {"events": {"date": "2018-01-01"}}},
    {"value": {"events": "2018-02-11"}},
]


@pytest.mark.parametrize("state", ODD_STATES, ids=str)
def test_a_state_of_another_tap_is_ignored_or_an_error(
    tap: Plugin, sandbox: Sandbox, folder: Path, state: Any
) -> None:
    expected = run(tap, tap.settings(sandbox), folder)
    sandbox.reset()
    outcome = run(tap, tap.settings(sandbox), folder, state=state)
    outcome.check("STATE")
    if outcome.status == 0:  # no record is skipped
        assert len(outcome.records) == len(expected.records)


@settings(max_examples=8, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_bookmark_is_understood_or_an_error(
    tap: Plugin, sandbox: Sandbox, folder: Path, data: st.DataObject
) -> None:
    sandbox.reset()
    streams = ["events", "event_login"] if tap.vendor == "robotmia" else ["users", "things"]
    names = [
        "replication_key",
        "replication_key_value",
        "start_date",
        "execution_id",
        "starting_replication_value",
        "progress_markers",
        "partitions",
    ]
    entry = st.dictionaries(st.sampled_from(names), values, max_size=4)
    state = {"bookmarks": data.draw(st.dictionaries(st.sampled_from(streams), entry, max_size=2))}
    run(tap, tap.settings(sandbox), folder, state=state).check("STATE|bookmark")


def catalog_of(tap: Plugin, sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    outcome = run(tap, tap.settings(sandbox), folder, "--discover")
    catalog: dict[str, Any] = json.loads(outcome.out)
    return catalog


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"17", b'{"streams": 5}', b"[" * 100_000])
def test_a_file_without_a_catalog_is_an_error(
    tap: Plugin, sandbox: Sandbox, folder: Path, text: bytes
) -> None:
    outcome = run(tap, tap.settings(sandbox), folder, catalog=text)
    assert outcome.status == 1
    assert "catalog" in outcome.reason


@settings(max_examples=8, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_catalog_is_understood_or_an_error(
    tap: Plugin, sandbox: Sandbox, folder: Path, data: st.DataObject
) -> None:
    sandbox.reset()
    catalog = catalog_of(tap, sandbox, folder)
    sandbox.reset()
    for _ in range(data.draw(st.integers(1, 3))):
        damage(catalog, data)
    run(tap, tap.settings(sandbox), folder, catalog=catalog).check("catalog|stream '")


def damage(value: Any, data: st.DataObject) -> None:
    """Delete or replace a random part of a nested value."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        inner = value[place]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.integers(0, 3)):
            value = inner
            continue
        if isinstance(value, dict) and data.draw(st.booleans()):
            del value[place]
        else:
            value[place] = data.draw(values)
        return


def odd_lines(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    """Corrupt some lines of an input as broken pipes, disks and programs do."""
    lines = list(lines)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(lines))
        line = lines[place]
        at = chance.randrange(len(line))
        lines[place] = chance.choice(
            [
                line[:at],
                line[:at] + b"\xff\x00" + line[at:],
                line[:at] + line[at + 1 :],
                line.replace(b'"', b"'"),
                b"[" * 50_000,
                b'{"type":"RECORD","stream":"people","record":{"id":'
                + b"[" * 5000
                + b"]" * 5000
                + b"}}",
                b'{"type":"RECORD","stream":"people","record":{"id":"' + b"x" * 5_000_000 + b'"}}',
                b'{"type":"RECORD","stream":"people","record":{"id":1e99999,"n":NaN}}',
                b'{"type":"RECORD","stream":"people","record":{"id":"\\ud800","n":1}}',
                b'{"type":"RECORD","stream":"unknown","record":{}}',
                b'{"type":"RECORD","stream":"people"}',
                b'{"type":"RECORD","stream":"people","record":null}',
                b'{"type":"SCHEMA","stream":"people","schema":{"properties":{"id":{"type":"nothing"}}}}',
                b'{"type":"SCHEMA","stream":"people","schema":5,"key_properties":7}',
                b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":["gone"]}',
                b'{"type":"SCHEMA"}',
                b'{"type":"STATE"}',
                b'{"type":"STATE","value":null}',
                b'{"type":"BATCH","stream":"people","encoding":{"format":"jsonl"},"manifest":["file:///nowhere"]}',
                b'{"type":"BATCH","stream":"people","encoding":5,"manifest":5}',
                b'{"type":"ACTIVATE_VERSION","stream":"people","version":1}',
                b'{"type":5}',
                b"{}",
                b"null",
                b"",
            ]
        )
    if chance.random() < 0.3:
        chance.shuffle(lines)
    return lines


@pytest.mark.parametrize("seed", range(20))
def test_any_input_is_loaded_or_rejected_and_never_lost(
    target: Plugin, sandbox: Sandbox, folder: Path, seed: int
) -> None:
    chance = random.Random(seed)
    lines = odd_lines(chance, target.input.splitlines())
    config = {**target.settings(sandbox), "max_rejected_records": chance.choice([0, 100])}
    outcome = run(target, config, folder, data=b"\n".join(lines) + b"\n")
    outcome.check(r"line \d+ of the input|stream '|max_rejected_records")
    # the counts of each stream add up
    for line in outcome.log.splitlines():
        if "summary: " in line:
            summary = json.loads(line.partition("summary: ")[2])
            parts = ("delivered", "rejected", "skipped_deletes", "superseded", "undelivered")
            assert summary["read"] == sum(summary.get(part, 0) for part in parts)
    if outcome.status == 0:
        assert target.delivered is not None
        reports = [path.read_bytes() for path in (folder / "rejects").glob("*.jsonl")]
        rejected = sum(report.count(b"\n") for report in reports)
        sent = sum(b'"RECORD"' in line for line in lines)
        assert target.delivered(sandbox) + rejected == sent
