"""The Monetate sandbox: tokens by signed assertion, datasets, rows.

Settings of a test (taken back by `reset()`): `page_size`, `error_shape`, `partial_on_400`,
`accept_null`, `refuse_if`, `warnings`, `max_rows`, `max_bytes`, `latency`, `token_lifetime`,
`null_identifier`, `spot_checks_per_second`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jwt
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.monetate_datasets import (
    MAX_FIELDS,
    Dataset,
    Field,
    RowError,
    complete,
    dataset_faults,
    error_shapes,
    read_fields,
    row_errors,
)
from tests.sandbox.recording import RECORD
from tests.sandbox.vendor import Section, Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

_ALGORITHMS = ["RS256", "RS384", "RS512"]
_ASSERTION_SKEW_SECONDS = 60
_SHORTEST_TTL, _LONGEST_TTL, _DEFAULT_TTL = 900, 43200, 3600


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a post; each row is kept as it was sent, so numbers stay exact."""

    schema_rows: list[msgspec.Raw]
    sent_time: str | None = msgspec.field(default=None, name="_sent_time")


@dataclass
class _Token:
    key: str
    expires_at: float


@functools.cache
def _key_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return private.decode(), public.decode()


class Monetate(Vendor):
    """The Auth API and the Data API of one retailer."""

    name = "monetate"
    prefixes = ("/monetate",)
    tables = (
        "CREATE TABLE IF NOT EXISTS monetate_datasets ("
        " id INTEGER PRIMARY KEY, name TEXT UNIQUE, definition TEXT)",
        "CREATE TABLE IF NOT EXISTS monetate_rows ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT, row_key TEXT,"
        " identifier TEXT, row TEXT, replaced INTEGER DEFAULT 0, request INTEGER,"
        " UNIQUE (dataset, row_key))",
        "CREATE TABLE IF NOT EXISTS monetate_erasures ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, customer_id TEXT)",
    )

    retailer: ClassVar[str] = "shop"
    username: ClassVar[str] = "api-100-shop"

    def reset(self) -> None:
        """Take settings and tokens back, make a valid key known, and bring the datasets back."""
        super().reset()
        self.private_key_pem, self.public_key_pem = _key_pair()
        #: Public keys by user name; a test may register more (`register_key`).
        self.public_keys: dict[str, list[str]] = {self.username: [self.public_key_pem]}
        self.revoked_keys: set[str] = set()
        #: Live tokens by their text.
        self.tokens: dict[str, _Token] = {}
        self.tokens_issued = 0
        #: Seconds that a token really lives; None: the ttl that was asked for.
        self.token_lifetime: float | None = None
        self.page_size = 50
        self.error_shape = "rows"
        #: On a 400, the valid rows of the request are taken all the same.
        self.partial_on_400 = False
        #: An explicit null of an optional field passes for an absent one.
        self.accept_null = False
        #: (dataset, row) -> a reason, or True, to refuse a row that breaks no rule.
        self.refuse_if: Callable[[str, Row], str | bool | None] | None = None
        #: What `meta.warnings` of every accepted post says.
        self.warnings: list[dict[str, Any]] = []
        self.max_rows: int | None = None
        self.max_bytes: int | None = None
        #: Seconds that a post takes, so that posts overlap.
        self.latency = 0.0
        #: A dataset without Identifier Name says so with null; False: by leaving it out.
        self.null_identifier = True
        self.spot_checks_per_second = 1
        #: Keys that were in two posts under way at once; must stay empty.
        self.overlapping_keys: list[tuple[str, str]] = []
        self._keys_in_flight: dict[int, set[tuple[str, str]]] = {}
        self._spot_checks: list[float] = []
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
        return {"meta": {"code": status, "errors": [{"message": reason}], "warnings": []},
                "data": {}}

    def expire_tokens(self) -> None:
        """Make every token handed out so far invalid."""
        self.tokens.clear()

    # What tests set and look at.

    def register_key(self, public_key_pem: str, username: str | None = None) -> None:
        """Make a further public key known, as a customer does in Monetate's own pages."""
        self.public_keys.setdefault(username or self.username, []).append(public_key_pem)

    def revoke_key(self, public_key_pem: str | None = None) -> None:
        """Deactivate a public key: its tokens and assertions are answered 403 from now on."""
        self.revoked_keys.add(public_key_pem or self.public_key_pem)

    def add_dataset(
        self,
        name: str,
        fields: dict[str, Any],
        *,
        type: str = "attribute",  # noqa: A002 - the API's own word
        named_identifier: str | None = "customer_id",
    ) -> Dataset:
        """Add a dataset, or put it in place of the one of that name, without rows.

        Args:
            name: Its name.
            fields: Field by name: a Field, a dictionary as in the API, or just the data type.
            type: Its type.
            named_identifier: Its Identifier Name; None: not set yet.
        """
        read = {
            key: item if isinstance(item, Field)
            else Field(item) if isinstance(item, str)
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
        """Return a dataset as it stands."""
        text = self.store.value("SELECT definition FROM monetate_datasets WHERE name = ?", name)
        if text is None:
            return None
        definition = json.loads(text)
        fields = {key: Field(**item) for key, item in definition.pop("fields").items()}
        return Dataset(fields=fields, **definition)

    def rows(self, name: str) -> list[Row]:
        """Return a dataset's rows in order of arrival, every field there, absent ones None.

        A replaced row stands where its first version stood.
        """
        dataset = self.dataset(name)
        if dataset is None:
            return []
        return [complete(dataset, json.loads(text)) for text in self.raw_rows(name)]

    def raw_rows(self, name: str) -> list[str]:
        """Return a dataset's rows as JSON text, exactly as they were sent."""
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
        """The posts of rows, oldest first."""
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

    # The Auth API.

    async def _refresh(self, request: web.Request) -> web.Response:
        scheme, _, assertion = request.headers.get("Authorization", "").partition(" ")
        if scheme != "JWT" or not assertion:
            return self.refuse(401, "Authorization must be: JWT <assertion>")
        username, key, fault = self._verify(assertion)
        if fault or key is None:
            return self.refuse(401, fault or "invalid assertion")
        if key in self.revoked_keys:
            return self.refuse(403, "This key has been deactivated")
        text = request.query.get("ttl", str(_DEFAULT_TTL))
        if not text.isdigit() or not _SHORTEST_TTL <= int(text) <= _LONGEST_TTL:
            return self.refuse(400, f"ttl must lie between {_SHORTEST_TTL} and {_LONGEST_TTL}")
        ttl = int(text)
        issued = self.now.timestamp()
        expires = issued + (ttl if self.token_lifetime is None else self.token_lifetime)
        token = secrets.token_urlsafe(36)
        self.tokens[token] = _Token(key, expires)
        self.tokens_issued += 1
        request[RECORD].notes["username"] = username
        return self._answer(
            200,
            {
                "token": token,
                "issued_at": issued,
                "expires_in": int(expires - issued) if self.token_lifetime is None
                else expires - issued,
                "expires_at": expires,
            },
        )

    def _verify(self, assertion: str) -> tuple[str, str | None, str | None]:
        try:
            algorithm = jwt.get_unverified_header(assertion).get("alg")
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError:
            return "", None, "the assertion is no JSON Web Token"
        if algorithm not in _ALGORITHMS:
            return "", None, f"the assertion must be signed by one of {_ALGORITHMS}"
        username, issued = claims.get("username"), claims.get("iat")
        if not isinstance(username, str) or not username.startswith("api-"):
            return "", None, "the claim username must be that of an API user"
        if not isinstance(issued, (int, float)) or isinstance(issued, bool):
            return "", None, "the claim iat is missing"
        for key in self.public_keys.get(username, []):
            try:
                jwt.decode(
                    assertion,
                    key,
                    algorithms=[algorithm],
                    options={"verify_iat": False, "verify_exp": False, "verify_nbf": False},
                )
            except jwt.PyJWTError:
                continue
            if abs(self.now.timestamp() - issued) > _ASSERTION_SKEW_SECONDS:
                return "", None, "the assertion is too old, or from the future"
            return username, key, None
        return "", None, "the signature does not match any public key of this user"

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token" or not text:
            return self.refuse(401, "Authorization must be: Token <token>")
        token = self.tokens.get(text)
        if token is None or token.expires_at <= self.now.timestamp():
            return self.refuse(401, "Invalid token.")
        if token.key in self.revoked_keys:
            return self.refuse(403, "This token has been revoked")
        if request.match_info["retailer"] != self.retailer:
            return self.refuse(403, "You have no access to this retailer")
        return None

    # The Data API: datasets.

    async def _list_datasets(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        if refused:
            return refused
        text = request.query.get("page", "1")
        page = int(text) if text.isdigit() else 0
        names = [
            row["name"]
            for row in self.store.rows("SELECT name FROM monetate_datasets ORDER BY id")
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
        return self._answer(
            200,
            [self._described(item, request) for item in datasets if item],
            **meta,
        )

    async def _get_dataset(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        return self._answer(200, self._described(dataset, request))

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
        refused = self._unauthorized(request)
        if refused:
            return refused
        body = _json(request, await request.read())
        if not isinstance(body, dict):
            return self.refuse(400, "The body must be a JSON object.")
        read = read_fields(body.get("fields"))
        name = str(body.get("name", ""))
        dataset = Dataset(name, read.fields, body.get("type", "attribute"),
                          body.get("named_identifier"))
        faults = read.messages or list(dataset_faults(dataset))
        if self.dataset(name):
            faults.append(f"a schema {name} exists already")
        if faults:
            return self._refuse_all(faults)
        added = self.add_dataset(
            name,
            dict(read.fields),
            type=dataset.type,
            named_identifier=dataset.named_identifier,
        )
        return self._answer(201, self._described(added, request))

    async def _patch_dataset(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        body = _json(request, await request.read())
        if not isinstance(body, dict) or ("fields" in body) == ("named_identifier" in body):
            return self.refuse(400, "Supply either fields or named_identifier.")
        if "named_identifier" in body:
            if not isinstance(body["named_identifier"], str) or not body["named_identifier"]:
                return self.refuse(400, "named_identifier must be a name")
            dataset.named_identifier = body["named_identifier"]
            self._save(dataset)
            return self._answer(200, {"named_identifier": dataset.named_identifier})
        read = read_fields(body["fields"])
        known = {name.lower() for name in dataset.fields}
        faults = read.messages
        faults += [f"{name}: exists already" for name in read.fields if name.lower() in known]
        if len(dataset.fields) + len(read.fields) > MAX_FIELDS:
            faults.append(f"a schema has at most {MAX_FIELDS} fields")
        if not faults:
            dataset.fields.update(read.fields)
            faults += dataset_faults(dataset)
        if faults:
            return self._refuse_all(faults)
        self._save(dataset)
        return self._answer(200, {"fields": dataset.as_dict()["fields"]})

    def _save(self, dataset: Dataset) -> None:
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO monetate_datasets (id, name, definition) VALUES (?, ?, ?)",
                (dataset.id, dataset.name, json.dumps(dataset.as_dict())),
            )

    # The Data API: rows.

    async def _spot_check(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        now = self.now.timestamp()
        self._spot_checks = [at for at in self._spot_checks if 0 <= now - at < 1]
        if len(self._spot_checks) >= self.spot_checks_per_second:
            return self.refuse(429, "Request was throttled.", {"Retry-After": "1"})
        self._spot_checks.append(now)
        wanted = request.query.get("id")
        if not wanted:
            return self.refuse(400, "The query parameter id is required.")
        column = "row_key" if dataset.unique_key else "identifier"
        text = self.store.value(
            f"SELECT row FROM monetate_rows WHERE dataset = ? AND {column} = ?"  # noqa: S608
            " ORDER BY number DESC",
            dataset.name,
            wanted,
        )
        if text is None:
            return self.refuse(404, "Not found.")
        return self._answer(200, {"schema_rows": [complete(dataset, json.loads(text))]})

    async def _post_rows(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        dataset = self.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self.refuse(404, "Not found.")
        text = await request.read()
        if self.max_bytes is not None and len(text) > self.max_bytes:
            return self.refuse(413, "Request entity too large.")
        if not _is_json(request):
            return self.refuse(415, "Unsupported media type in request.")
        try:
            raw_rows = msgspec.json.decode(text, type=_Body).schema_rows
            rows = [msgspec.json.decode(raw) for raw in raw_rows]
        except msgspec.MsgspecError as error:
            return self.refuse(400, f"JSON parse error - {error}")
        if self.max_rows is not None and len(rows) > self.max_rows:
            return self.refuse(413, "Too many rows.")
        request[RECORD].notes.update(dataset=dataset.name, rows=len(rows))
        await self._be_under_way(request[RECORD].number, dataset, rows)
        errors = self._errors(dataset, rows)
        if not errors or self.partial_on_400:
            bad = {error.row for error in errors}
            good = [(row, bytes(raw).decode())
                    for number, (row, raw) in enumerate(zip(rows, raw_rows, strict=True))
                    if number not in bad]
            self._take(dataset, good, request[RECORD].number)
            request[RECORD].notes["taken"] = len(good)
        if errors:
            shaped = error_shapes(errors, len(rows), self.error_shape)
            return web.json_response(
                {"meta": {"code": 400, "errors": shaped, "warnings": []}, "data": {}},
                status=400,
            )
        body = (
            b'{"meta":' + msgspec.json.encode(
                {"code": 201, "errors": [], "warnings": self.warnings},
            )
            + b',"data":{"schema_rows":[' + b",".join(bytes(raw) for raw in raw_rows) + b"]}}"
        )
        return web.Response(status=201, body=body, content_type="application/json")

    def _errors(self, dataset: Dataset, rows: list[Any]) -> list[RowError]:
        found: list[RowError] = []
        for number, row in enumerate(rows):
            errors = row_errors(dataset, number, row, accept_null=self.accept_null)
            if not errors and self.refuse_if is not None:
                reason = self.refuse_if(dataset.name, row)
                if reason:
                    text = reason if isinstance(reason, str) else "refused"
                    errors = [RowError(number, None, text)]
            found += errors
        return found

    async def _be_under_way(self, number: int, dataset: Dataset, rows: list[Any]) -> None:
        key = dataset.unique_key
        keys = {(dataset.name, str(row[key])) for row in rows
                if key and isinstance(row, dict) and key in row}
        for others in self._keys_in_flight.values():
            self.overlapping_keys += sorted(keys & others)
        self._keys_in_flight[number] = keys
        try:
            await asyncio.sleep(self.latency)
        finally:
            del self._keys_in_flight[number]

    def _take(self, dataset: Dataset, rows: Iterable[tuple[Row, str]], request: int) -> None:
        key, identifier = dataset.unique_key, dataset.identifier
        with self.store.transaction() as connection:
            connection.executemany(
                "INSERT INTO monetate_rows (dataset, row_key, identifier, row, request)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (dataset, row_key) DO UPDATE SET"
                " row = excluded.row, identifier = excluded.identifier,"
                " request = excluded.request, replaced = replaced + 1",
                [
                    (
                        dataset.name,
                        row[key] if key else None,
                        row.get(identifier or ""),
                        text,
                        request,
                    )
                    for row, text in rows
                ],
            )
            if dataset.type != "customer_data_privacy":
                return
            for row, _ in rows:
                customer = row[identifier or ""]
                connection.execute(
                    "DELETE FROM monetate_rows WHERE identifier = ? AND dataset != ?",
                    (customer, dataset.name),
                )
                connection.execute(
                    "INSERT INTO monetate_erasures (customer_id) VALUES (?)",
                    (customer,),
                )

    # Envelopes.

    def _answer(self, status: int, data: Any, **meta: Any) -> web.Response:
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


def _is_json(request: web.Request) -> bool:
    return request.content_type == "application/json"


def _json(request: web.Request, text: bytes) -> Any:
    if not _is_json(request):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
