"""What a Singer record becomes as a Mona message."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.bisect import Bisector, PartialRejection
from singer_martech.delivery.destination import Destination
from singer_martech.delivery.sink import FieldNameCache, MartechSink, SinkTarget
from singer_martech.errors import MappingError, SettingError
from singer_martech.mapping.filters import as_text
from singer_martech.mapping.stream_mappings import compiled
from singer_martech.mapping.template import fields_of
from singer_martech.mapping.undefined import is_undefined
from singer_martech.values.json_codec import encode
from singer_martech.values.timestamps import iso, parse_timestamp
from target_mona import context_id
from target_mona.client import PartialFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from singer_martech.delivery.batch import Batch
    from singer_martech.delivery.batch_result import BatchResult
    from singer_martech.http.request import RequestStats
    from singer_martech.mapping.template import Template
    from target_mona.client import MonaClient

ACTIONS = ("OVERWRITE", "ADD", "NEW")
_ARC_CLASS = re.compile(r"[\w@-]+(\.[\w@-]+)*", re.ASCII)
_EPOCH = re.compile(r"([0-9]{10}|[0-9]{13})(\.[0-9]+)?")
_RESERVED = "MONA_"
_TEN_DIGITS = range(10**9, 10**10)
_THIRTEEN_DIGITS = range(10**12, 10**13)


class ExportDestination(Destination):
    """The export endpoint, which takes the messages of all streams.

    Args:
        client: Sends the requests.
        max_rows: See :class:`singer_martech.delivery.batch.Destination`.
        max_bytes: Likewise.
    """

    name = "Mona export"

    def __init__(self, client: MonaClient, max_rows: int, max_bytes: int) -> None:
        """Log in, where the user id is not known without."""
        self._client = client
        self._bisector = Bisector("'user_id' and the mappings in 'streams'")
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # each message counts with a comma, of which there is one fewer
        self.envelope_bytes = sum(map(len, client.envelope)) - 1

    @override
    def send(self, batch: Batch, batch_result: BatchResult) -> None:
        def post(records: Sequence[PendingRecord], *, idempotent: bool) -> None:
            _post(self._client, records, batch_result.stats, idempotent=idempotent)

        self._bisector.send(batch, batch_result, post)

    @override
    def preview(self, records: Iterable[PendingRecord]) -> str:
        body = self._client.body([record.body for record in records])
        return f"POST {self._client.url} {body.decode()}"


def _post(
    client: MonaClient, records: Sequence[PendingRecord], stats: RequestStats, *, idempotent: bool
) -> None:
    try:
        client.export([record.body for record in records], idempotent=idempotent, stats=stats)
    except PartialFailure as rejection:
        raise PartialRejection(str(rejection), rejection.reasons, rejection.status) from rejection


class MonaSinkTarget(SinkTarget, Protocol):
    """What the sinks need of the target."""

    @property
    def export_destination(self) -> ExportDestination:
        """The destination that all streams share."""


class MonaSink(MartechSink):
    """One stream on its way to Mona."""

    target: MonaSinkTarget
    mapping_keys = ("arc_class", "context_id", "export_timestamp", "message", "action")

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        _StreamMapping.from_mapping(name, mapping, [])

    @override
    def prepare(self) -> None:
        self._stream_mapping = _StreamMapping.from_mapping(
            self.stream_name, self.mapping or {}, self.key_properties
        )
        self.destination = self.target.destination(self.target.export_destination)
        self._renames_warned = False
        self._allowed_names = FieldNameCache()

    @override
    def accepts_names(self, names: tuple[str, ...]) -> bool:
        is_reserved = any(name.startswith(_RESERVED) for name in names)
        return super().accepts_names(names) and not is_reserved

    @override
    def reads(self) -> Collection[str] | None:
        return self._stream_mapping.reads

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        stream_mapping = self._stream_mapping
        arc = stream_mapping.fixed_arc or _arc(_text(stream_mapping.arc_class(record)))
        context = self._context_id(record, arc.dots)
        action = None if stream_mapping.action is None else _action(stream_mapping.action(record))
        parts = [arc.prefix]
        if context is not None:
            parts += (b'"contextId":', encode(context), b",")
        if stream_mapping.export_timestamp is not None:
            parts.append(_timestamp(stream_mapping.export_timestamp(record)))
        if action is not None:
            parts.append(b'"action":"%s",' % action.encode())
        parts += (b'"message":', self._message(record, raw_json), b"}")
        return PendingRecord(
            None if context is None else (arc.name, context),
            b"".join(parts),
            idempotent=context is not None and action != "ADD",
        )

    def _context_id(self, record: Mapping[str, Any], dots: int) -> str | None:
        stream_mapping = self._stream_mapping
        if stream_mapping.context_template is not None:
            value = stream_mapping.context_template(record)
            if value is None or is_undefined(value):
                return None
            text = context_id.of_value(value)
        elif len(stream_mapping.context_fields) == 1:
            text = context_id.of_value(record.get(stream_mapping.context_fields[0]))
        elif stream_mapping.context_fields:
            text = context_id.of_values(map(record.get, stream_mapping.context_fields))
        else:
            return None
        return context_id.acceptable(text, dots)

    def _message(self, record: dict[str, Any], raw_json: bytes | None) -> bytes:
        template = self._stream_mapping.message
        if template is None and raw_json is not None and b'"' in raw_json:
            return raw_json  # it is not empty, and its names are known to be taken
        message: Any = record if template is None else template(record)
        if not isinstance(message, dict) or not message:
            raise MappingError(
                "its message would be empty; Mona takes objects with a field or more"
            )
        names = tuple(message)
        if names not in self._allowed_names:
            renamed = self._without_reserved(message)
            if renamed is not message:
                return encode(renamed)
            self._allowed_names.add(names)
        return encode(message)

    def _without_reserved(self, message: dict[str, Any]) -> dict[str, Any]:
        """Rename fields as the vendor's own client does."""
        reserved = [name for name in message if name.startswith(_RESERVED)]
        if not reserved:
            return message
        if not self._renames_warned:
            self._renames_warned = True
            self.logger.warning(
                "stream '%s': names that start with %s are reserved by Mona; %s becomes MY_%s",
                self.stream_name,
                _RESERVED,
                reserved[0],
                reserved[0],
            )
        renamed = {
            f"MY_{name}" if name in reserved else name: value for name, value in message.items()
        }
        if len(renamed) != len(message):
            raise MappingError(f"it has both {reserved[0]}, a reserved name, and MY_{reserved[0]}")
        return renamed


class _StreamMapping(NamedTuple):
    """A mapping, compiled."""

    fixed_arc: _Arc | None
    arc_class: Template
    context_fields: Sequence[str]
    context_template: Template | None
    export_timestamp: Template | None
    message: Template | None
    action: Template | None

    @property
    def reads(self) -> set[str] | None:
        """The fields of a record that it looks at; None where it may look at all."""
        templates = (self.arc_class, self.context_template, self.export_timestamp)
        read = fields_of(*templates, self.message, self.action)
        return None if read is None else read.union(self.context_fields)

    @classmethod
    def from_mapping(
        cls, stream: str, mapping: Mapping[str, Any], key_properties: Sequence[str]
    ) -> _StreamMapping:
        """Compile a mapping.

        Raises:
            SettingError: A value of it cannot be used.
        """

        def optional(key: str) -> Template | None:
            value = mapping.get(key)
            return None if value is None else compiled(value, stream, key)

        fields, template = _context_source(stream, mapping.get("context_id"), key_properties)
        timestamp = mapping.get("export_timestamp")
        if isinstance(timestamp, str) and "{{" not in timestamp:
            timestamp = _field(timestamp)
        _check_constants(stream, mapping)
        arc_class = mapping.get("arc_class") or _default_arc_class(stream)
        return cls(
            _arc(arc_class) if "{{" not in arc_class else None,
            compiled(arc_class, stream, "arc_class"),
            fields,
            template,
            None if timestamp is None else compiled(timestamp, stream, "export_timestamp"),
            optional("message"),
            optional("action"),
        )


def _context_source(
    stream: str, value: Any, key_properties: Sequence[str]
) -> tuple[Sequence[str], Template | None]:
    if value is None:
        return tuple(key_properties), None
    if isinstance(value, str):
        if "{{" in value:
            return (), compiled(value, stream, "context_id")
        return (value,), None
    if (
        isinstance(value, list)
        and value
        and all(isinstance(field, str) and "{{" not in field for field in value)
    ):
        return tuple(value), None
    raise SettingError(
        f"setting 'streams': stream '{stream}', key 'context_id': must be a list of fields "
        "or one template"
    )


def _check_constants(stream: str, mapping: Mapping[str, Any]) -> None:
    """Check what can be checked without a record."""
    arc_class, action = mapping.get("arc_class"), mapping.get("action")
    message = mapping.get("message")
    problem = None
    if arc_class is not None and not isinstance(arc_class, str):
        problem = "'arc_class': must be text or a template"
    elif arc_class and "{{" not in arc_class and not _ARC_CLASS.fullmatch(arc_class):
        problem = "'arc_class': may hold letters, digits, '-', '_', '@' and, between them, dots"
    elif action is not None and "{{" not in str(action) and action not in ACTIONS:
        problem = f"'action': must be one of {', '.join(ACTIONS)}"
    elif message is not None and (
        not isinstance(message, (dict, str)) or (isinstance(message, str) and "{{" not in message)
    ):
        problem = "'message': must be an object, or a template that makes one"
    if problem:
        raise SettingError(f"setting 'streams': stream '{stream}', key {problem}")


def _field(name: str) -> str:
    """Return the template of a field, whatever characters its name has."""
    return f"{{{{ record[{encode(name).decode()}] }}}}"


def _default_arc_class(stream: str) -> str:
    allowed = re.sub(r"[^\w@.-]", "_", stream, flags=re.ASCII)
    return ".".join(filter(None, allowed.split("."))) or "_"


class _Arc(NamedTuple):
    name: str
    prefix: bytes
    dots: int


@lru_cache(maxsize=1024)
def _arc(name: str) -> _Arc:
    if not _ARC_CLASS.fullmatch(name):
        raise MappingError(f"its arcClass would be '{name}', which Mona does not allow")
    return _Arc(name, b'{"arcClass":%s,' % encode(name), name.count("."))


def _action(value: Any) -> str | None:
    if value is None or is_undefined(value):
        return None
    if value not in ACTIONS:
        raise MappingError(f"its action would be '{value}'; known are {', '.join(ACTIONS)}")
    return str(value)


def _text(value: Any) -> str:
    return "" if is_undefined(value) else as_text(value)


def _timestamp(value: Any) -> bytes:
    """Write a point in time as Mona takes it: 10 digits, 13 digits, or ISO-8601."""
    if value is None or is_undefined(value):
        return b""
    try:
        if isinstance(value, str) and _EPOCH.fullmatch(value.strip()):
            value = Decimal(value.strip())
        point = parse_timestamp(value)
    except (ValueError, ArithmeticError) as error:
        raise MappingError("its exportTimestamp is not a point in time") from error
    milliseconds = round(point.timestamp() * 1000)
    seconds, rest = divmod(milliseconds, 1000)
    if not rest and seconds in _TEN_DIGITS:
        return b'"exportTimestamp":%d,' % seconds
    if milliseconds in _THIRTEEN_DIGITS:
        return b'"exportTimestamp":%d,' % milliseconds
    return b'"exportTimestamp":"%s",' % iso(point).encode()
