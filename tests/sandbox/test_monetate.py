from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.monetate_datasets import is_timestamp, split_multi_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox


class Client:
    def __init__(self, monetate: Monetate) -> None:
        self.monetate = monetate
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {self.token()}"
        self.data = f"{monetate.api_url}/api/data/v1/{monetate.retailer}/production"

    def refresh(
        self,
        ttl: str | None = "3600",
        key: str | None = None,
        algorithm: str = "RS256",
        **claims: Any,
    ) -> requests.Response:
        assertion = jwt.encode(
            {"username": self.monetate.username, "iat": time.time(), **claims},
            key or self.monetate.private_key_pem,
            algorithm=algorithm,
        )
        return requests.get(
            f"{self.monetate.api_url}/api/auth/v0/refresh/",
            params={"ttl": ttl} if ttl else {},
            headers={"Authorization": f"JWT {assertion}"},
            timeout=10,
        )

    def token(self) -> str:
        return str(self.refresh().json()["data"]["token"])

    def get(self, path: str, **parameters: str) -> requests.Response:
        return self.session.get(f"{self.data}{path}", params=parameters, timeout=10)

    def post(self, name: str, *rows: Any) -> requests.Response:
        return self.session.post(
            f"{self.data}/data/{name}/",
            json={"schema_rows": list(rows)},
            timeout=10,
        )

    def patch(self, name: str, body: Any) -> requests.Response:
        return self.session.patch(f"{self.data}/schema/{name}/", json=body, timeout=10)


@pytest.fixture
def monetate(sandbox: Sandbox) -> Monetate:
    return sandbox.monetate


@pytest.fixture
def client(monetate: Monetate) -> Iterator[Client]:
    client = Client(monetate)
    with client.session:
        yield client


def _another_key() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode(),
        key.public_key()
        .public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        .decode(),
    )


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_a_signed_assertion_returns_a_token(client: Client, algorithm: str) -> None:
    response = client.refresh(algorithm=algorithm).json()
    assert response["meta"] == {"code": 200, "errors": [], "warnings": []}
    assert response["data"]["expires_in"] == 3600
    assert response["data"]["expires_at"] == response["data"]["issued_at"] + 3600


@pytest.mark.parametrize(
    "wrong",
    [
        {"iat": 1_600_000_000},
        {"iat": "now"},
        {"username": "someone"},
        {"username": "api-unknown"},
        {"algorithm": "PS256"},
    ],
)
def test_an_invalid_assertion_returns_no_token(client: Client, wrong: dict[str, Any]) -> None:
    assert client.refresh(**wrong).status_code == 401


def test_an_assertion_lives_for_sixty_seconds(client: Client) -> None:
    assert client.refresh(iat=time.time() - 50).status_code == 200
    assert client.refresh(iat=time.time() - 70).status_code == 401
    assert client.refresh(iat=time.time() + 70).status_code == 401


def test_a_key_must_be_known_and_active(client: Client, monetate: Monetate) -> None:
    private, public = _another_key()
    assert client.refresh(key=private).status_code == 401
    monetate.register_key(public)
    assert client.refresh(key=private).status_code == 200
    monetate.revoke_key(public)
    assert client.refresh(key=private).status_code == 403
    assert client.refresh().status_code == 200


@pytest.mark.parametrize("ttl", ["899", "43201", "soon", "\u00b2", "9" * 5000])
def test_the_ttl_has_limits(client: Client, ttl: str) -> None:
    assert client.refresh(ttl=ttl).status_code == 400


def test_tokens_expire_independently(client: Client, monetate: Monetate) -> None:
    start = monetate.now
    monetate.now = start + timedelta(seconds=1800)
    later = client.refresh(iat=monetate.now.timestamp()).json()["data"]["token"]
    monetate.now = start + timedelta(seconds=3700)
    assert client.get("/schema/").status_code == 401
    client.session.headers["Authorization"] = f"Token {later}"
    assert client.get("/schema/").status_code == 200


def test_the_token_of_a_revoked_key_is_forbidden(client: Client, monetate: Monetate) -> None:
    monetate.revoke_key()
    assert client.get("/schema/").status_code == 403


def test_a_token_can_be_given_a_short_lifetime(client: Client, monetate: Monetate) -> None:
    monetate.token_lifetime = 0
    client.session.headers["Authorization"] = f"Token {client.token()}"
    assert client.get("/schema/").status_code == 401


def test_datasets_come_in_pages(client: Client, monetate: Monetate) -> None:
    monetate.page_size = 2
    first = client.get("/schema/").json()
    assert first["meta"]["count"] == 2
    assert "previous" not in first["meta"]
    second = client.session.get(first["meta"]["next"], timeout=10).json()
    last = client.session.get(second["meta"]["next"], timeout=10).json()
    names = [item["name"] for page in (first, second, last) for item in page["data"]]
    assert names == [
        "customer_attributes",
        "orders",
        "purchase_events",
        "store_visits",
        "privacy_requests",
    ]
    assert "next" not in last["meta"]


def test_a_dataset_response_has_its_fields_and_flags(client: Client) -> None:
    dataset = client.get("/schema/customer_attributes/").json()["data"]
    assert dataset["fields"]["customer_id"] == {
        "data_type": "STRING",
        "identifier": True,
        "unique_key": True,
        "event_time": False,
        "required": False,
    }


@pytest.mark.parametrize("path", ["/schema", "/schema/orders", "/schema/nothing/", "/nothing/"])
def test_unknown_paths_return_404_and_slashes_matter(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["meta"]["code"] == 404


def test_another_retailer_is_forbidden(client: Client) -> None:
    address = client.data.replace("/shop/", "/other/")
    assert client.session.get(f"{address}/schema/", timeout=10).status_code == 403


def test_a_row_with_a_known_key_replaces_all_of_the_earlier_one(
    client: Client,
    monetate: Monetate,
) -> None:
    assert client.post("customer_attributes", {"customer_id": "C1", "city": "Köln"}).ok
    assert client.post("customer_attributes", {"customer_id": "C1", "loyalty_points": 7}).ok
    row = monetate.row("customer_attributes", "C1")
    assert row is not None
    assert row["loyalty_points"] == 7
    assert row["city"] is None
    assert len(monetate.rows("customer_attributes")) == 1


def test_without_a_unique_key_every_post_appends(client: Client, monetate: Monetate) -> None:
    visit = {"customer_id": "C1", "product_id": "P1"}
    assert client.post("purchase_events", visit).status_code == 201
    assert client.post("purchase_events", visit).status_code == 201
    assert len(monetate.rows("purchase_events")) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"customer_id": ""},
        {"customer_id": 7},
        {"customer_id": " C1"},
        {"customer_id": "C1", "unknown": "x"},
        {"customer_id": "C1", "city": ""},
        {"customer_id": "C1", "city": None},
        {"customer_id": "C1", "loyalty_points": "7"},
        {"customer_id": "C1", "loyalty_points": True},
        {"customer_id": "C1", "newsletter": "true"},
        {"customer_id": "C1", "newsletter": 1},
        {"customer_id": "C1", "last_order_at": "2024-02-30T10:00:00Z"},
        {"customer_id": "C1", "last_order_at": "2024-02-03"},
        {"customer_id": "C1", "last_order_at": "2024-02-03 10:00:00"},
        {"customer_id": "C1", "last_order_at": 1706954400},
        {"customer_id": "C1", "interests": ["a", "b"]},
        {"customer_id": "C1", "interests": 'a,"b'},
        {"customer_id": "C1", "interests": "a,,b"},
        "C1",
    ],
)
def test_a_row_that_breaks_a_rule_rejects_its_whole_request(
    client: Client,
    monetate: Monetate,
    wrong: Any,
) -> None:
    response = client.post("customer_attributes", {"customer_id": "good"}, wrong)
    assert response.status_code == 400
    assert [error["row"] for error in response.json()["meta"]["errors"]] == [1]
    assert monetate.rows("customer_attributes") == []


def test_unknown_fields_can_be_accepted(
    client: Client,
    monetate: Monetate,
) -> None:
    monetate.refuse_unknown_fields = False
    assert client.post("customer_attributes", {"customer_id": "C1", "unknown": 7}).ok
    assert json.loads(monetate.raw_rows("customer_attributes")[0])["unknown"] == 7
    assert "unknown" not in monetate.rows("customer_attributes")[0]
    assert client.post("customer_attributes", {"unknown": 7}).status_code == 400


@pytest.mark.parametrize(
    ("offset", "status"),
    [("Z", 201), ("+02:00", 201), ("+0200", 400)],
)
def test_an_offset_without_a_colon_can_be_rejected(
    client: Client,
    monetate: Monetate,
    offset: str,
    status: int,
) -> None:
    row = {"customer_id": "C1", "last_order_at": f"2026-02-03T04:05:06{offset}"}
    assert client.post("customer_attributes", row).status_code == 201
    monetate.refuse_compact_offsets = True
    assert client.post("customer_attributes", row).status_code == status


def test_the_valid_rows_of_a_rejected_request_can_be_accepted(
    client: Client,
    monetate: Monetate,
) -> None:
    monetate.partial_on_400 = True
    assert client.post("customer_attributes", {"customer_id": "good"}, {}).status_code == 400
    assert [row["customer_id"] for row in monetate.rows("customer_attributes")] == ["good"]


def test_numbers_are_kept_as_they_were_sent(client: Client, monetate: Monetate) -> None:
    text = '{"schema_rows":[{"customer_id":"C1","lifetime_value":12345678901234567.10}]}'
    response = client.session.post(
        f"{client.data}/data/customer_attributes/",
        data=text,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert response.status_code == 201
    assert "12345678901234567.10" in monetate.raw_rows("customer_attributes")[0]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [("rows", list), ("nested", list), ("object", dict), ("strings", list), ("bare", list)],
)
def test_errors_come_in_several_shapes(
    client: Client,
    monetate: Monetate,
    shape: str,
    kind: type,
) -> None:
    monetate.error_shape = shape
    errors = client.post("customer_attributes", {}).json()["meta"]["errors"]
    assert isinstance(errors, kind)
    assert ("customer_id" in str(errors)) == (shape != "bare")


def test_a_test_can_reject_rows_and_return_warnings(client: Client, monetate: Monetate) -> None:
    monetate.refuse_if = lambda _, row: row["customer_id"] == "C2"
    monetate.warnings = [{"message": "low disk"}]
    assert client.post("customer_attributes", {"customer_id": "C2"}).status_code == 400
    response = client.post("customer_attributes", {"customer_id": "C1"})
    assert response.json()["meta"]["warnings"] == [{"message": "low disk"}]


def test_a_request_can_be_too_large(client: Client, monetate: Monetate) -> None:
    monetate.max_rows = 1
    rows = [{"customer_id": "C1"}, {"customer_id": "C2"}]
    assert client.post("customer_attributes", *rows).status_code == 413
    monetate.max_rows, monetate.max_bytes = None, 20
    assert client.post("customer_attributes", rows[0]).status_code == 413
    assert monetate.rows("customer_attributes") == []


def test_a_body_has_schema_and_rows_only(client: Client) -> None:
    address = f"{client.data}/data/customer_attributes/"
    assert client.session.post(address, json=[{}], timeout=10).status_code == 400
    assert client.session.post(address, json={"rows": []}, timeout=10).status_code == 400
    assert client.session.post(address, data="x=1", timeout=10).status_code in {400, 415}


def test_a_post_to_a_privacy_dataset_erases_the_customer(
    client: Client,
    monetate: Monetate,
) -> None:
    client.post("customer_attributes", {"customer_id": "C1"}, {"customer_id": "C2"})
    client.post("privacy_requests", {"customer_id": "C1"})
    assert [row["customer_id"] for row in monetate.rows("customer_attributes")] == ["C2"]
    assert monetate.erasures == ["C1"]


def test_one_record_per_second_can_be_read(client: Client, monetate: Monetate) -> None:
    client.post("customer_attributes", {"customer_id": "C1", "city": "Lyon"})
    monetate.now = monetate.now
    response = client.get("/data/customer_attributes/", id="C1")
    assert response.json()["data"]["schema_rows"][0]["city"] == "Lyon"
    assert client.get("/data/customer_attributes/", id="C1").status_code == 429
    monetate.now += timedelta(seconds=1)
    assert client.get("/data/customer_attributes/", id="C9").status_code == 404


def test_fields_are_added_by_patch(client: Client, monetate: Monetate) -> None:
    response = client.patch("orders", {"fields": {"coupon": {"data_type": "STRING"}}})
    assert response.status_code == 200
    assert set(response.json()["data"]["fields"]) == {
        "order_id",
        "customer_id",
        "ordered_at",
        "amount",
        "coupon",
    }
    assert client.post("orders", {"order_id": "1", "customer_id": "C1", "coupon": "X"}).ok
    assert monetate.rows("orders")[0]["coupon"] == "X"


@pytest.mark.parametrize(
    "body",
    [
        {"fields": {"amount": {"data_type": "NUMBER"}}},
        {"fields": {"coupon": {"data_type": "TEXT"}}},
        {"fields": {"coupon": {"data_type": "STRING", "identifier": True}}},
        {"fields": {f"field_{number}": {"data_type": "STRING"} for number in range(37)}},
        {"fields": {}},
        {"fields": {"coupon": {"data_type": "STRING"}}, "named_identifier": "x"},
        {},
    ],
)
def test_a_patch_that_breaks_a_rule_changes_nothing(
    client: Client,
    monetate: Monetate,
    body: dict[str, Any],
) -> None:
    before = monetate.dataset("orders")
    assert client.patch("orders", body).status_code == 400
    assert monetate.dataset("orders") == before


def test_a_dataset_has_up_to_forty_fields(client: Client) -> None:
    fields = {f"field_{number}": {"data_type": "STRING"} for number in range(36)}
    assert client.patch("orders", {"fields": fields}).status_code == 200


def test_a_dataset_can_be_created(client: Client) -> None:
    fields = {"id": {"data_type": "STRING", "identifier": True}}
    address = f"{client.data}/schema/"
    body = {"name": "fresh", "type": "attribute", "fields": fields}
    assert client.session.post(address, json=body, timeout=10).status_code == 201
    assert client.session.post(address, json=body, timeout=10).status_code == 400
    nameless = {"name": "1st", "type": "attribute", "fields": fields}
    assert client.session.post(address, json=nameless, timeout=10).status_code == 400


def test_a_value_with_a_comma_is_quoted() -> None:
    assert split_multi_string('shoes,"home, garden", sale') == ["shoes", "home, garden", "sale"]
    assert split_multi_string('"say ""hi"""') == ['say "hi"']


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2024-02-29T00:00:00Z", True),
        ("2024-02-29T00:00:00.123456+02:00", True),
        ("2024-02-29T00:00:00", True),
        ("2024-02-29T24:00:00Z", False),
        ("2024-13-01T00:00:00Z", False),
        ("Feb 29, 2024", False),
    ],
)
def test_a_timestamp_is_iso_8601(text: str, right: bool) -> None:
    assert is_timestamp(text) is right


def test_concurrent_posts_of_one_key_are_recorded(client: Client, monetate: Monetate) -> None:
    monetate.latency = 0.3
    rows = [{"customer_id": "C1"}, {"customer_id": "C2"}, {"customer_id": "C2"}]
    with ThreadPoolExecutor() as pool:
        responses = list(pool.map(lambda row: client.post("customer_attributes", row), rows))
    assert all(response.status_code == 201 for response in responses)
    assert monetate.overlapping_keys == [("customer_attributes", "C2")]
    assert monetate.max_concurrent == 3
