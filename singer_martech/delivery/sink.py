"""The base of all sinks: validate a record, map it, submit it to the dispatcher."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.sinks import Sink

from singer_martech._compat import override
from singer_martech.delivery.ledger_key import RecordKey, stable
from singer_martech.delivery.ledger_tables import Scope
from singer_martech.delivery.rejects import TooManyRejects
from singer_martech.errors import MappingError, MartechError
from singer_martech.mapping.fast_path import compile_fast_path
from singer_martech.mapping.field_name_cache import FieldNameCache
from singer_martech.mapping.metadata_columns import SDC_COLUMNS, MetadataColumns
from singer_martech.mapping.undefined import TemplateError
from singer_martech.values.json_codec import decode_object
from singer_martech.values.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from singer_sdk import Target

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.ledger import StreamLedger
    from singer_martech.delivery.ledger_mirror import Mirror
    from singer_martech.delivery.metrics import StreamMetrics
    from singer_martech.delivery.sink_target import SinkTarget
    from singer_martech.mapping.fast_path import FastPath

_ENDS_RUN = (MemoryError, OSError)
"""Errors that concern the process, not the current record."""


class MissingKeyProperties(TooManyRejects, MissingKeyPropertiesError):
    """A record lacks a key property and exceeds the reject limit."""


class MartechSink(Sink):
    """The base of all sinks; a subclass maps the records of one stream for one vendor."""

    mapping_keys: ClassVar[tuple[str, ...]]
    """The keys that a mapping in the setting ``streams`` may have."""
    field_keys: ClassVar[tuple[str, ...]] = ()
    """Those of them whose value may also be a field's name, or a list of such names."""
    mirror: Mirror | None = None
    """Deletes keys that the source no longer has; set by ``open_ledger``."""
    destination: Destination
    """The destination of the stream's records; set by ``prepare``."""
    left_out: Collection[str]
    """The metadata columns that are not part of the mapped record."""
    _submit_all: Callable[[Destination, Sequence[PendingRecord]], None]

    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        """Compile a mapping at startup, before any stream is known.

        Raises:
            SettingError: The mapping is invalid; the message names stream and key.
        """

    def prepare(self) -> None:
        """Prepare for the first record; called after the stream's SCHEMA was received.

        Raises:
            MartechError: The stream cannot be loaded.
        """

    @abc.abstractmethod
    def ledger_collection(self) -> str:
        """Return the dataset, import or arc class; called after ``prepare``, with a ledger only.

        Raises:
            SettingError: The vendor does not merge the stream's records by key.
        """

    def ledger_key(self, record: PendingRecord) -> RecordKey | None:
        """Return the key of a record in the ledger, or None if the vendor does not merge it."""
        if record.key is None:
            return None
        return RecordKey(stable(record.key))

    def open_mirror(self, stream: StreamLedger, *, is_incremental: bool) -> Mirror | None:
        """Return the mirror of a stream, if its mapping sets ``mirror``.

        Args:
            stream: The stream's part of the ledger.
            is_incremental: Whether the stream has a replication key.

        Raises:
            SettingError: The stream cannot be mirrored.
        """
        del stream, is_incremental
        return None

    def open_ledger(self, *, is_incremental: bool) -> None:
        """Compare the records from now on with the ledger, if there is one.

        Args:
            is_incremental: Whether the stream has a replication key.

        Raises:
            SettingError: The stream cannot have a ledger.
            LedgerError: Another run uses it.
        """
        target = self.target
        if target.ledger is not None:
            scope = Scope(target.name, target.account, self.ledger_collection(), self.stream_name)
            stream = target.ledger.stream(scope, self.metrics, self.ledger_key)
            self._submit, self._submit_all = stream.submit, stream.submit_all
            self.mirror = self.open_mirror(stream, is_incremental=is_incremental)

    @abc.abstractmethod
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        """Return what to send for a record.

        Args:
            record: The record.
            raw_json: The record as JSON as received, or None where it was changed.

        Raises:
            MappingError: The record cannot be sent; the message says why.
            TemplateError: One of its mapping's expressions fails.
        """

    def reads(self) -> Collection[str] | None:
        """Return the fields that ``map_record`` reads beside ``raw_json``; None for any.

        Called after ``prepare``.
        """
        return None

    def fast_path(self) -> FastPath | None:
        """Return the fast path for records that are sent as received, or None."""
        reads = self.reads()
        if reads is None:
            return None
        return compile_fast_path(
            self.schema, sorted(reads), {}, self.key_properties, self._omitted_columns
        )

    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord | None:
        """Return what to send for a record on the fast path; None to use ``load`` instead.

        Args:
            values: The values of the fields that ``fast_path`` reads.
            raw_json: The record as JSON as received, without the columns that are left out.
        """
        return self.map_record(self._fast_path.named(values), raw_json)

    def accepts_names(self, names: tuple[str, ...]) -> bool:
        """Whether a record with these field names may be sent as received."""
        return self._omitted_columns.isdisjoint(names)

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning about the stream, but only the first of its topic in a run."""
        line = f"stream '{self.stream_name}': {message}"
        self.target.warn_once(line, (self.stream_name, topic))

    def map_delete(self, record: dict[str, Any]) -> PendingRecord:
        """Return what to send for the deletion of a record.

        Raises:
            MappingError: The vendor cannot delete such a record.
        """
        del record
        raise MappingError("the vendor cannot delete such a record")

    def __init__(
        self,
        target: SinkTarget,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Create the sink of a stream; its mapping was checked at startup."""
        self.target = target
        self.mapping = target.mappings.find(stream_name)
        kept = {*(key_properties or ()), *schema.get("required", ())}
        self._omitted_columns = (
            frozenset() if target.config["keep_sdc_columns"] else SDC_COLUMNS - kept
        )
        self._metadata_columns = MetadataColumns(self._omitted_columns)
        super().__init__(cast("Target", target), stream_name, schema, key_properties)
        self.metrics: StreamMetrics = target.metrics(stream_name)
        self._submit = target.dispatcher.submit
        self._submit_all = target.dispatcher.submit_all
        self._deletes: str = target.config["deletes"]
        self._accepted_names = FieldNameCache()
        self._adds_metadata = self.include_sdc_metadata_properties
        self.left_out = () if self._adds_metadata else self._omitted_columns
        self._check = RecordValidator(stream_name, self.schema) if self.validate_schema else None

    @override
    def get_validator(self) -> None:
        """Return None: ``load`` validates with a compiled validator."""

    def open_fast_path(self) -> bool:
        """Prepare ``load_records``; return whether the sink has a fast path."""
        has_version = self.mirror is not None  # only a decoded message has a version
        fast_path = None if self._adds_metadata or has_version else self.fast_path()
        if fast_path is None or not self.accepts_names(tuple(self.schema["properties"])):
            return False
        self._fast_path = fast_path
        return True

    def load_records(self, records: Sequence[bytes], load_message: Callable[[int], None]) -> None:
        """Load records as received, in order.

        Args:
            records: The records.
            load_message: Called with the index of a record that needs ``load``.

        Raises:
            MartechError: The run cannot continue.
        """
        mapped = self.map_all(*self._fast_path.decode(records))
        start = 0
        for index, record in enumerate(mapped):
            if record is None:
                self._enqueue_all(mapped[start:index], records[start:index])
                start = index + 1
                load_message(index)
        self._enqueue_all(mapped[start:], records[start:])

    def map_all(
        self, values: Sequence[tuple[Any, ...] | None], records: Sequence[bytes]
    ) -> list[Any]:
        """Return what to send for records on the fast path.

        Args:
            values: The values of the fields that ``fast_path`` reads; None for a record that
                needs ``load``.
            records: The records as received, without the columns that are left out.

        Returns:
            A ``PendingRecord`` or None for each record.
        """
        return [
            None if each is None else self._mapped(each, record)
            for each, record in zip(values, records, strict=True)
        ]

    def _mapped(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord | None:
        """Return what to send for a record on the fast path, or None to use ``load``."""
        try:
            record = self.map_values(values, raw_json)
        except MartechError as error:
            if isinstance(error, MappingError):
                return None  # load reports the reason
            raise
        except _ENDS_RUN:
            raise
        except Exception:  # noqa: BLE001 - likewise
            return None
        if record is None:
            self._fast_path.miss()
        return record

    def _enqueue_all(self, records: Sequence[PendingRecord], raws: Sequence[bytes]) -> None:
        """Submit records, given as received as well."""
        if not records:
            return
        metrics, first = self.metrics, self.target.sequence + 1
        for sequence, (record, raw) in enumerate(zip(records, raws, strict=True), first):
            record.metrics, record.sequence, record.raw = metrics, sequence, raw
        self.target.sequence += len(records)
        self.metrics.read += len(records)
        self._submit_all(self.destination, records)

    def load(
        self, message: Mapping[str, Any], record: dict[str, Any], raw_json: bytes | None
    ) -> None:
        """Load a record; any error of its mapping or validation rejects it.

        Args:
            message: The RECORD message, with the record as received in ``raw``.
            record: The record after stream maps.
            raw_json: The record as JSON as received, or None if stream maps changed it.

        Raises:
            MartechError: The run cannot continue.
        """
        self.metrics.read += 1
        try:
            if record.get("_sdc_deleted_at") is None:
                pending = self._map(message, record, raw_json)
            elif self._deletes == "skip":
                self.metrics.skipped_deletes += 1
                return
            else:
                pending = self._map_delete(record)
        except _MissingKey as error:
            try:
                self.target.reject(self.metrics, message, str(error))
            except TooManyRejects as too_many:
                raise MissingKeyProperties(str(too_many)) from error
            return
        except MartechError as error:
            if not isinstance(error, MappingError):
                raise
            self.target.reject(self.metrics, message, str(error))
            return
        except TemplateError as error:
            self.target.reject(self.metrics, message, str(error))
            return
        except _ENDS_RUN:
            raise
        except Exception as error:  # noqa: BLE001 - it concerns this record alone
            self.target.reject(self.metrics, message, f"{type(error).__name__}: {error}")
            return
        self._enqueue(pending, message["raw"])

    def _enqueue(self, record: PendingRecord, raw: bytes) -> None:
        target = self.target
        record.metrics, record.sequence, record.raw = self.metrics, target.sequence, raw
        self._submit(self.destination, record)

    def _map(
        self, message: Mapping[str, Any], record: dict[str, Any], raw_json: bytes | None
    ) -> PendingRecord:
        if self._adds_metadata:
            self._add_sdc_metadata_to_record(record, dict(message), {})
            raw_json = None
        else:
            names = tuple(record)
            if names not in self._accepted_names:
                if self.accepts_names(names):
                    self._accepted_names.add(names)
                else:
                    self._remove_sdc_metadata_from_record(record)
                    raw_json = None if raw_json is None else self._without_omitted(raw_json, record)
        if self._check is not None and not self._check.is_valid(record):
            missing = [key for key in self._key_properties if key not in record]
            reason = self._check.reason(record)
            raise _MissingKey(missing) if missing else MappingError(reason)
        for key in self._key_properties:
            if key not in record:
                raise _MissingKey([key])
        return self.map_record(record, raw_json)

    def _without_omitted(self, raw_json: bytes, record: Mapping[str, Any]) -> bytes | None:
        """Return a record as received without the columns that are left out, if that is easy."""
        if not self.accepts_names(tuple(record)):
            return None
        try:
            kept = self._metadata_columns.without(raw_json)
            return kept if decode_object(kept) == record else None
        except (ArithmeticError, RecursionError, ValueError):
            return None

    def _map_delete(self, record: dict[str, Any]) -> PendingRecord:
        if self._deletes == "reject":
            raise MappingError("the record is deleted, and the setting 'deletes' is 'reject'")
        self._remove_sdc_metadata_from_record(record)
        return self.map_delete(record)

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        for name in self._omitted_columns:
            self.schema.get("properties", {}).pop(name, None)

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        for name in self._omitted_columns:
            record.pop(name, None)

    @override
    def clean_up(self) -> None:
        self.record_counter_metric.increment(self.metrics.read)
        super().clean_up()

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: the target calls ``load``."""
        raise NotImplementedError

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: the target calls ``load``."""
        raise NotImplementedError


class _MissingKey(ValueError):
    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"a key property is missing: {', '.join(names)}")
