"""target-mona with a ledger, against the sandbox."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import record, records, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.target_mona.conftest import Target


@pytest.fixture
def ledger(config: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    config["ledger"] = str(path)
    return path


def test_only_changed_records_are_sent(
    target: Target, messages: Callable[[], list[dict[str, Any]]], ledger: Path
) -> None:
    first = target(schema(), *records(3, name="a"), state(1))
    second = target(schema(), *records(2, name="a"), record(id=3, name="b"), state(2))
    assert [first.states, second.states] == [[1], [2]]
    assert first.summary()["unchanged"] == 0
    counts = second.summary()
    assert (counts["read"], counts["delivered"], counts["unchanged"]) == (3, 1, 2)
    assert messages()[3:] == [{"id": 3, "name": "b"}]
    assert ledger.exists()


def test_without_a_ledger_the_summary_has_no_unchanged(target: Target) -> None:
    run = target(schema(), *records(1))
    assert "unchanged" not in run.summary()


@pytest.mark.usefixtures("ledger")
def test_another_mapping_sends_again(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    target(schema(), *records(1))
    target(schema(), *records(1), streams={"orders": {"message": {"n": "{{ id }}"}}})
    assert messages() == [{"id": 1}, {"n": 1}]


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("mapping", "keys", "reason"),
    [
        ({}, [], "has no context id"),
        ({"action": "ADD"}, ["id"], "has the action ADD"),
    ],
)
def test_messages_that_mona_does_not_merge_cannot_have_a_ledger(
    target: Target, mapping: dict[str, Any], keys: list[str], reason: str
) -> None:
    run = target(schema(keys=keys), *records(1), streams={"orders": mapping})
    assert run.status == 1
    assert f"setting 'ledger': stream 'orders' {reason}" in run.reason


@pytest.mark.usefixtures("ledger")
def test_messages_with_the_action_of_a_record_are_never_compared(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    mapping = {"orders": {"action": "{{ how }}", "message": {"n": "{{ n }}"}}}
    lines = [record(id=1, n=1, how="OVERWRITE"), record(id=1, n=2, how="ADD")]
    for _ in range(2):
        target(schema(), *lines, streams=mapping)
    target(schema(), lines[0], streams=mapping)
    assert [each["n"] for each in messages()] == [1, 2, 1, 2, 1]


@pytest.mark.usefixtures("ledger")
def test_a_second_run_at_the_same_time_ends_with_a_reason(target: Target) -> None:
    from singer_martech.delivery.ledger_settings import open_store  # noqa: PLC0415 - of this test

    target(schema(), *records(1))
    store = open_store(target.config["ledger"])
    store.open(store.scopes()[0])
    run = target(schema(), *records(1), state(1))
    store.close()
    assert (run.status, run.states) == (1, [])
    assert "another run is using it for stream 'orders'" in run.reason


def test_the_ledger_holds_no_values(target: Target, ledger: Path) -> None:
    target(schema(), record(id="person@example.com", name="Secret Name"))
    content = ledger.read_bytes()
    assert b"person@example" not in content
    assert b"Secret Name" not in content
    with closing(sqlite3.connect(ledger)) as connection:
        ((key,),) = connection.execute("SELECT key FROM ledger_entries").fetchall()
        ((entries,),) = connection.execute("SELECT entries FROM ledger_blocks").fetchall()
        mirrored = connection.execute("SELECT * FROM ledger_mirror").fetchall()
    assert (len(key), len(entries), mirrored) == (16, 16 + 16 + 8, [])


@pytest.mark.parametrize("name", ["resend_after_days", "ledger_reset"])
def test_settings_of_the_ledger_need_a_ledger(target: Target, name: str) -> None:
    run = target(schema(), **{name: "1"})
    assert run.reason.endswith(f"setting '{name}' needs the setting 'ledger'")


@pytest.mark.usefixtures("ledger")
def test_a_dry_run_says_what_would_be_sent(target: Target) -> None:
    target(schema(), *records(2))
    run = target(schema(), *records(3), dry_run=True)
    counts = run.summary()
    assert (counts["would_deliver"], counts["unchanged"]) == (1, 2)
    assert target(schema(), *records(3)).summary()["delivered"] == 1


@pytest.mark.usefixtures("ledger")
def test_random_runs_send_the_same_messages_as_without_a_ledger(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    chance = random.Random(7)
    expected: dict[int, str] = {}
    for _ in range(5):
        rows = [(chance.randrange(5), chance.choice("AB")) for _ in range(chance.randrange(1, 30))]
        expected |= dict(rows)
        lines = [record(id=number, name=name) for number, name in rows]
        target(schema(), *lines, max_request_rows=3)
        assert {each["id"]: each["name"] for each in messages()} == expected
    count = len(messages())
    target(schema(), *[record(id=number, name=name) for number, name in expected.items()])
    assert len(messages()) == count
