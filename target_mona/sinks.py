"""Turn Singer records into Mona messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.sink import FieldNameCache, MartechSink, SinkTarget
from singer_martech.mapping.filters import as_text
from singer_martech.mapping.undefined import is_undefined
from singer_martech.values.json_codec import encode
from target_mona import context_id, export_timestamp
from target_mona.rules import ACTION, ACTIONS, MESSAGE, RESERVED_NAME, RESERVED_PREFIX
from target_mona.stream_mapping import KEYS, StreamMapping, arc_class

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from target_mona.destination import ExportDestination
    from target_mona.stream_mapping import ArcClasses


class MonaSinkTarget(SinkTarget, Protocol):
    """What the sinks need of the target."""

    arc_classes: ArcClasses

    @property
    def export_destination(self) -> ExportDestination:
        """The destination that all streams share."""


class MonaSink(MartechSink):
    """Loads one stream into Mona."""

    target: MonaSinkTarget
    mapping_keys = KEYS

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        StreamMapping.from_mapping(name, mapping, [])

    @override
    def prepare(self) -> None:
        self._stream_mapping = StreamMapping.from_mapping(
            self.stream_name, self.mapping or {}, self.key_properties
        )
        self.target.arc_classes.add(self.stream_name, self._stream_mapping)
        self.destination = self.target.destination(self.target.export_destination)
        self._allowed_names = FieldNameCache()

    @override
    def ledger_collection(self) -> str:
        self._stream_mapping.check_for_ledger(self.stream_name, (self.mapping or {}).get("action"))
        arc = self._stream_mapping.fixed_arc
        return "" if arc is None else arc.name

    @override
    def accepts_names(self, names: tuple[str, ...]) -> bool:
        is_reserved = any(name.startswith(RESERVED_PREFIX) for name in names)
        return super().accepts_names(names) and not is_reserved

    @override
    def reads(self) -> Collection[str] | None:
        return self._stream_mapping.reads

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        mapping = self._stream_mapping
        arc = mapping.fixed_arc or arc_class(as_text(_given(mapping.arc_class(record))))
        context = self._context_id(record, arc.dots)
        action = None if mapping.action is None else _action(mapping.action(record))
        parts = [arc.prefix]
        if context is not None:
            parts += (b'"contextId":', encode(context), b",")
        if mapping.export_timestamp is not None:
            parts.append(self._export_timestamp(mapping.export_timestamp(record)))
        if action is not None:
            parts.append(b'"action":"%s",' % action.encode())
        parts += (b'"message":', self._message(record, raw_json), b"}")
        return PendingRecord(
            None if context is None else (arc.name, context),
            b"".join(parts),
            idempotent=context is not None and action != "ADD",
        )

    def _context_id(self, record: Mapping[str, Any], dots: int) -> str | None:
        mapping = self._stream_mapping
        if mapping.context_template is not None:
            text = context_id.of_value(_given(mapping.context_template(record)))
        elif mapping.context_fields:
            text = context_id.of_values(map(record.get, mapping.context_fields))
            if not text:
                self.warn_once(
                    "context_id",
                    f"a record has no value in {', '.join(mapping.context_fields)}, so it is sent "
                    "without context id: if it is sent again, it counts twice",
                )
        else:
            return None
        return context_id.escaped(text, dots) if text else None

    def _export_timestamp(self, value: Any) -> bytes:
        value = _given(value)
        if value is None:
            return b""
        if not export_timestamp.is_usual(value):
            self.warn_once(
                "export_timestamp",
                f"Mona does not document export timestamps such as {value!r}; they are sent as "
                "given",
            )
        return b'"exportTimestamp":%s,' % encode(value)

    def _message(self, record: dict[str, Any], raw_json: bytes | None) -> bytes:
        template = self._stream_mapping.message
        if template is None and raw_json is not None and b'"' in raw_json:
            return raw_json  # not empty, and its names are accepted
        message: Any = record if template is None else template(record)
        if not isinstance(message, dict) or not message:
            raise MESSAGE.broken_by("its message would be empty or of another type")
        names = tuple(message)
        if names not in self._allowed_names:
            renamed = self._without_reserved(message)
            if renamed is not message:
                return encode(renamed)
            self._allowed_names.add(names)
        return encode(message)

    def _without_reserved(self, message: dict[str, Any]) -> dict[str, Any]:
        """Rename reserved fields as the vendor's own client does."""
        reserved = [name for name in message if name.startswith(RESERVED_PREFIX)]
        if not reserved:
            return message
        self.warn_once(
            "reserved",
            f"names that start with {RESERVED_PREFIX} are reserved by Mona; {reserved[0]} becomes "
            f"MY_{reserved[0]}",
        )
        renamed = {
            f"MY_{name}" if name in reserved else name: value for name, value in message.items()
        }
        if len(renamed) != len(message):
            raise RESERVED_NAME.broken_by(f"it has both {reserved[0]} and MY_{reserved[0]}")
        return renamed


def _given(value: Any) -> Any:
    """Return a value, or None if it is undefined or empty."""
    return None if is_undefined(value) or value == "" else value


def _action(value: Any) -> str | None:
    action = _given(value)
    if action is not None and action not in ACTIONS:
        raise ACTION.broken_by(f"its action would be '{action}'")
    return None if action is None else str(action)
