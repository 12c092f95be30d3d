"""The setting ``exports``: one item per stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from jsonschema import Draft7Validator, SchemaError
from singer_sdk import typing as th

from tap_mediarithmics import otql, timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START = "{start}"
METADATA_STREAMS = ("exports", "export_executions")
ADDED_COLUMNS = ("_execution_id", "_execution_creation_date", "_line")
_SOURCES = ("export_id", "query_id", "query")


@dataclass(frozen=True)
class ExportConfig:
    """One item of ``exports``. Exactly one of the three sources is set.

    Attributes:
        stream: The stream's name.
        query: OTQL text. With ``{start}`` in it, the stream is incremental.
        mode: ``latest``, ``all`` or ``run``.
        schema: JSON Schema of one line, to declare the columns.
    """

    stream: str
    export_id: str | None = None
    query_id: str | None = None
    query: str | None = None
    mode: str = "latest"
    primary_keys: tuple[str, ...] = ()
    replication_key: str | None = None
    lookback_seconds: float = 0
    start_format: str | None = None
    schema: Mapping[str, Any] | None = None
    max_error_ratio: float | None = None

    @classmethod
    def from_config(cls, fields: Mapping[str, Any]) -> ExportConfig:
        """Create it from an item that ``problems`` accepts."""
        given = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        given["primary_keys"] = tuple(given.get("primary_keys") or ())
        given.setdefault("mode", "latest" if given.get("export_id") else "run")
        return cls(**given)

    @property
    def is_incremental(self) -> bool:
        """Whether the query has ``{start}``."""
        return self.query is not None and START in self.query

    @property
    def default_name(self) -> str:
        """The name of the export that the tap creates."""
        return f"singer-martech {self.stream}"

    @property
    def error_allowance(self) -> float | None:
        """Maximum ratio of failed tasks, or None to warn only."""
        if self.max_error_ratio is None and self.is_incremental:
            return 0
        return self.max_error_ratio


def exports_setting() -> th.Property[Any]:
    """Declare the setting."""
    return th.Property(
        "exports",
        th.ArrayType(
            th.ObjectType(
                th.Property(
                    "stream",
                    th.StringType(min_length=1),
                    required=True,
                    description="Name of the stream.",
                ),
                th.Property(
                    "export_id",
                    th.StringType,
                    description="ID of an existing export.",
                ),
                th.Property("query_id", th.StringType, description="ID of a stored query."),
                th.Property(
                    "query",
                    th.StringType,
                    description=(
                        "OTQL text. {start} in it makes the stream incremental: the bookmark of "
                        "`replication_key` replaces it."
                    ),
                ),
                th.Property(
                    "mode",
                    th.StringType,
                    allowed_values=["latest", "all", "run"],
                    description=(
                        "Executions to read: `latest`, the newest one if it is new; `all`, every "
                        "new one; `run`, one that this run launches. Default: `latest`; `run` for "
                        "`query` and `query_id`."
                    ),
                ),
                th.Property(
                    "primary_keys",
                    th.ArrayType(th.StringType),
                    description=(
                        "Columns that identify a line. Default: execution and line number."
                    ),
                ),
                th.Property(
                    "replication_key",
                    th.StringType,
                    description="Column whose largest value is the bookmark.",
                ),
                th.Property(
                    "lookback_seconds",
                    th.NumberType(minimum=0),
                    default=0,
                    description="Seconds before the bookmark at which {start} lies.",
                ),
                th.Property(
                    "start_format",
                    th.StringType,
                    allowed_values=["epoch_ms", "iso", "date"],
                    description=("Form of {start}. Default: by the type of `replication_key`."),
                ),
                th.Property(
                    "schema",
                    th.ObjectType(additional_properties=True),
                    description="JSON Schema of one line, to declare the columns.",
                ),
                th.Property(
                    "max_error_ratio",
                    th.NumberType(minimum=0, maximum=1),
                    description=(
                        "Maximum ratio of failed tasks of an execution, 0 to 1. Above it the run "
                        "fails before that execution. Default: warn only; 0 for an incremental "
                        "query."
                    ),
                ),
                additional_properties=False,
            )
        ),
        default=[],
        description="Exports and queries to read, one object per stream.",
    )


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each problem of an item, with its index."""
    streams: dict[str, int] = {}
    for index, fields in enumerate(config.get("exports") or ()):
        path = f"exports[{index}]"
        name = fields["stream"]
        if name in METADATA_STREAMS:
            yield f"setting '{path}.stream': the tap has a stream '{name}' of its own"
        elif name in streams:
            first = f"exports[{streams[name]}].stream"
            yield f"setting '{path}.stream' is the same as '{first}': '{name}'"
        streams.setdefault(name, index)
        yield from _source_problems(fields, path, config)
        yield from _schema_problems(fields, path)


def _source_problems(
    fields: Mapping[str, Any], path: str, config: Mapping[str, Any]
) -> Iterator[str]:
    given = [source for source in _SOURCES if fields.get(source)]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of them"
        yield f"setting '{path}' must have one of {', '.join(_SOURCES)}, but {found}"
    if "query" in given:
        if not config.get("datamart_id"):
            yield f"setting 'datamart_id' is required, because '{path}.query' is a query as text"
        yield from _query_problems(fields, path)


def _query_problems(fields: Mapping[str, Any], path: str) -> Iterator[str]:
    query = str(fields["query"])
    try:
        parsed = otql.parse(query)
    except otql.AggregationQuery as error:
        yield f"setting '{path}.query': {error}"
        return
    except otql.UnknownOtql:
        parsed = None
    if START in query:
        yield from _incremental_problems(fields, path)
    if parsed is not None:
        yield from _key_problems(fields, path, parsed)


def _incremental_problems(fields: Mapping[str, Any], path: str) -> Iterator[str]:
    reason = f"because '{path}.query' holds {START}"
    if fields.get("mode", "run") != "run":
        yield f"setting '{path}.mode' must be run, {reason}"
    if not fields.get("replication_key"):
        yield f"setting '{path}.replication_key' is required, {reason}"


def _key_problems(fields: Mapping[str, Any], path: str, parsed: otql.Query) -> Iterator[str]:
    columns = {*parsed.selection.fields, *ADDED_COLUMNS}
    for name in ("replication_key", "primary_keys"):
        keys = fields.get(name) or ()
        for key in (keys,) if isinstance(keys, str) else keys:
            if key not in columns:
                yield f"setting '{path}.{name}': the query does not select '{key}'"


def _schema_problems(fields: Mapping[str, Any], path: str) -> Iterator[str]:
    schema = fields.get("schema")
    if schema is None:
        return
    if not isinstance(schema.get("properties"), dict) or schema.get("type", "object") != "object":
        wanted = "the JSON Schema of a line: type object, with properties"
        yield f"setting '{path}.schema' must be {wanted}"
        return
    try:
        Draft7Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        yield f"setting '{path}.schema' is not a valid JSON Schema at '{where}'"
        return
    yield from _undeclared_keys(fields, path, schema["properties"])


def _undeclared_keys(
    fields: Mapping[str, Any], path: str, properties: Mapping[str, Any]
) -> Iterator[str]:
    keys = [*(fields.get("primary_keys") or ()), fields.get("replication_key")]
    for key in keys:
        if key and key not in properties and key not in ADDED_COLUMNS:
            yield f"setting '{path}.schema' has no property '{key}', which is used as a key"


def start_date_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if ``start_date`` is not a date, or is in the future everywhere."""
    text = config.get("start_date")
    if not text:
        return
    start = timestamps.parse(str(text))
    if start is None:
        yield "setting 'start_date' must be a date or date-time such as 2026-01-31"
    elif start > datetime.now(timezone.utc) + timedelta(days=1):
        yield f"setting 'start_date' ({text}) is in the future, so nothing would be read"
