"""The Monetate sandbox: tokens by signed assertion, datasets, rows.

Settings for tests (reset by `reset()`): `page_size`, `error_shape`, `partial_on_400`,
`accept_null`, `refuse_unknown_fields`, `refuse_compact_offsets`, `refuse_if`, `warnings`,
`max_rows`, `max_bytes`, `latency`, `token_lifetime`, `null_identifier`, `spot_checks_per_second`.

With default settings, every response of the Data API conforms to the vendor's OpenAPI description,
as `test_monetate_openapi.py` verifies. Some settings deviate on purpose: the shapes `object` and
`strings` of `error_shape`, and `null_identifier`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from tests.sandbox.monetate_auth import Tokens, key_pair
from tests.sandbox.monetate_datasets import (
    Dataset,
    Field,
    complete,
    dataset_faults,
    is_identifier_name,
    read_fields,
)
from tests.sandbox.monetate_rows import Rows, is_json
from tests.sandbox.vendor import Section, Vendor, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable

    Row = dict[str, Any]

_DEFAULT_DATASETS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "customer_attributes": (
        "attribute",
        "customer_id",
        {
            "customer_id": Field("STRING", identifier=True, unique_key=True),
            "email": Field("STRING"),
            "first_name": Field("STRING"),
            "city": Field("STRING"),
            "loyalty_points": Field("NUMBER"),
            "lifetime_value": Field("NUMBER"),
            "newsletter": Field("BOOLEAN"),
            "last_order_at": Field("DATETIME"),
            "interests": Field("MULTI_STRING"),
            "favorite_category": Field("GOOGLE_PRODUCT_CATEGORY"),
        },
    ),
    "orders": (
        "purchase",
        "customer_id",
        {
            "order_id": Field("STRING", unique_key=True),
            "customer_id": Field("STRING", identifier=True),
            "ordered_at": Field("DATETIME"),
            "amount": Field("NUMBER"),
        },
    ),
    "purchase_events": (
        "event",
        "customer_id",
        {
            "customer_id": Field("STRING", identifier=True),
            "purchased_at": Field("DATETIME", event_time=True),
            "product_id": Field("STRING"),
            "price": Field("NUMBER"),
        },
    ),
    "store_visits": (
        "attribute",
        None,
        {
            "visit_id": Field("STRING", unique_key=True),
            "customer_id": Field("STRING", identifier=True),
            "store": Field("STRING"),
        },
    ),
    "privacy_requests": (
        "customer_data_privacy",
        "customer_id",
        {"customer_id": Field("STRING", identifier=True, unique_key=True)},
    ),
}


class Monetate(Vendor):
    """The Auth API and the Data API of one retailer."""

    name = "monetate"
    prefixes = ("/monetate",)
    tables = (
        (
            "CREATE TABLE IF NOT EXISTS monetate_datasets ("
            " id INTEGER PRIMARY KEY, name TEXT UNIQUE, definition TEXT)"
        ),
        (
            "CREATE TABLE IF NOT EXISTS monetate_rows ("
            " number INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT, row_key TEXT,"
            " identifier TEXT, row TEXT, replaced INTEGER DEFAULT 0, request INTEGER,"
            " UNIQUE (dataset, row_key))"
        ),
        (
            "CREATE TABLE IF NOT EXISTS monetate_erasures ("
            " number INTEGER PRIMARY KEY AUTOINCREMENT, customer_id TEXT)"
        ),
    )

    retailer: ClassVar[str] = "shop"
    username: ClassVar[str] = "api-100-shop"

    def reset(self) -> None:
        """Reset settings and tokens, register a valid key, and recreate the datasets."""
        super().reset()
        self.private_key_pem, self.public_key_pem = key_pair()
        self.tokens = Tokens(self)
        self._rows = Rows(self)
        self.register_key(self.public_key_pem)
        #: The real lifetime of a token in seconds; None: the requested ttl.
        self.token_lifetime: float | None = None
        self.page_size = 50
        self.error_shape = "rows"
        #: Whether the valid rows of a request with status 400 are accepted.
        self.partial_on_400 = False
        #: Whether an explicit null of an optional field counts as missing.
        self.accept_null = False
        #: Whether a row with an unknown field is rejected. The vendor's description does not forbid
        #: one; False accepts it, and the field is stored in `raw_rows` only.
        self.refuse_unknown_fields = True
        #: Whether a DATETIME whose offset has no colon (`+0200`) is rejected: the vendor's
        #: description says `format: date-time`, which is RFC 3339. False accepts it.
        self.refuse_compact_offsets = False
        #: (dataset, row) -> a reason, or True, to reject a row that breaks no rule.
        self.refuse_if: Callable[[str, Row], str | bool | None] | None = None
        #: `meta.warnings` of every accepted post.
        self.warnings: list[dict[str, Any]] = []
        self.max_rows: int | None = None
        self.max_bytes: int | None = None
        #: The time that a post takes in seconds, so that posts overlap.
        self.latency = 0.0
        #: A dataset without Identifier Name omits `named_identifier`, which is a string in the
        #: vendor's description; True: it is null.
        self.null_identifier = False
        self.spot_checks_per_second = 1
        #: Keys that were in two concurrent posts; must stay empty.
        self.overlapping_keys: list[tuple[str, str]] = []
        if not self.store.value("SELECT count(*) FROM monetate_datasets"):
            for name, (kind, identifier, fields) in _DEFAULT_DATASETS.items():
                self.add_dataset(name, fields, type=kind, named_identifier=identifier)

    def credentials(self) -> dict[str, Any]:
        """Return the settings of target-monetate."""
        return {
            "api_url": self.api_url,
            "retailer": self.retailer,
            "username": self.username,
            "private_key": self.private_key_pem,
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; every path of the vendor ends with a slash."""
        data = f"{self.prefixes[0]}/api/data/v1/{{retailer}}/production"
        return [
            web.get(f"{self.prefixes[0]}/api/auth/v0/refresh/", self._refresh, allow_head=False),
            web.get(f"{data}/schema/", self._list_datasets, allow_head=False),
            web.post(f"{data}/schema/", self._create_dataset),
            web.get(f"{data}/schema/{{name}}/", self._get_dataset, allow_head=False),
            web.patch(f"{data}/schema/{{name}}/", self._patch_dataset),
            web.get(f"{data}/data/{{name}}/", self._spot_check, allow_head=False),
            web.post(f"{data}/data/{{name}}/", self._post_rows),
        ]

    def error_body(self, status: int, reason: str) -> Any:
        """Return the envelope with one error."""
        return {
            "meta": {"code": status, "errors": [{"message": reason}], "warnings": []},
            "data": {},
        }

    def expire_tokens(self) -> None:
        """Make every token issued so far invalid."""
        self.tokens.live.clear()

    # For tests.

    def register_key(self, public_key_pem: str, username: str | None = None) -> None:
        """Register another public key, as a customer does in Monetate's UI."""
        self.tokens.public_keys.setdefault(username or self.username, []).append(public_key_pem)

    def revoke_key(self, public_key_pem: str | None = None) -> None:
        """Deactivate a public key: its tokens and assertions get a 403 from now on."""
        self.tokens.revoked_keys.add(public_key_pem or self.public_key_pem)

    def add_dataset(
        self,
        name: str,
        fields: dict[str, Any],
        *,
        type: str = "attribute",  # noqa: A002 - the API's own word
        named_identifier: str | None = "customer_id",
    ) -> Dataset:
        """Add a dataset without rows, or replace the one of the same name.

        Args:
            name: Its name.
            fields: Field by name: a Field, a dictionary as in the API, or only the data type.
            type: Its type.
            named_identifier: Its Identifier Name; None: not set yet.
        """
        read = {
            key: item
            if isinstance(item, Field)
            else Field(item)
            if isinstance(item, str)
            else Field(**item)
            for key, item in fields.items()
        }
        number = (self.store.value("SELECT max(id) FROM monetate_datasets") or 4000) + 1
        created = self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        dataset = Dataset(name, read, type, named_identifier, number, created)
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM monetate_rows WHERE dataset = ?", (name,))
            connection.execute("DELETE FROM monetate_datasets WHERE name = ?", (name,))
        self._save(dataset)
        return dataset

    def dataset(self, name: str) -> Dataset | None:
        """Return a dataset."""
        text = self.store.value("SELECT definition FROM monetate_datasets WHERE name = ?", name)
        if text is None:
            return None
        definition = json.loads(text)
        fields = {key: Field(**item) for key, item in definition.pop("fields").items()}
        return Dataset(fields=fields, **definition)

    def rows(self, name: str) -> list[Row]:
        """Return a dataset's rows in order of arrival, with None for missing fields.

        A replaced row keeps the position of its first version.
        """
        dataset = self.dataset(name)
        if dataset is None:
            return []
        return [complete(dataset, json.loads(text)) for text in self.raw_rows(name)]

    def raw_rows(self, name: str) -> list[str]:
        """Return a dataset's rows as JSON text, exactly as sent."""
        sql = "SELECT row FROM monetate_rows WHERE dataset = ? ORDER BY number"
        return [row["row"] for row in self.store.rows(sql, name)]

    def row(self, name: str, key: str) -> Row | None:
        """Return the row of a unique key, or None."""
        dataset = self.dataset(name)
        text = self.store.value(
            "SELECT row FROM monetate_rows WHERE dataset = ? AND row_key = ?",
            name,
            key,
        )
        return complete(dataset, json.loads(text)) if dataset and text else None

    @property
    def erasures(self) -> list[str]:
        """The customers whose data a post to a privacy dataset has erased."""
        sql = "SELECT customer_id FROM monetate_erasures ORDER BY number"
        return [row["customer_id"] for row in self.store.rows(sql)]

    @property
    def posts(self) -> list[Any]:
        """The posted requests with rows, oldest first."""
        return self.requests_to(r"/data/\w+/$", "POST")

    def sections(self) -> list[Section]:
        """Return the datasets and the newest rows of each."""
        counts = self.store.rows(
            "SELECT name, definition, (SELECT count(*) FROM monetate_rows r"
            " WHERE r.dataset = d.name) AS held, (SELECT sum(replaced) FROM monetate_rows r"
            " WHERE r.dataset = d.name) AS replaced FROM monetate_datasets d ORDER BY id",
        )
        datasets = Section(
            "Datasets",
            ("name", "type", "unique key", "rows", "replacements"),
            [
                (
                    row["name"],
                    json.loads(row["definition"])["type"],
                    (self.dataset(row["name"]) or Dataset("", {})).unique_key,
                    row["held"],
                    row["replaced"],
                )
                for row in counts
            ],
        )
        newest = [
            Section(
                f"Newest rows of {row['name']}",
                ("row",),
                [(text,) for text in reversed(self.raw_rows(row["name"])[-5:])],
            )
            for row in counts
            if row["held"]
        ]
        return [datasets, *newest]

    # `reset()` replaces the handlers' objects, so they are looked up at each request.

    async def _refresh(self, request: web.Request) -> web.Response:
        return await self.tokens.refresh(request)

    async def _spot_check(self, request: web.Request) -> web.Response:
        return await self._rows.spot_check(request)

    async def _post_rows(self, request: web.Request) -> web.Response:
        return await self._rows.post(request)

    # The Data API: datasets.

    async def _list_datasets(self, request: web.Request) -> web.Response:
        refused = self.tokens.unauthorized(request)
        if refused:
            return refused
        page = whole_number(request.query.get("page", "1")) or 0
        names = [
            row["name"] for row in self.store.rows("SELECT name FROM monetate_datasets ORDER BY id")
        ]
        first = (page - 1) * self.page_size
        if page < 1 or (first and first >= len(names)):
            return self.refuse(404, "Invalid page.")
        shown = names[first : first + self.page_size]
        meta: dict[str, Any] = {"count": len(shown)}
        address = f"{self.sandbox.url}{request.path}?page="
        if first + self.page_size < len(names):
            meta["next"] = f"{address}{page + 1}"
        if page > 1:
            meta["previous"] = f"{address}{page - 1}"
        datasets = [self.dataset(name) for name in shown]
        return self.response(
            200,
            [self._described(item, request) for item in datasets if item],
            **meta,
        )

    async def _get_dataset(self, request: web.Request) -> web.Response:
        refused = self.tokens.unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        return self.response(200, self._described(dataset, request))

    def _described(self, dataset: Dataset, request: web.Request) -> dict[str, Any]:
        described = dataset.as_dict()
        if dataset.named_identifier is None and not self.null_identifier:
            del described["named_identifier"]
        if request.query.get("row_count", "").lower() == "true":
            described["row_count"] = self.store.value(
                "SELECT count(*) FROM monetate_rows WHERE dataset = ?",
                dataset.name,
            )
        return described

    async def _create_dataset(self, request: web.Request) -> web.Response:
        refused = self.tokens.unauthorized(request)
        if refused:
            return refused
        body = _json(request, await request.read())
        if not isinstance(body, dict):
            return self.refuse(400, "The body must be a JSON object.")
        read = read_fields(body.get("fields"))
        name, kind = body.get("name"), body.get("type", "attribute")
        named_identifier = body.get("named_identifier")
        faults = list(read.messages)
        if "named_identifier" in body and not is_identifier_name(named_identifier):
            faults.append("named_identifier must be a name")
        if not isinstance(name, str) or not isinstance(kind, str):
            faults.append("name and type must be strings")
            return self._refuse_all(faults)
        dataset = Dataset(name, read.fields, kind, named_identifier)
        faults += [] if read.messages else dataset_faults(dataset)
        if not faults and self.dataset(name):
            faults.append(f"a schema {name} exists already")
        if faults:
            return self._refuse_all(faults)
        added = self.add_dataset(
            name,
            dict(read.fields),
            type=dataset.type,
            named_identifier=dataset.named_identifier,
        )
        return self.response(201, self._described(added, request))

    async def _patch_dataset(self, request: web.Request) -> web.Response:
        refused = self.tokens.unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        body = _json(request, await request.read())
        if not isinstance(body, dict) or ("fields" in body) == ("named_identifier" in body):
            return self.refuse(400, "Supply either fields or named_identifier.")
        if "named_identifier" in body:
            if not is_identifier_name(body["named_identifier"]):
                return self.refuse(400, "named_identifier must be a name")
            dataset.named_identifier = body["named_identifier"]
            self._save(dataset)
            return self.response(200, {"named_identifier": dataset.named_identifier})
        read = read_fields(body["fields"])
        known = {name.lower() for name in dataset.fields}
        faults = read.messages
        faults += [f"{name}: exists already" for name in read.fields if name.lower() in known]
        if not faults:
            dataset.fields.update(read.fields)
            faults += dataset_faults(dataset)
        if faults:
            return self._refuse_all(faults)
        self._save(dataset)
        return self.response(200, {"fields": dataset.as_dict()["fields"]})

    def _save(self, dataset: Dataset) -> None:
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO monetate_datasets (id, name, definition) VALUES (?, ?, ?)",
                (dataset.id, dataset.name, json.dumps(dataset.as_dict())),
            )

    # Envelopes.

    def response(self, status: int, data: Any, **meta: Any) -> web.Response:
        """Return the envelope of a success."""
        return web.json_response(
            {"meta": {"code": status, "errors": [], "warnings": [], **meta}, "data": data},
            status=status,
        )

    def _refuse_all(self, reasons: list[str]) -> web.Response:
        errors = [{"message": reason} for reason in reasons]
        return web.json_response(
            {"meta": {"code": 400, "errors": errors, "warnings": []}, "data": {}},
            status=400,
        )


def _json(request: web.Request, text: bytes) -> Any:
    if not is_json(request):
        return None
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None
