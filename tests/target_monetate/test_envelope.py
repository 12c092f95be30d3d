"""Only the vendor's envelope is a success."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.http.errors import HttpError
from target_monetate.envelope import texts
from tests.sandbox.impostors import IMPOSTORS
from tests.target_monetate.conftest import KEY, record_message, schema_message, state_message

if TYPE_CHECKING:
    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

ORDERS = schema_message("orders", {"order_id": KEY, "customer_id": KEY}, ["order_id"])
EVENTS = schema_message("purchase_events", {"customer_id": KEY})
REQUESTS = [
    ("GET", "/api/auth/v0/refresh/"),
    ("GET", "/schema/orders/"),
    ("PATCH", "/schema/orders/"),
    ("POST", "/data/orders/"),
]


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("request_line", REQUESTS, ids=" ".join)
def test_a_response_that_is_not_the_vendors_is_retried(
    load: Loader, monetate: Monetate, sandbox: Sandbox, request_line: tuple[str, str], impostor: str
) -> None:
    method, path = request_line
    fault = sandbox.faults.add("monetate", path, method=method, impostor=impostor)
    load(
        schema_message("orders", {"order_id": KEY, "customer_id": KEY, "note": KEY}, ["order_id"]),
        record_message("orders", order_id="1", customer_id="a", note="x"),
        add_missing_fields=True,
    )
    assert fault.served == 1
    assert [row["note"] for row in monetate.rows("orders")] == ["x"]


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_the_list_of_datasets_is_read_again(load: Loader, sandbox: Sandbox, impostor: str) -> None:
    fault = sandbox.faults.add("monetate", "*/schema/", impostor=impostor)
    with pytest.raises(MartechError, match="did you mean 'orders'"):
        load(schema_message("order", {"order_id": KEY}))
    assert fault.served == 1


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_rows_without_a_unique_key_are_then_reported_as_outcome_unknown(
    load: Loader, monetate: Monetate, sandbox: Sandbox, impostor: str
) -> None:
    sandbox.faults.add("monetate", "/data/", method="POST", impostor=impostor)
    load(
        EVENTS,
        record_message("purchase_events", customer_id="a"),
        streams={"purchase_events": {"allow_append": True}},
        max_rejected_records=1,
    )
    assert len(monetate.posts) == 1
    (reject,) = load.rejects()
    assert reject["reason"].startswith("outcome unknown")


def test_a_permanent_portal_ends_the_run_without_state(load: Loader, sandbox: Sandbox) -> None:
    sandbox.faults.add("monetate", "/data/", method="POST", impostor="empty object", times=None)
    record = record_message("orders", order_id="1", customer_id="a")
    with pytest.raises(HttpError, match=r"dataset 'orders': .* is not Monetate's"):
        load(ORDERS, record, state_message(1), max_attempts=2)
    assert load.states() == []
    assert not load.rejects()


def test_the_text_of_a_deeply_nested_entry_is_cut() -> None:
    entry: Any = "note"
    for _ in range(5000):
        entry = [entry]
    assert texts([entry, "other"]) == ["…", "other"]


def test_a_list_of_datasets_without_names_is_named(load: Loader, sandbox: Sandbox) -> None:
    body: Any = {"meta": {}, "data": [{}]}
    sandbox.faults.add("monetate", "*/schema/", status=200, body=body, times=None)
    with pytest.raises(HttpError, match=r"Monetate datasets: .*cannot be interpreted"):
        load(schema_message("order", {"order_id": KEY}))
