"""The mediarithmics sandbox: queries, exports, schemas and document imports of one datamart.

Settings for tests (reset by `reset()`): `polls_until_done`, `hold()`, `plan(...)`,
`polls_until_parameters`, `pending_with_result`, `files_per_execution`, `date_forms`,
`with_total`, `max_results`, `error_shape`, `refuse_if`, `rules`, `max_upload_bytes`,
`creation_latency`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from aiohttp import web

from tests.sandbox import mediarithmics_executions as executions_module
from tests.sandbox import mediarithmics_exports as exports_module
from tests.sandbox import mediarithmics_imports as imports_module
from tests.sandbox.mediarithmics_documents import Rules
from tests.sandbox.mediarithmics_executions import Execution, Executions, Outcome
from tests.sandbox.mediarithmics_exports import Exports
from tests.sandbox.mediarithmics_imports import Imports
from tests.sandbox.mediarithmics_otql import DATE_FORMS
from tests.sandbox.mediarithmics_schemas import Schemas
from tests.sandbox.mediarithmics_shop import shop_objects
from tests.sandbox.mediarithmics_wire import Wire
from tests.sandbox.vendor import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.sandbox.mediarithmics_executions import Kind

_DAY_MS = 86_400_000

#: The shop's own exports: name, query, and how many days ago each was run.
_DEFAULT_EXPORTS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    (
        "Customers for Monetate",
        (
            "SELECT { id creation_ts accounts { user_account_id } emails { email } profiles {"
            " first_name city loyalty_points lifetime_value newsletter interests"
            " last_modified_ts } }"
            " FROM UserPoint WHERE is_defined(accounts)"
        ),
        (1,),
    ),
    (
        "Visits",
        (
            "SELECT { id ts type channel_id duration events { id ts name url"
            " basket { order_id amount currency } } } FROM UserActivity"
        ),
        (2, 1),
    ),
    (
        "Newsletter e-mails",
        'SELECT { emails { id } } FROM UserPoint WHERE segments { id = "18001" }',
        (),
    ),
)

#: The example on the vendor's page: id, created, started, ended, tasks, done, erroneous.
_SAMPLE_EXECUTIONS = (
    (4564564, 1535555844642, 1535555850435, 1535556187942, None, None, None),
    (9879879, 1561655188369, 1561655192158, 1561655605298, 284602, 263822, 20780),
    (7897897, 1562595783663, 1562595789171, 1562596081788, 299808, 277105, 22703),
)


class Mediarithmics(Wire):
    """The API of one organisation with one datamart."""

    name = "mediarithmics"
    prefixes = ("/mediarithmics/v1",)
    tables = executions_module.TABLES + exports_module.TABLES + imports_module.TABLES

    live_schema_id: ClassVar[str] = "312"

    def reset(self) -> None:
        """Reset settings, remove executions, and recreate the shop and its exports."""
        super().reset()
        self.executions = Executions(self.store, self._milliseconds)
        self._exports = Exports(self)
        self._imports = Imports(self)
        self.executions.finishers = {
            "export": self._exports.finish,
            "import": self._imports.finish,
        }
        #: Polls of an import's execution before its `parameters` are filled.
        self.polls_until_parameters = 2
        #: An open import execution has status PENDING with a result, as on the vendor's page.
        self.pending_with_result = False
        self.files_per_execution = 1
        self.date_forms = set(DATE_FORMS)
        self.error_shape = "json"
        #: (document type, document) -> a reason, or True, to fail a line that breaks no rule.
        self.refuse_if: Callable[[str, dict[str, Any]], str | bool | None] | None = None
        #: Which rules of the vendor's pages are enforced.
        self.rules = Rules()
        self.max_upload_bytes: int | None = None
        #: Seconds that creating an import takes, so that two creations overlap.
        self.creation_latency = 0.0
        self.forced_results: dict[str, list[bytes]] = {}
        if not self.store.value("SELECT count(*) FROM mediarithmics_exports"):
            self._open_shop()

    def _open_shop(self) -> None:
        # Cached per hour, so that a reset costs next to nothing.
        objects = shop_objects(self.sandbox.seed, self.now.timestamp() // 3600 * 3600)
        for object_type, items in objects.items():
            self.set_objects(object_type, items)
        for name, text, days in _DEFAULT_EXPORTS:
            export_id = self.add_export(name, text)
            for day in days:
                self.add_execution(export_id, created=self._milliseconds() - day * _DAY_MS)

    def _milliseconds(self) -> int:
        return int(self.now.timestamp() * 1000)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. Handlers are looked up at each request, as `reset()` renews them."""
        base = self.prefixes[0]
        return [
            *Exports(self).routes(base),
            *Imports(self).routes(base),
            *Schemas(self).routes(base),
            web.get(f"{base}/data_file/data", self._data_file, allow_head=False),
        ]

    # For tests: time and outcomes.

    @property
    def polls_until_done(self) -> int:
        """The number of polls until an execution ends (default 2)."""
        return self.executions.polls_until_done

    @polls_until_done.setter
    def polls_until_done(self, polls: int) -> None:
        self.executions.polls_until_done = polls

    def hold(self) -> None:
        """Keep executions started from now on PENDING, regardless of polls."""
        self.executions.holding = True

    def release(self) -> None:
        """Release held executions."""
        self.executions.release()

    def start(self, execution_id: int | str) -> None:
        """Make an execution RUNNING."""
        self.executions.start(self._existing(execution_id))

    def finish(self, execution_id: int | str, status: str = "SUCCEEDED", **outcome: Any) -> None:
        """End an execution immediately; the options are those of `plan`."""
        execution = self._existing(execution_id)
        execution.outcome = Outcome(status=status, **outcome)
        self.executions.end(execution)

    def plan(self, kind: Kind, **outcome: Any) -> None:
        """Set the outcome of the next execution to start; several plans are queued.

        Args:
            kind: `export` or `import`.
            outcome: status, error (null, a text or {"message"}), error_file (the text for a FAILED
                export), erroneous_ratio (of the tasks), null_result, files (bytes each),
                possible_issue_on_identifiers, lose_error_file, land_when_failed.
        """
        self.executions.plans[kind].append(Outcome(**outcome))

    def execution(self, execution_id: int | str) -> dict[str, Any]:
        """Return an execution as in the API, without counting as a poll."""
        return self._existing(execution_id).as_dict(self.organisation_id)

    @property
    def max_open_executions(self) -> int:
        """The maximum number of concurrently open executions of one export or import."""
        return max(self.executions.max_open.values(), default=0)

    def _existing(self, execution_id: int | str) -> Execution:
        execution = self.executions.get(execution_id)
        if execution is None:
            raise KeyError(execution_id)
        return execution

    # For tests: exports.

    def exports(self) -> list[dict[str, Any]]:
        """Return all exports as in the API, newest first."""
        return self._exports.all()

    def add_query(self, text: str) -> str:
        """Store a query and return its id."""
        return self._exports.add_query(text)

    def query_text(self, query_id: str) -> str | None:
        """Return the text of a query."""
        return self._exports.query_text(query_id)

    def add_export(self, name: str, query: str) -> str:
        """Store an export and return its id.

        Args:
            name: Its name.
            query: The id of a query, or the text of a new one.
        """
        query_id = query if query.isdigit() else self.add_query(query)
        return self._exports.add_export(name, query_id)

    def add_execution(
        self,
        export_id: str,
        *,
        created: int | None = None,
        status: str = "SUCCEEDED",
        files: Sequence[bytes | Iterable[bytes]] | None = None,
        **outcome: Any,
    ) -> str:
        """Add a past execution to an export and return its id.

        Args:
            export_id: The export.
            created: When it was launched, in epoch ms; default: a second ago.
            status: Its status; PENDING and RUNNING ones stay open until enough polls.
            files: Its output files, bytes or pieces of bytes; None runs the export's query.
            outcome: As in `plan`.
        """
        export = self._exports.export(export_id)
        if export is None:
            raise KeyError(export_id)
        moment = self._milliseconds() - 1000 if created is None else created
        ends = status not in {"PENDING", "RUNNING"}
        execution = Execution(
            id=self.executions.next_id(),
            kind="export",
            parent=export["id"],
            creation_date=moment,
            status="PENDING" if ends else status,
            outcome=Outcome(status=status if ends else "SUCCEEDED", **outcome),
            detail={"query_text": self.query_text(export["query_id"])},
        )
        self.executions.add(execution)
        if ends:
            self.executions.end(execution)
            if files is not None:
                pieces = [[item] if isinstance(item, bytes) else item for item in files]
                self._exports.write_files(execution, pieces)
                if not execution.outcome.null_result:
                    execution.result = {"output_files": execution.detail["files"]}
            execution.start_date, execution.end_date = moment + 4_000, moment + 300_000
            self.executions.save(execution)
        return str(execution.id)

    def add_sample_executions(self, export_id: str, lines: bytes = b'{"id":"1"}\n') -> list[str]:
        """Add the executions of the vendor page's example: 7 % of the tasks are erroneous."""
        for number, created, started, ended, tasks, done, erroneous in _SAMPLE_EXECUTIONS:
            execution = Execution(
                id=number,
                kind="export",
                parent=export_id,
                creation_date=created,
                status="SUCCEEDED",
                start_date=started,
                end_date=ended,
                result={"output_files": ["export"]},
                num_tasks=tasks,
                completed_tasks=done,
                erroneous_tasks=erroneous,
            )
            self._exports.write_files(execution, [[lines]])
            self.executions.add(execution)
        return [str(sample[0]) for sample in _SAMPLE_EXECUTIONS]

    def set_result(self, export_id: str, files: list[bytes]) -> None:
        """Set the output files of all future executions of an export."""
        self.forced_results[export_id] = files

    def set_objects(self, object_type: str, objects: Iterable[dict[str, Any]]) -> None:
        """Replace all objects of a type with these, for queries."""
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM mediarithmics_objects WHERE type = ?", (object_type,))
            connection.executemany(
                "INSERT INTO mediarithmics_objects (type, object) VALUES (?, ?)",
                [(object_type, msgspec.json.encode(item).decode()) for item in objects],
            )

    def objects(self, object_type: str) -> list[dict[str, Any]]:
        """Return the objects of a type."""
        return self._exports.objects(object_type)

    # For tests: imports.

    def imports(self) -> list[dict[str, Any]]:
        """Return all document imports as in the API, oldest first."""
        return self._imports.all()

    def add_import(self, name: str, document_type: str, **more: str) -> str:
        """Store a document import (ndjson by default) and return its id."""
        return self._imports.add(
            {
                "name": name,
                "document_type": document_type,
                "mime_type": "APPLICATION_X_NDJSON",
                **more,
            },
        )

    def import_executions(self, import_id: str | None = None) -> list[Execution]:
        """Return the executions of an import, or of all imports, oldest first."""
        return self.executions.of("import", import_id)[::-1]

    def export_executions(self, export_id: str | None = None) -> list[Execution]:
        """Return the executions of an export, or of all exports, oldest first."""
        return self.executions.of("export", export_id)[::-1]

    def documents(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the accepted lines, in the order in which they were stored.

        Args:
            name: The id or the name of an import; None: all.
        """
        rows = self.store.rows(
            "SELECT document FROM mediarithmics_documents WHERE ? IS NULL OR import_id = ?"
            " OR import_id IN (SELECT id FROM mediarithmics_imports WHERE name = ?)"
            " ORDER BY number",
            name,
            name,
            name,
        )
        return [json.loads(row["document"]) for row in rows]

    def activities(self) -> list[dict[str, Any]]:
        """Return the stored activities: one for each `$unique_key`, and all without one."""
        rows = self.store.rows("SELECT document FROM mediarithmics_activities ORDER BY number")
        return [json.loads(row["document"]) for row in rows]

    def profiles(self) -> dict[str, dict[str, Any]]:
        """Return the user profiles by identifier, such as `email_hash=5d41…`."""
        rows = self.store.rows("SELECT * FROM mediarithmics_profiles ORDER BY identifier")
        return {row["identifier"]: json.loads(row["profile"]) for row in rows}

    def members(self, segment: str) -> dict[str, int]:
        """Return the members of a segment (id or technical name): identifier to expiration."""
        rows = self.store.rows(
            "SELECT * FROM mediarithmics_segments WHERE segment = ? ORDER BY identifier",
            segment,
        )
        return {row["identifier"]: row["expiration_duration"] for row in rows}

    def choices(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the user choices by identifier and processing."""
        rows = self.store.rows("SELECT * FROM mediarithmics_choices")
        return {
            (row["identifier"], row["processing_id"]): json.loads(row["choice"]) for row in rows
        }

    async def _data_file(self, request: web.Request) -> web.Response:
        return await self._exports.data_file(request)

    def sections(self) -> list[Section]:
        """Return executions, imports and stored documents."""
        columns = ("id", "of", "status", "tasks", "erroneous", "result")

        def shown(kind: Kind) -> list[tuple[Any, ...]]:
            return [
                (
                    item.id,
                    item.parent,
                    item.status,
                    item.num_tasks,
                    item.erroneous_tasks,
                    json.dumps(item.result),
                )
                for item in self.executions.of(kind)[:10]
            ]

        documents = self.store.rows(
            "SELECT execution_id, line, document FROM mediarithmics_documents"
            " ORDER BY number DESC LIMIT 10",
        )
        return [
            Section(
                "Exports",
                ("id", "name", "query"),
                [
                    (item["id"], item["name"], self.query_text(item["query_id"]))
                    for item in self.exports()
                ],
            ),
            Section("Executions of exports", columns, shown("export")),
            Section(
                "Document imports",
                ("id", "name", "type", "mime type"),
                [
                    (item["id"], item["name"], item["document_type"], item["mime_type"])
                    for item in self.imports()
                ],
            ),
            Section("Executions of imports", columns, shown("import")),
            Section(
                "Newest documents",
                ("execution", "line", "document"),
                [(row["execution_id"], row["line"], row["document"]) for row in documents],
            ),
        ]
