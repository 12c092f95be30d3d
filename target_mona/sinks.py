"""Turn Singer records into Mona messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.sink import MartechSink
from singer_martech.delivery.sink_target import SinkTarget
from singer_martech.mapping.field_name_cache import FieldNameCache
from singer_martech.mapping.filters import as_text
from singer_martech.values.json_codec import encode
from target_mona import context_id, export_timestamp
from target_mona.rules import ACTION, ACTIONS, MESSAGE, RESERVED_NAME, RESERVED_PREFIX
from target_mona.stream_mapping import KEYS, StreamMapping, arc_class

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from target_mona.destination import ExportDestination
    from target_mona.stream_mapping import ArcClass, ArcClasses

_ESCAPED = '"\\.%'
"""Characters that a context id, or JSON text, may not have as they are."""


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
    field_keys = ("context_id", "export_timestamp")

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
    def fast_path(self) -> FastPath | None:
        fast_path = super().fast_path()
        if fast_path is not None:
            mapping, reads = self._stream_mapping, fast_path.reads
            self._values_of_fields = mapping.values.of_fields(reads)
            self._key_indexes = [reads.index(name) for name in mapping.context_fields]
        return fast_path

    @override
    def map_block(
        self, values: Sequence[tuple[Any, ...] | None], records: Sequence[bytes]
    ) -> list[PendingRecord] | None:
        arc = self._stream_mapping.plain_arc
        keys = None if arc is None else _plain_keys(values)
        if arc is None or keys is None:
            return None
        # common case: the records as received, with the text of one field as context id
        start = f'{arc.prefix.decode()}"contextId":"'
        heads = [f'{start}{key}","message":'.encode() for key in keys]
        return [
            PendingRecord((arc.name, key), b"".join((head, record, b"}")))
            for key, head, record in zip(keys, heads, records, strict=True)
        ]

    @override
    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord:
        keys = [values[index] for index in self._key_indexes]
        return self._pending(self._values_of_fields(values), keys, {}, raw_json)

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        mapping = self._stream_mapping
        keys = [record.get(name) for name in mapping.context_fields]
        return self._pending(mapping.values(record), keys, record, raw_json)

    def _pending(
        self,
        values: Mapping[str, Any],
        keys: Sequence[Any],
        record: dict[str, Any],
        raw_json: bytes | None,
    ) -> PendingRecord:
        """Return a message.

        Args:
            values: The values of the mapping's templates.
            keys: The values of the fields that make the context id.
            record: The record; only needed if it is the message and ``raw_json`` is None.
            raw_json: The record as received.
        """
        mapping = self._stream_mapping
        arc = mapping.fixed_arc or arc_class(as_text(_given(values.get("arc_class"))))
        context = self._context_id(values.get("context_id"), keys, arc.dots)
        timestamp = self._export_timestamp(values.get("export_timestamp"))
        action = _action(values.get("action"))
        if "message" not in mapping.keys and raw_json is not None and b'"' in raw_json:
            # not empty, and its names are accepted
            body = _around(raw_json, arc, context, timestamp, action)
        else:
            message = self._message(values.get("message") if "message" in mapping.keys else record)
            body = _encoded(message, arc, context, timestamp, action)
        return PendingRecord(
            None if context is None else (arc.name, context),
            body,
            idempotent=context is not None and action != "ADD",
        )

    def _context_id(self, value: Any, keys: Sequence[Any], dots: int) -> str | None:
        text = context_id.of_values(keys) if keys else context_id.of_value(_given(value))
        if keys and not text:
            self.warn_once(
                "context_id",
                f"a record has no value in {', '.join(self._stream_mapping.context_fields)}, so it "
                "is sent without context id: if it is sent again, it counts twice",
            )
        return context_id.escaped(text, dots) if text else None

    def _export_timestamp(self, value: Any) -> Any:
        value = _given(value)
        if value is not None and not export_timestamp.is_usual(value):
            self.warn_once(
                "export_timestamp",
                f"Mona does not document export timestamps such as {value!r}; they are sent as "
                "given",
            )
        return value

    def _message(self, message: Any) -> dict[str, Any]:
        if not isinstance(message, dict) or not message:
            raise MESSAGE.broken_by("its message would be empty or of another type")
        names = tuple(message)
        if names not in self._allowed_names:
            renamed = self._without_reserved(message)
            if renamed is not message:
                return renamed
            self._allowed_names.add(names)
        return message

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


def _plain_keys(values: Sequence[tuple[Any, ...] | None]) -> list[str] | None:
    """Return the only value of each record if all are texts without characters to escape."""
    try:
        keys: list[str] = [value for (value,) in values]  # type: ignore[misc] # None is a TypeError
        text = "".join(keys)
    except TypeError:
        return None
    is_escaped = any(character in text for character in _ESCAPED)
    is_plain = text.isascii() and text.isprintable() and not is_escaped
    return keys if is_plain and all(keys) else None


def _given(value: Any) -> Any:
    """Return a value, or None if it is empty."""
    return None if value == "" else value


def _encoded(
    message: Mapping[str, Any],
    arc: ArcClass,
    context: str | None,
    timestamp: Any,
    action: str | None,
) -> bytes:
    """Return the JSON of a message; one call for all of it takes the least time."""
    envelope: dict[str, Any] = {"arcClass": arc.name}
    if context is not None:
        envelope["contextId"] = context
    if timestamp is not None:
        envelope["exportTimestamp"] = timestamp
    if action is not None:
        envelope["action"] = action
    envelope["message"] = message
    return encode(envelope)


def _around(
    raw_json: bytes, arc: ArcClass, context: str | None, timestamp: Any, action: str | None
) -> bytes:
    """Return the JSON of a message that is a record as received."""
    parts = [arc.prefix]
    if context is not None:
        parts += (b'"contextId":', encode(context), b",")
    if timestamp is not None:
        parts += (b'"exportTimestamp":', encode(timestamp), b",")
    if action is not None:
        parts += (b'"action":', encode(action), b",")
    return b"".join([*parts, b'"message":', raw_json, b"}"])


def _action(value: Any) -> str | None:
    action = _given(value)
    if action is not None and action not in ACTIONS:
        raise ACTION.broken_by(f"its action would be '{action}'")
    return None if action is None else str(action)
