"""target-monetate with a ledger, against the sandbox."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import SettingError
from tests.target_monetate.conftest import record_message, schema_message, state_message

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.monetate import Monetate
    from tests.target_monetate.conftest import Loader

STREAM = "customer_attributes"


def test_only_changed_rows_are_sent(load: Loader, monetate: Monetate, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.db")
    rows = [{"customer_id": f"c-{number}", "city": "Paris"} for number in range(3)]
    load.rows(*rows, ledger=ledger)
    changed = [*rows[:2], {"customer_id": "c-2", "city": "Rome"}]
    load.log.clear()
    load.rows(*changed, ledger=ledger)
    assert len(monetate.posts) == 2
    counts = load.summaries()[STREAM]
    assert (counts["read"], counts["delivered"], counts["unchanged"]) == (3, 1, 2)
    assert [row["city"] for row in monetate.rows(STREAM)] == ["Paris", "Paris", "Rome"]
    load.log.clear()
    load.rows(*changed, ledger=ledger)
    assert len(monetate.posts) == 2
    assert load.summaries()[STREAM]["requests"] == 0


def test_a_row_that_another_replaces_in_its_request_counts_as_superseded(
    load: Loader, tmp_path: Path
) -> None:
    rows = [{"customer_id": "c-1", "city": city} for city in ("Paris", "Rome", "Paris")]
    for delivered in (1, 0):
        load.log.clear()
        load.rows(*rows[: 3 if delivered else 1], ledger=str(tmp_path / "ledger.db"))
        counts = load.summaries()[STREAM]
        assert (counts["delivered"], counts["superseded"], counts["unchanged"]) == (
            (1, 2, 0) if delivered else (0, 0, 1)
        )


def test_a_dataset_without_a_unique_key_cannot_have_a_ledger(load: Loader, tmp_path: Path) -> None:
    messages: list[dict[str, Any] | str] = [
        schema_message("purchase_events", {"sku": {}}),
        record_message("purchase_events", sku="1"),
        state_message(1),
    ]
    mapping = {"purchase_events": {"allow_append": True}}
    with pytest.raises(SettingError, match=r"setting 'ledger': .*'purchase_events' has no unique"):
        load(*messages, streams=mapping, ledger=str(tmp_path / "ledger.db"))


def test_random_runs_have_the_same_rows_as_without_a_ledger(
    load: Loader, monetate: Monetate, tmp_path: Path
) -> None:
    chance = random.Random(7)
    ledger = str(tmp_path / "ledger.db")
    expected: dict[str, str] = {}
    for _ in range(6):
        rows = [
            {"customer_id": f"c-{chance.randrange(6)}", "city": chance.choice("AB")}
            for _ in range(chance.randrange(1, 30))
        ]
        expected |= {row["customer_id"]: row["city"] for row in rows}
        load.rows(*rows, ledger=ledger, max_request_rows=3)
        held = {row["customer_id"]: row["city"] for row in monetate.rows(STREAM)}
        assert held == expected
    posts = len(monetate.posts)
    load.rows(
        *[{"customer_id": key, "city": city} for key, city in expected.items()], ledger=ledger
    )
    assert len(monetate.posts) == posts
