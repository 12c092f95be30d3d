"""All responses of the sandbox's Monetate conform to the vendor's OpenAPI description."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.monetate_openapi import (
    ADDED_FIELDS,
    DATASET,
    DATASETS,
    ERROR,
    NAMED_IDENTIFIER,
    faults,
    rows_of,
)
from tests.sandbox.test_monetate import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox

ID = {"data_type": "STRING", "identifier": True}
PERSON = {"customer_id": "C1", "loyalty_points": 7, "last_order_at": "2026-02-03T04:05:06+01:00"}


@pytest.fixture
def monetate(sandbox: Sandbox) -> Monetate:
    return sandbox.monetate


@pytest.fixture
def client(monetate: Monetate) -> Iterator[Client]:
    client = Client(monetate)
    with client.session:
        yield client


def check(response: requests.Response, status: int, schema: dict[str, Any]) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    assert faults(schema, response.json()) == []
    assert response.json()["meta"]["code"] == status


def fields_of(monetate: Monetate, name: str) -> dict[str, str]:
    dataset = monetate.dataset(name)
    assert dataset is not None
    return {key: item.data_type for key, item in dataset.fields.items()}


def test_lists_and_single_datasets(client: Client, monetate: Monetate) -> None:
    check(client.get("/schema/"), 200, DATASETS)
    monetate.page_size = 2
    check(client.get("/schema/", page="2"), 200, DATASETS)
    check(client.get("/schema/", row_count="true"), 200, DATASETS)
    for name in ("customer_attributes", "orders", "purchase_events", "privacy_requests"):
        check(client.get(f"/schema/{name}/"), 200, DATASET)


def test_a_dataset_without_identifier_name_has_no_such_member(
    client: Client, monetate: Monetate
) -> None:
    response = client.get("/schema/store_visits/")
    check(response, 200, DATASET)
    assert "named_identifier" not in response.json()["data"]
    monetate.null_identifier = True
    response = client.get("/schema/store_visits/")
    assert faults(DATASET, response.json()) == [
        "$.data.named_identifier: None is not of type 'string'",
    ]


def test_created_and_changed_datasets(client: Client) -> None:
    for number, more in enumerate([{}, {"named_identifier": "customer_id"}]):
        body = {"name": f"fresh_{number}", "type": "attribute", "fields": {"id": ID}, **more}
        response = client.session.post(f"{client.data}/schema/", json=body, timeout=10)
        check(response, 201, DATASET)
    check(client.patch("orders", {"fields": {"n": {"data_type": "NUMBER"}}}), 200, ADDED_FIELDS)
    check(client.patch("orders", {"named_identifier": "customer"}), 200, NAMED_IDENTIFIER)


def test_posted_and_read_rows(client: Client, monetate: Monetate) -> None:
    schema = rows_of(fields_of(monetate, "customer_attributes"))
    monetate.warnings = [{"message": "Something to know"}]
    check(client.post("customer_attributes", PERSON), 201, schema)
    check(client.get("/data/customer_attributes/", id="C1"), 200, schema)
    check(client.get("/data/customer_attributes/", id="C1"), 429, ERROR)


@pytest.mark.parametrize("shape", ["rows", "nested", "bare"])
def test_rejected_rows(client: Client, monetate: Monetate, shape: str) -> None:
    monetate.error_shape = shape
    check(client.post("customer_attributes", {}, "x", None, {"customer_id": 1}), 400, ERROR)


def test_every_other_error(client: Client, monetate: Monetate) -> None:
    check(client.post("nothing", PERSON), 404, ERROR)
    check(client.get("/nothing/"), 404, ERROR)
    check(client.patch("nothing", {"fields": {"n": {"data_type": "NUMBER"}}}), 404, ERROR)
    check(client.session.delete(f"{client.data}/schema/orders/", timeout=10), 405, ERROR)
    check(client.get("/data/orders/"), 400, ERROR)
    monetate.now += timedelta(seconds=2)
    check(client.get("/data/orders/", id="none"), 404, ERROR)
    monetate.max_rows = 0
    check(client.post("orders", {}), 413, ERROR)
    monetate.revoke_key()
    check(client.get("/schema/"), 403, ERROR)
    monetate.expire_tokens()
    check(client.post("orders", {}), 401, ERROR)


@pytest.mark.parametrize("page", ["0", "-1", "x", "\u00b2", "\u0663", "9" * 5000])
def test_an_invalid_page_is_not_found(client: Client, page: str) -> None:
    check(client.get("/schema/", page=page), 404, ERROR)


ODD_VALUES: list[Any] = [
    None,
    True,
    1,
    "",
    " ",
    "x",
    [],
    [[]],
    {},
    {"x": {}},
    [{"x": []}],
    "\ud800",
]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("member", ["name", "type", "fields", "named_identifier"])
def test_an_invalid_member_of_a_dataset_is_rejected(client: Client, member: str, odd: Any) -> None:
    right = {"name": "fresh", "type": "attribute", "fields": {"id": ID}}
    if odd == "x" and member in {"name", "named_identifier"}:
        odd = "x-y"  # "x" itself is a valid name
    response = client.session.post(
        f"{client.data}/schema/", json={**right, member: odd}, timeout=10
    )
    check(response, 400, ERROR)
    if member in {"fields", "named_identifier"}:
        check(client.patch("orders", {member: odd}), 400, ERROR)


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("attribute", ["data_type", "unique_key", "unheard_of"])
def test_an_invalid_attribute_of_a_field_is_rejected(
    client: Client, attribute: str, odd: Any
) -> None:
    if attribute == "unique_key" and odd is True:
        odd = 1.5  # true is valid
    body = {"fields": {"n": {"data_type": "STRING", attribute: odd}}}
    check(client.patch("orders", body), 400, ERROR)


DEEP = b"[" * 100_000


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b"1", b"\xff", DEEP], ids=repr)
def test_a_body_that_is_not_an_object_is_rejected(client: Client, body: bytes) -> None:
    kind = {"Content-Type": "application/json"}
    for method, path in [
        ("POST", "/schema/"),
        ("PATCH", "/schema/orders/"),
        ("POST", "/data/orders/"),
    ]:
        response = client.session.request(
            method, f"{client.data}{path}", data=body, headers=kind, timeout=10
        )
        check(response, 400, ERROR)
