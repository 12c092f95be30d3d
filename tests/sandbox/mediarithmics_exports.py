"""Exports of mediarithmics: definitions, executions and output files."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.sandbox import mediarithmics_otql as otql
from tests.sandbox.recording import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.mediarithmics_executions import Execution, Outcome

TABLES = (
    "CREATE TABLE IF NOT EXISTS mediarithmics_queries (id INTEGER PRIMARY KEY, query_text TEXT)",
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_exports ("
        " id INTEGER PRIMARY KEY, name TEXT, query_id TEXT)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_objects ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT, object TEXT)"
    ),
)

_DATA_FILE = re.compile(
    r"mics://data_file/tenants/(\d+)/jobs/executions/(\d+)/result/(\w+)\.(data|error)\Z",
)

#: Files of at least this size are sent from disk, unless a fault must cut them.
_LARGE_FILE_BYTES = 4 * 1024 * 1024


class Exports:
    """The handlers of queries, exports and data files, for one `Mediarithmics`."""

    def __init__(self, vendor: Mediarithmics) -> None:
        self._vendor = vendor
        self._store = vendor.store

    def routes(self, base: str) -> list[web.RouteDef]:
        """Return the routes under the API's address."""
        export = f"{base}/exports/{{export}}"
        queries = f"{base}/datamarts/{{datamart}}/queries"
        return [
            web.get(f"{base}/exports", self._list, allow_head=False),
            web.post(f"{base}/exports", self._create),
            web.get(export, self._read, allow_head=False),
            web.get(f"{export}/executions", self._list_executions, allow_head=False),
            web.post(f"{export}/executions", self._execute),
            web.get(
                f"{export}/executions/{{execution}}/files/technical_name={{file}}",
                self._download,
                allow_head=False,
            ),
            web.post(queries, self._create_query),
            web.get(f"{queries}/{{query}}", self._read_query, allow_head=False),
            web.put(f"{queries}/{{query}}", self._rewrite_query),
            web.post(f"{base}/datamarts/{{datamart}}/query_check/otql", self._check_query),
        ]

    # Definitions.

    def export(self, export_id: int | str) -> dict[str, Any] | None:
        """Return an export as in the API."""
        rows = self._store.rows("SELECT * FROM mediarithmics_exports WHERE id = ?", str(export_id))
        return self._described(rows[0]) if rows else None

    def all(self) -> list[dict[str, Any]]:
        """Return all exports, newest first."""
        rows = self._store.rows("SELECT * FROM mediarithmics_exports ORDER BY id DESC")
        return [self._described(row) for row in rows]

    def _described(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "QUERY",
            "id": str(row["id"]),
            "organisation_id": self._vendor.organisation_id,
            "name": row["name"],
            "query_id": row["query_id"],
            "datamart_id": self._vendor.datamart_id,
            "output_format": "JSON",
        }

    def add_query(self, text: str) -> str:
        """Store a query and return its id."""
        with self._store.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO mediarithmics_queries (id, query_text) VALUES"
                " ((SELECT coalesce(max(id), 65000) + 1 FROM mediarithmics_queries), ?)",
                (text,),
            )
        return str(cursor.lastrowid)

    def add_export(self, name: str, query_id: str) -> str:
        """Store an export and return its id."""
        with self._store.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO mediarithmics_exports (id, name, query_id) VALUES"
                " ((SELECT coalesce(max(id), 9800) + 1 FROM mediarithmics_exports), ?, ?)",
                (name, query_id),
            )
        return str(cursor.lastrowid)

    def query_text(self, query_id: str) -> str | None:
        """Return the text of a query, or None."""
        sql = "SELECT query_text FROM mediarithmics_queries WHERE id = ?"
        text = self._store.value(sql, query_id)
        return None if text is None else str(text)

    async def _list(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        return refused or self._vendor.page(request, self.all(), 50)

    async def _read(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        export = self.export(request.match_info["export"])
        if refused or export is None:
            return refused or self._vendor.not_found()
        return self._vendor.ok(export)

    async def _create(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused:
            return refused
        body = await self._vendor.json_body(request)
        if not isinstance(body, dict) or not str(body.get("name") or "").strip():
            return self._vendor.refuse(400, "name is mandatory")
        if body.get("type") != "QUERY" or body.get("output_format") != "JSON":
            return self._vendor.refuse(400, "type must be QUERY and output_format JSON")
        query_id = str(body.get("query_id"))
        if self.query_text(query_id) is None:
            return self._vendor.refuse(400, f"Query {query_id} does not exist")
        return self._vendor.ok(self.export(self.add_export(body["name"], query_id)))

    async def _create_query(self, request: web.Request) -> web.Response:
        text, refused = await self._query_body(request, "query_text")
        if refused or text is None:
            return refused or self._vendor.not_found()
        return self._vendor.ok(self._query(self.add_query(text)))

    async def _read_query(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        query_id = request.match_info["query"]
        if refused or self.query_text(query_id) is None:
            return refused or self._vendor.not_found()
        return self._vendor.ok(self._query(query_id))

    async def _rewrite_query(self, request: web.Request) -> web.Response:
        query_id = request.match_info["query"]
        text, refused = await self._query_body(request, "query_text")
        if refused or self.query_text(query_id) is None:
            return refused or self._vendor.not_found()
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE mediarithmics_queries SET query_text = ? WHERE id = ?",
                (text, query_id),
            )
        return self._vendor.ok(self._query(query_id))

    async def _check_query(self, request: web.Request) -> web.Response:
        text, refused = await self._query_body(request, "query")
        if refused or text is None:
            return refused or self._vendor.not_found()
        return self._vendor.ok(otql.check(text))

    async def _query_body(
        self,
        request: web.Request,
        name: str,
    ) -> tuple[str | None, web.Response | None]:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused:
            return None, refused
        body = await self._vendor.json_body(request)
        text = body.get(name) if isinstance(body, dict) else None
        if not isinstance(text, str) or not text.strip():
            return None, self._vendor.refuse(400, f"{name} is mandatory")
        if name == "query_text" and body.get("query_language") != "OTQL":
            return None, self._vendor.refuse(400, "query_language must be OTQL")
        return text, None

    def _query(self, query_id: str) -> dict[str, Any]:
        return {
            "id": query_id,
            "datamart_id": self._vendor.datamart_id,
            "query_language": "OTQL",
            "query_text": self.query_text(query_id),
        }

    # Executions.

    async def _execute(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request)
        export = self.export(request.match_info["export"])
        if refused or export is None:
            return refused or self._vendor.not_found()
        if await self._vendor.json_body(request) != {}:
            return self._vendor.refuse(400, "The body must be an empty JSON object")
        execution = self._vendor.executions.create(
            "export",
            export["id"],
            {"query_text": self.query_text(export["query_id"])},
        )
        return self._vendor.ok(execution.as_dict(self._vendor.organisation_id))

    async def _list_executions(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request)
        export = self.export(request.match_info["export"])
        if refused or export is None:
            return refused or self._vendor.not_found()
        executions = self._vendor.executions.of("export", export["id"])
        await asyncio.to_thread(self._vendor.executions.poll, executions)
        organisation = self._vendor.organisation_id
        return self._vendor.page(request, [item.as_dict(organisation) for item in executions], 10)

    def finish(self, execution: Execution) -> None:
        """Write the files of an execution that ends, and set its counts."""
        outcome = execution.outcome
        if outcome.status in {"SUCCEEDED", "SUCCESS"}:
            forced = outcome.files or self._vendor.forced_results.get(execution.parent)
            if forced is not None:
                self.write_files(execution, [[text] for text in forced])
            else:
                lines = list(self._result(execution))
                parts = max(1, self._vendor.files_per_execution)
                share = -(-len(lines) // parts)
                shares = [lines[at * share : (at + 1) * share] for at in range(parts)]
                self.write_files(execution, shares)
            files = execution.detail["files"]
            execution.result = None if outcome.null_result else {"output_files": files}
        elif outcome.status == "FAILED":
            text = outcome.error_file or "The query could not be run to its end.\n"
            self._vendor.executions.file(f"{execution.id}.export.error").write_text(
                text,
                encoding="utf-8",
            )
        self._count(execution, outcome)

    def _count(self, execution: Execution, outcome: Outcome) -> None:
        total = max(1, int(execution.detail.get("lines", 0)))
        ratio = outcome.erroneous_ratio or 0.0
        if ratio:
            total = max(total, 1000)
        execution.num_tasks = total
        execution.erroneous_tasks = round(total * ratio)
        execution.completed_tasks = total - execution.erroneous_tasks

    def _result(self, execution: Execution) -> Iterator[bytes]:
        lines = [
            msgspec.json.encode(tree) + b"\n"
            for tree in otql.run(
                execution.detail["query_text"] or "",
                self.objects,
                now=self._vendor.now.timestamp(),
                date_forms=self._vendor.date_forms,
            )
        ]
        # The vendor does not sort the result, so clients must not depend on its order.
        random.Random(execution.id).shuffle(lines)
        yield from lines

    def write_files(self, execution: Execution, contents: Sequence[Iterable[bytes]]) -> None:
        """Write the output files: `export`, or `export_1` and so on for several."""
        names = (
            ["export"]
            if len(contents) == 1
            else [f"export_{number}" for number in range(1, len(contents) + 1)]
        )
        lines = 0
        for name, content in zip(names, contents, strict=True):
            path = self._vendor.executions.file(f"{execution.id}.{name}.data")
            with path.open("wb") as file:
                for piece in content:
                    lines += piece.count(b"\n")
                    file.write(piece)
        execution.detail.update(files=names, lines=lines)

    def objects(self, object_type: str) -> list[dict[str, Any]]:
        """Return the objects of a type."""
        sql = "SELECT object FROM mediarithmics_objects WHERE type = ? ORDER BY number"
        return [msgspec.json.decode(row["object"]) for row in self._store.rows(sql, object_type)]

    # Files.

    async def _download(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request)
        if refused:
            return refused
        execution = self._vendor.executions.get(request.match_info["execution"])
        if (
            execution is None
            or execution.kind != "export"
            or execution.parent != request.match_info["export"]
            or request.match_info["file"] not in execution.detail.get("files", [])
        ):
            return self._vendor.not_found()
        path = self._vendor.executions.file(f"{execution.id}.{request.match_info['file']}.data")
        return self.send(request, path)

    async def data_file(self, request: web.Request) -> web.Response:
        """Return a data file by its `mics://` address."""
        refused = self._vendor.refused(request)
        if refused:
            return refused
        match = _DATA_FILE.match(request.query.get("uri", ""))
        execution = self._vendor.executions.get(match[2]) if match else None
        if match is None or execution is None or match[1] != self._vendor.organisation_id:
            return self._vendor.not_found()
        name, extension = match[3], match[4]
        files = execution.detail.get("files", [])
        if extension == "data" and name == "export" and files and name not in files:
            name = files[0]
        if execution.is_open:
            return self._vendor.not_found()
        return self.send(
            request, self._vendor.executions.file(f"{execution.id}.{name}.{extension}")
        )

    def send(self, request: web.Request, path: Path) -> web.Response:
        """Return a file unchanged, or 404."""
        if not path.exists():
            return self._vendor.not_found()
        size = path.stat().st_size
        kind = "application/x-ndjson" if path.suffix == ".data" else "text/plain"
        if size < _LARGE_FILE_BYTES or request[RECORD].fault is not None:
            return web.Response(body=path.read_bytes(), content_type=kind)
        response = web.Response(body=path.open("rb"))
        response.headers["Content-Type"] = kind
        return response
