"""Load a decoded record: transform, validate, map and submit it, or reject it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MissingKeyPropertiesError

from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MappingError, MartechError
from singer_martech.mapping.field_name_cache import FieldNameCache
from singer_martech.mapping.metadata_columns import DELETED_AT, MetadataColumns
from singer_martech.mapping.undefined import TemplateError
from singer_martech.singer.message_decoder import NOT_JSON
from singer_martech.values.json_codec import decode_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.sink import MartechSink

    Transform = Callable[[dict[str, Any]], dict[str, Any] | None]

ENDS_RUN = (MartechError, MemoryError, OSError)
"""Errors that concern the run, not the current record."""


class MissingKeyProperties(TooManyRejects, MissingKeyPropertiesError):
    """A record lacks a key property and exceeds the reject limit."""


class RecordLoader:
    """Loads records of one stream into a sink; ``transform`` is that of a ``Route``."""

    def __init__(self, sink: MartechSink, transform: Transform | None) -> None:
        self.sink = sink
        self.transform = transform
        self._keys = sink.key_properties
        self._deletes: str = sink.target.config["deletes"]
        self._metadata_columns = MetadataColumns(sink.left_out)
        self._accepted_names = FieldNameCache()

    def load(self, message: Mapping[str, Any]) -> None:
        """Load the record of a RECORD message; an error that concerns the record rejects it.

        Raises:
            MartechError: The run cannot continue.
        """
        sink = self.sink
        reason = message.get(NOT_JSON)
        record, raw_json = message["record"], message["raw"]
        if reason is None:
            if sink.mirror is not None:
                sink.mirror.read(message.get("version"))
            if self.transform is not None:
                raw_json = None
                try:
                    record = self.transform(record)
                except ENDS_RUN:
                    raise
                except Exception as error:  # noqa: BLE001 - an expression of the user may fail in any way
                    reason = _stream_map_failure(error)
                if record is None:
                    return
        sink.metrics.read += 1
        if reason is None:
            self._load(message, record, raw_json)
        else:
            self._reject(message, reason)

    def _load(
        self, message: Mapping[str, Any], record: dict[str, Any], raw_json: bytes | None
    ) -> None:
        """Load a record, given as received as well if it was not transformed."""
        sink = self.sink
        try:
            if record.get(DELETED_AT) is None:
                pending = self._map(message, record, raw_json)
            elif self._deletes == "skip":
                sink.metrics.skipped_deletes += 1
                return
            else:
                pending = self._map_delete(record)
        except Exception as error:  # noqa: BLE001 - it may concern this record alone
            self._reject_for(message, error)
        else:
            pending.metrics, pending.sequence = sink.metrics, sink.target.sequence
            pending.raw = message["raw"]
            sink.submit(sink.destination, pending)

    def _reject_for(self, message: Mapping[str, Any], error: Exception) -> None:
        """Reject the record of a message for an error; raise one that ends the run."""
        if isinstance(error, (MappingError, TemplateError)):
            self._reject(message, str(error))
        elif isinstance(error, ENDS_RUN):
            raise error
        elif not isinstance(error, _MissingKey):
            self._reject(message, f"{type(error).__name__}: {error}")
        else:
            try:
                self._reject(message, str(error))
            except TooManyRejects as too_many:
                raise MissingKeyProperties(str(too_many)) from error

    def _reject(self, message: Mapping[str, Any], reason: str) -> None:
        target = self.sink.target
        target.dispatcher.settlement.reject(
            self.sink.metrics, target.sequence, message["raw"], reason
        )

    def _map(
        self, message: Mapping[str, Any], record: dict[str, Any], raw_json: bytes | None
    ) -> PendingRecord:
        sink = self.sink
        if sink.include_sdc_metadata_properties:
            sink.add_metadata(record, message)
            raw_json = None
        names = tuple(record)
        if names not in self._accepted_names:
            if sink.accepts_names(names):
                self._accepted_names.add(names)
            else:
                self._leave_out_columns(record)
                raw_json = None if raw_json is None else self._without_columns(raw_json, record)
        if sink.validator is not None and not sink.validator.is_valid(record):
            missing = [key for key in self._keys if key not in record]
            reason = sink.validator.reason(record)
            raise _MissingKey(missing) if missing else MappingError(reason)
        for key in self._keys:
            if key not in record:
                raise _MissingKey([key])
        return sink.map_record(record, raw_json)

    def _leave_out_columns(self, record: dict[str, Any]) -> None:
        for name in self.sink.left_out:
            record.pop(name, None)

    def _without_columns(self, raw_json: bytes, record: Mapping[str, Any]) -> bytes | None:
        """Return a record as received without the columns that are left out, if that is easy."""
        if not self.sink.accepts_names(tuple(record)):
            return None
        try:
            kept = self._metadata_columns.without(raw_json)
            return kept if decode_object(kept) == record else None
        except (ArithmeticError, RecursionError, ValueError):
            return None

    def _map_delete(self, record: dict[str, Any]) -> PendingRecord:
        if self._deletes == "reject":
            raise MappingError("the record is deleted, and the setting 'deletes' is 'reject'")
        self._leave_out_columns(record)
        return self.sink.map_delete(record)


class _MissingKey(ValueError):
    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"a key property is missing: {', '.join(names)}")


def _stream_map_failure(error: Exception) -> str:
    cause = "" if error.__cause__ is None else f" ({error.__cause__})"
    return f"a stream map fails: {error}{cause}"
