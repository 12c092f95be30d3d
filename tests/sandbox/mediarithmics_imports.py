"""Document imports of mediarithmics: definitions, executions and stored documents."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.sandbox.forms import uploaded_file
from tests.sandbox.json_text import is_unicode
from tests.sandbox.mediarithmics_documents import (
    CONTENT_TYPES,
    PRIORITIES,
    LineError,
    check_document,
    error_line,
    identifier_of,
    parse_lines,
)

if TYPE_CHECKING:
    import sqlite3

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.mediarithmics_documents import Rules
    from tests.sandbox.mediarithmics_executions import Execution

    Document = dict[str, Any]

TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_imports (id INTEGER PRIMARY KEY, name TEXT,"
        " document_type TEXT, mime_type TEXT, encoding TEXT, priority TEXT)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_documents ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, import_id TEXT,"
        " execution_id INTEGER, line INTEGER, document_type TEXT, document TEXT)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_activities ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, unique_key TEXT UNIQUE, document TEXT)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_profiles ("
        " identifier TEXT PRIMARY KEY, profile TEXT)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_segments (segment TEXT, identifier TEXT,"
        " expiration_duration INTEGER, PRIMARY KEY (segment, identifier))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS mediarithmics_choices (identifier TEXT, processing_id TEXT,"
        " choice TEXT, PRIMARY KEY (identifier, processing_id))"
    ),
)

#: An identifier on more than this share of an upload's lines causes a warning, from a minimum size.
_SUSPECT_SHARE = 0.2
_SUSPECT_FROM_LINES = 100


class Imports:
    """The handlers of document imports, for one `Mediarithmics`."""

    def __init__(self, vendor: Mediarithmics) -> None:
        self._vendor = vendor
        self._store = vendor.store

    def routes(self, base: str) -> list[web.RouteDef]:
        """Return the routes under the API's address."""
        imports = f"{base}/datamarts/{{datamart}}/document_imports"
        one = f"{imports}/{{import}}"
        execution = f"{one}/executions/{{execution}}"
        return [
            web.get(imports, self._list, allow_head=False),
            web.post(imports, self._create),
            web.get(one, self._read, allow_head=False),
            web.put(one, self._change),
            web.delete(one, self._delete),
            web.get(f"{one}/executions", self._list_executions, allow_head=False),
            web.post(f"{one}/executions", self._execute),
            web.get(execution, self._read_execution, allow_head=False),
            web.post(f"{execution}/action", self._act),
        ]

    # Definitions.

    def definition(self, import_id: str) -> dict[str, Any] | None:
        """Return an import as in the API."""
        rows = self._store.rows("SELECT * FROM mediarithmics_imports WHERE id = ?", import_id)
        return self._described(rows[0]) if rows else None

    def all(self) -> list[dict[str, Any]]:
        """Return all imports, oldest first."""
        rows = self._store.rows("SELECT * FROM mediarithmics_imports ORDER BY id")
        return [self._described(row) for row in rows]

    def _described(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            **row,
            "id": str(row["id"]),
            "datafarm_key": "DF_EU_2020_02",
            "datamart_id": self._vendor.datamart_id,
        }

    def add(self, definition: dict[str, Any]) -> str:
        """Store an import and return its id; names need not be unique."""
        with self._store.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO mediarithmics_imports (id, name, document_type, mime_type, encoding,"
                " priority) VALUES ((SELECT coalesce(max(id), 20000) + 1 FROM"
                " mediarithmics_imports), :name, :document_type, :mime_type, :encoding, :priority)",
                {"priority": "MEDIUM", "encoding": "utf-8", **definition},
            )
        return str(cursor.lastrowid)

    async def _list(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        words = request.query.get("keywords", "").lower()
        found = [item for item in self.all() if words in item["name"].lower()]
        return refused or self._vendor.page(request, found, 50)

    async def _create(self, request: web.Request) -> web.Response:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        if refused:
            return refused
        body = await self._vendor.json_body(request)
        fault = _definition_fault(body, self._vendor.rules)
        if fault:
            return self._vendor.refuse(400, fault)
        # Two concurrent creations both succeed: names need not be unique.
        await asyncio.sleep(self._vendor.creation_latency)
        return self._vendor.ok(self.definition(self.add(body)))

    async def _read(self, request: web.Request) -> web.Response:
        definition, refused = self._found(request)
        return refused or self._vendor.ok(definition)

    async def _change(self, request: web.Request) -> web.Response:
        definition, refused = self._found(request)
        if refused or definition is None:
            return refused or self._vendor.not_found()
        body = await self._vendor.json_body(request)
        known = {key: definition[key] for key in _DEFINITION_KEYS}
        changed = {**known, **body} if isinstance(body, dict) else body
        for key in ("id", "datafarm_key", "datamart_id"):
            if isinstance(changed, dict):
                changed.pop(key, None)
        fault = _definition_fault(changed, self._vendor.rules)
        if fault:
            return self._vendor.refuse(400, fault)
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE mediarithmics_imports SET name = :name, document_type = :document_type,"
                " mime_type = :mime_type, encoding = :encoding, priority = :priority"
                " WHERE id = :id",
                {**changed, "id": definition["id"]},
            )
        return self._vendor.ok(self.definition(definition["id"]))

    async def _delete(self, request: web.Request) -> web.Response:
        definition, refused = self._found(request)
        if refused or definition is None:
            return refused or self._vendor.not_found()
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM mediarithmics_imports WHERE id = ?",
                (definition["id"],),
            )
        return web.json_response({"status": "ok"})

    def _found(
        self,
        request: web.Request,
    ) -> tuple[dict[str, Any] | None, web.Response | None]:
        refused = self._vendor.refused(request) or self._vendor.foreign(request)
        definition = self.definition(request.match_info["import"])
        if not refused and definition is None:
            refused = self._vendor.not_found()
        return definition, refused

    # Executions.

    async def _execute(self, request: web.Request) -> web.Response:
        definition, refused = self._found(request)
        if refused or definition is None:
            return refused or self._vendor.not_found()
        body = _upload(request, await request.read(), definition)
        if isinstance(body, str):
            return self._vendor.refuse(400, body)
        limit = self._vendor.max_upload_bytes
        if limit is not None and len(body) > limit:
            return self._vendor.refuse(413, "The file is too large")
        if not body.strip():
            return self._vendor.refuse(400, "The file is empty")
        detail = {
            **definition,
            "bytes": len(body),
            "lines": _count_lines(body, definition),
            "sender": request.headers.get("User-Agent"),
        }
        execution = self._vendor.executions.create("import", definition["id"], detail)
        path = self._vendor.executions.file(f"{execution.id}.upload")
        await asyncio.to_thread(path.write_bytes, body)
        return self._vendor.ok(self._shown(execution))

    def _shown(self, execution: Execution) -> dict[str, Any]:
        shown = execution.as_dict(self._vendor.organisation_id)
        known = execution.polls >= self._vendor.polls_until_parameters or not execution.is_open
        shown["parameters"] = self._parameters(execution) if known else None
        if self._vendor.pending_with_result and execution.is_open and known:
            shown["status"] = "PENDING"
            shown["result"] = self._result(execution, execution.detail["lines"], 0)
        return shown

    def _parameters(self, execution: Execution) -> dict[str, Any]:
        detail = execution.detail
        return {
            "datamart_id": int(self._vendor.datamart_id),
            "document_import_id": int(execution.parent),
            "mime_type": detail["mime_type"],
            "document_type": detail["document_type"],
            "input_file_name": f"{execution.id}.upload",
            "file_uri": self._uri(execution, "upload"),
            "number_of_lines": detail["lines"],
            "segment_id": None,
        }

    def _uri(self, execution: Execution, extension: str) -> str:
        return (
            f"mics://data_file/tenants/{self._vendor.organisation_id}/jobs/executions/"
            f"{execution.id}/result/import.{extension}"
        )

    def _result(self, execution: Execution, success: int, failure: int) -> dict[str, Any]:
        return {
            "total_success": success,
            "total_failure": failure,
            "input_file_name": f"{execution.id}.upload",
            "input_file_uri": self._uri(execution, "upload"),
            "error_file_uri": self._uri(execution, "error") if failure else None,
            "possible_issue_on_identifiers": False,
            "top_identifiers": {},
        }

    async def _list_executions(self, request: web.Request) -> web.Response:
        definition, refused = self._found(request)
        if refused or definition is None:
            return refused or self._vendor.not_found()
        executions = self._vendor.executions.of("import", definition["id"])
        await asyncio.to_thread(self._vendor.executions.poll, executions)
        return self._vendor.page(request, [self._shown(item) for item in executions], 10)

    async def _read_execution(self, request: web.Request) -> web.Response:
        execution, refused = self._found_execution(request)
        if refused or execution is None:
            return refused or self._vendor.not_found()
        await asyncio.to_thread(self._vendor.executions.poll, [execution])
        return self._vendor.ok(self._shown(execution))

    async def _act(self, request: web.Request) -> web.Response:
        execution, refused = self._found_execution(request)
        if refused or execution is None:
            return refused or self._vendor.not_found()
        if await self._vendor.json_body(request) != {"action": "CANCEL"}:
            return self._vendor.refuse(400, "Unknown action")
        if not execution.is_open:
            return self._vendor.refuse(400, "The execution has ended")
        execution.outcome.status = "CANCELED"
        self._vendor.executions.end(execution)
        return self._vendor.ok(self._shown(execution))

    def _found_execution(
        self,
        request: web.Request,
    ) -> tuple[Execution | None, web.Response | None]:
        definition, refused = self._found(request)
        execution = self._vendor.executions.get(request.match_info["execution"])
        missing = (
            definition is None
            or execution is None
            or execution.kind != "import"
            or execution.parent != definition["id"]
        )
        if missing and not refused:
            refused = self._vendor.not_found()
        return execution, refused

    def finish(self, execution: Execution) -> None:
        """Check and store the lines of an execution that ends."""
        detail, outcome = execution.detail, execution.outcome
        path = self._vendor.executions.file(f"{execution.id}.upload")
        is_stored = outcome.status in {"SUCCEEDED", "SUCCESS"} or outcome.land_when_failed
        taken: list[tuple[int, Document]] = []
        errors: list[str] = []
        identifiers: Counter[str] = Counter()
        with path.open("rb") as file:
            for number, text, content in parse_lines(file, detail["mime_type"]):
                reason = self._line_fault(detail, content)
                if reason is None:
                    taken.append((number, content))
                    identifiers[_identifier_text(detail["document_type"], content)] += 1
                else:
                    errors.append(error_line(self._vendor.error_shape, number, text, reason))
        failures = len(errors)
        if self._vendor.error_shape == "free_text" and errors:
            errors = errors[:1]
        if is_stored:
            self._land(execution, taken)
        if failures and not outcome.lose_error_file:
            error_file = self._vendor.executions.file(f"{execution.id}.import.error")
            text = "".join(f"{line}\n" for line in errors)
            # half of a surrogate pair is written as an escape of JSON
            error_file.write_bytes(text.encode("utf-8", "backslashreplace"))
        if outcome.status == "CANCELED":
            return
        result = self._result(execution, len(taken) if is_stored else 0, failures)
        self._suspect(execution, result, identifiers, len(taken))
        execution.result = None if outcome.null_result or not is_stored else result
        execution.num_tasks = detail["lines"]
        execution.erroneous_tasks = failures
        execution.completed_tasks = len(taken) if is_stored else 0

    def _suspect(
        self,
        execution: Execution,
        result: dict[str, Any],
        identifiers: Counter[str],
        lines: int,
    ) -> None:
        identifiers.pop("", None)
        top = identifiers.most_common(3)
        suspect = bool(
            top and lines >= _SUSPECT_FROM_LINES and top[0][1] > lines * _SUSPECT_SHARE,
        )
        planned = execution.outcome.possible_issue_on_identifiers
        result["possible_issue_on_identifiers"] = suspect if planned is None else planned
        if result["possible_issue_on_identifiers"]:
            result["top_identifiers"] = dict(top)

    def _line_fault(self, detail: dict[str, Any], content: Any) -> str | None:
        if isinstance(content, LineError):
            return str(content)
        try:
            check_document(
                detail["document_type"],
                content,
                detail["mime_type"],
                self._vendor.rules,
            )
        except LineError as error:
            return str(error)
        if self._vendor.refuse_if is not None:
            reason = self._vendor.refuse_if(detail["document_type"], content)
            if reason:
                return reason if isinstance(reason, str) else "refused"
        return None

    # Stored documents.

    def _land(self, execution: Execution, taken: list[tuple[int, Document]]) -> None:
        document_type = execution.detail["document_type"]
        with self._store.transaction() as connection:
            connection.executemany(
                "INSERT INTO mediarithmics_documents (import_id, execution_id, line,"
                " document_type, document) VALUES (?, ?, ?, ?, ?)",
                [
                    (execution.parent, execution.id, number, document_type, json.dumps(document))
                    for number, document in taken
                ],
            )
            apply = {
                "USER_ACTIVITY": _apply_activity,
                "USER_PROFILE": _apply_profile,
                "USER_SEGMENT": _apply_segment,
                "USER_CHOICE": _apply_choice,
            }.get(document_type)
            if apply:
                for _, document in taken:
                    apply(connection, document)


_DEFINITION_KEYS = ("name", "document_type", "mime_type", "encoding", "priority")


def _definition_fault(body: Any, rules: Rules) -> str | None:
    if not isinstance(body, dict):
        return "The body must be a JSON object"
    for key in sorted(set(body) - set(_DEFINITION_KEYS)):
        return f"Unknown property {key}"
    for key in ("name", "document_type", "mime_type", "encoding"):
        if not isinstance(body.get(key), str) or not body[key].strip():
            return f"{key} is mandatory"
        if not is_unicode(body[key]):
            return f"{key} must be valid Unicode text"
    wrong = {
        f"mime_type must be one of {', '.join(CONTENT_TYPES)}": body["mime_type"]
        not in CONTENT_TYPES,
        "encoding must be utf-8": body["encoding"].lower() != "utf-8",
        f"priority must be one of {', '.join(sorted(PRIORITIES))}": body.get("priority", "MEDIUM")
        not in list(PRIORITIES),
        f"{body['document_type']} takes APPLICATION_X_NDJSON only": body["mime_type"] == "TEXT_CSV"
        and not _may_be_csv(body["document_type"], rules),
    }
    return next((reason for reason, is_wrong in wrong.items() if is_wrong), None)


def _upload(request: web.Request, body: bytes, definition: dict[str, Any]) -> bytes | str:
    """Return the documents of a request, or the reason for its rejection."""
    if request.content_type == "multipart/form-data":
        # The vendor's page uploads a file in a form; the type of the part is ignored.
        file = uploaded_file(request.headers["Content-Type"], body)
        return "The form holds no file" if file is None else file
    expected = CONTENT_TYPES[definition["mime_type"]]
    return body if request.content_type == expected else f"Content-Type must be {expected}"


def _may_be_csv(document_type: str, rules: Rules) -> bool:
    if rules.csv_for_segments_only:
        return document_type == "USER_SEGMENT"
    return document_type != "USER_ACTIVITY"


def _count_lines(body: bytes, definition: dict[str, Any]) -> int:
    if definition["mime_type"] == "TEXT_CSV":
        # A cell may contain line breaks.
        rows = csv.reader(io.StringIO(body.decode(errors="replace"), newline=""))
        with contextlib.suppress(csv.Error):
            return sum(1 for row in rows if row) - 1
    return sum(1 for line in body.split(b"\n") if line.strip())


def _identifier_text(document_type: str, document: Document) -> str:
    try:
        return identifier_of(document, "$" if document_type == "USER_ACTIVITY" else "")
    except LineError:
        return ""


def _apply_activity(connection: sqlite3.Connection, document: Document) -> None:
    connection.execute(
        "INSERT INTO mediarithmics_activities (unique_key, document) VALUES (?, ?)"
        " ON CONFLICT (unique_key) DO UPDATE SET document = excluded.document",
        # An empty key counts as missing.
        (document.get("$unique_key") or None, json.dumps(document)),
    )


def _apply_profile(connection: sqlite3.Connection, document: Document) -> None:
    identifier = identifier_of(document)
    if document["operation"] == "DELETE":
        connection.execute("DELETE FROM mediarithmics_profiles WHERE identifier = ?", (identifier,))
        return
    sql = "SELECT profile FROM mediarithmics_profiles WHERE identifier = ?"
    row = connection.execute(sql, (identifier,)).fetchone()
    profile: Document = json.loads(row[0]) if row else {}
    given = document["user_profile"]
    strategy = document.get("update_strategy", "PARTIAL_UPDATE")
    if strategy == "FORCE_REPLACE":
        profile = given
    elif strategy == "PARTIAL_DELETE":
        kept = {"$user_account_id", "$compartment_id"}
        profile = {key: value for key, value in profile.items() if key not in given or key in kept}
    else:
        profile = {**profile, **given}
    connection.execute(
        "INSERT OR REPLACE INTO mediarithmics_profiles VALUES (?, ?)",
        (identifier, json.dumps(profile)),
    )


def _apply_segment(connection: sqlite3.Connection, document: Document) -> None:
    segment = document.get("segment_id") or document["segment_technical_name"]
    key = (segment, identifier_of(document))
    if document["operation"] == "DELETE":
        connection.execute(
            "DELETE FROM mediarithmics_segments WHERE segment = ? AND identifier = ?",
            key,
        )
    else:
        connection.execute(
            "INSERT OR REPLACE INTO mediarithmics_segments VALUES (?, ?, ?)",
            (*key, int(document["expiration_duration"])),
        )


def _apply_choice(connection: sqlite3.Connection, document: Document) -> None:
    choice = document["user_choice"]
    key = (identifier_of(document), choice["$processing_id"])
    if document["operation"] == "DELETE":
        connection.execute(
            "DELETE FROM mediarithmics_choices WHERE identifier = ? AND processing_id = ?",
            key,
        )
    else:
        connection.execute(
            "INSERT OR REPLACE INTO mediarithmics_choices VALUES (?, ?, ?)",
            (*key, json.dumps(choice)),
        )
