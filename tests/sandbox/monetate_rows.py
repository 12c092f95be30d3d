"""Monetate's Data API: posting and reading rows."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.sandbox.monetate_datasets import RowError, complete, error_shapes, row_errors
from tests.sandbox.recording import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.monetate_datasets import Dataset

    Row = dict[str, Any]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a post; each row is kept as sent, so that numbers stay exact."""

    schema_rows: list[msgspec.Raw]
    sent_time: str | None = msgspec.field(default=None, name="_sent_time")


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Rows:
    """The handlers of a dataset's rows, for one `Monetate`."""

    def __init__(self, vendor: Monetate) -> None:
        self._vendor = vendor
        self._keys_in_flight: dict[int, set[tuple[str, str]]] = {}
        self._spot_checks: list[float] = []

    async def spot_check(self, request: web.Request) -> web.Response:
        """Return one row, at most one per second."""
        refused = self._vendor.tokens.unauthorized(request)
        dataset = self._vendor.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self._vendor.refuse(404, "Not found.")
        now = self._vendor.now.timestamp()
        self._spot_checks = [at for at in self._spot_checks if 0 <= now - at < 1]
        if len(self._spot_checks) >= self._vendor.spot_checks_per_second:
            return self._vendor.refuse(429, "Request was throttled.", {"Retry-After": "1"})
        self._spot_checks.append(now)
        wanted = request.query.get("id")
        if not wanted:
            return self._vendor.refuse(400, "The query parameter id is required.")
        column = "row_key" if dataset.unique_key else "identifier"
        text = self._vendor.store.value(
            f"SELECT row FROM monetate_rows WHERE dataset = ? AND {column} = ?"  # noqa: S608
            " ORDER BY number DESC",
            dataset.name,
            wanted,
        )
        if text is None:
            return self._vendor.refuse(404, "Not found.")
        return self._vendor.response(200, {"schema_rows": [complete(dataset, json.loads(text))]})

    async def post(self, request: web.Request) -> web.Response:
        """Store the rows of a request, or reject it."""
        refused = self._vendor.tokens.unauthorized(request)
        dataset = self._vendor.dataset(request.match_info["name"])
        if refused or dataset is None:
            return refused or self._vendor.refuse(404, "Not found.")
        try:
            rows, raw_rows = self._read(request, await request.read())
        except _RefusedError as error:
            return self._vendor.refuse(error.status, str(error))
        request[RECORD].notes.update(dataset=dataset.name, rows=len(rows))
        await self._be_under_way(request[RECORD].number, dataset, rows)
        errors = self._errors(dataset, rows)
        if not errors or self._vendor.partial_on_400:
            bad = {error.row for error in errors}
            good = [
                (row, bytes(raw).decode())
                for number, (row, raw) in enumerate(zip(rows, raw_rows, strict=True))
                if number not in bad
            ]
            self._take(dataset, good, request[RECORD].number)
            request[RECORD].notes["taken"] = len(good)
        if errors:
            shaped = error_shapes(errors, len(rows), self._vendor.error_shape)
            return web.json_response(
                {"meta": {"code": 400, "errors": shaped, "warnings": []}, "data": {}},
                status=400,
            )
        body = (
            b'{"meta":'
            + msgspec.json.encode(
                {"code": 201, "errors": [], "warnings": self._vendor.warnings},
            )
            + b',"data":{"schema_rows":['
            + b",".join(bytes(raw) for raw in raw_rows)
            + b"]}}"
        )
        return web.Response(status=201, body=body, content_type="application/json")

    def _read(self, request: web.Request, text: bytes) -> tuple[list[Any], list[msgspec.Raw]]:
        if self._vendor.max_bytes is not None and len(text) > self._vendor.max_bytes:
            raise _RefusedError(413, "Request entity too large.")
        if not is_json(request):
            raise _RefusedError(415, "Unsupported media type in request.")
        try:
            raw_rows = msgspec.json.decode(text, type=_Body).schema_rows
            rows = [msgspec.json.decode(raw) for raw in raw_rows]
        except (RecursionError, msgspec.MsgspecError) as error:
            raise _RefusedError(400, f"JSON parse error - {error}") from error
        if self._vendor.max_rows is not None and len(rows) > self._vendor.max_rows:
            raise _RefusedError(413, "Too many rows.")
        return rows, raw_rows

    def _errors(self, dataset: Dataset, rows: list[Any]) -> list[RowError]:
        found: list[RowError] = []
        for number, row in enumerate(rows):
            errors = row_errors(
                dataset,
                number,
                row,
                accept_null=self._vendor.accept_null,
                refuse_unknown=self._vendor.refuse_unknown_fields,
                refuse_compact_offsets=self._vendor.refuse_compact_offsets,
            )
            if not errors and self._vendor.refuse_if is not None:
                reason = self._vendor.refuse_if(dataset.name, row)
                if reason:
                    text = reason if isinstance(reason, str) else "refused"
                    errors = [RowError(number, None, text)]
            found += errors
        return found

    async def _be_under_way(self, number: int, dataset: Dataset, rows: list[Any]) -> None:
        key = dataset.unique_key
        keys = {
            (dataset.name, str(row[key]))
            for row in rows
            if key and isinstance(row, dict) and key in row
        }
        for others in self._keys_in_flight.values():
            self._vendor.overlapping_keys += sorted(keys & others)
        self._keys_in_flight[number] = keys
        try:
            await asyncio.sleep(self._vendor.latency)
        finally:
            del self._keys_in_flight[number]

    def _take(self, dataset: Dataset, rows: Iterable[tuple[Row, str]], request: int) -> None:
        key, identifier = dataset.unique_key, dataset.identifier
        with self._vendor.store.transaction() as connection:
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


def is_json(request: web.Request) -> bool:
    """Return whether a request declares a JSON body."""
    return request.content_type == "application/json"
