"""The base of all sinks: what a target declares and overrides to map the records of a stream."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk.sinks import Sink

from singer_martech._compat import override
from singer_martech.delivery.ledger_key import stable_all
from singer_martech.delivery.ledger_tables import Scope
from singer_martech.errors import MappingError
from singer_martech.mapping.fast_path import compile_fast_path
from singer_martech.mapping.metadata_columns import SDC_COLUMNS
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
    left_out: frozenset[str]
    """The metadata columns that are not part of the mapped record."""
    validator: RecordValidator | None
    """Validates records against the stream's schema; None if the settings do not ask for it."""
    submit: Callable[[Destination, PendingRecord], None]
    """Submits a record to the dispatcher, or to the ledger if there is one."""
    submit_all: Callable[[Destination, Sequence[PendingRecord]], None]
    """Does so for consecutive records."""

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
        config = target.config
        keeps_all = config["keep_sdc_columns"] or config.get("add_record_metadata")
        kept = {*(key_properties or ()), *schema.get("required", ())}
        self.left_out = frozenset() if keeps_all else SDC_COLUMNS - kept
        super().__init__(cast("Target", target), stream_name, schema, key_properties)
        self.metrics: StreamMetrics = target.metrics(stream_name)
        self.submit = target.dispatcher.submit
        self.submit_all = target.dispatcher.submit_all
        self.validator = RecordValidator(stream_name, self.schema) if self.validate_schema else None

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
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        """Return what to send for a record.

        Args:
            record: The record.
            raw_json: The record as JSON as received, or None where it was changed.

        Raises:
            MappingError: The record cannot be sent; the message says why.
            TemplateError: One of its mapping's expressions fails.
        """

    def map_delete(self, record: dict[str, Any]) -> PendingRecord:
        """Return what to send for the deletion of a record.

        Raises:
            MappingError: The vendor cannot delete such a record.
        """
        del record
        raise MappingError("the vendor cannot delete such a record")

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
        return compile_fast_path(self.schema, sorted(reads), {}, self.key_properties, self.left_out)

    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord | None:
        """Return what to send for a record on the fast path; None to use ``map_record`` instead.

        Args:
            values: The values of the fields that ``fast_path`` reads.
            raw_json: The record as JSON as received, without the columns that are left out.
        """
        raise NotImplementedError

    def map_block(
        self, values: Sequence[tuple[Any, ...] | None], records: Sequence[bytes]
    ) -> Sequence[PendingRecord | None] | None:
        """Return what to send for records on the fast path, or None to map each by itself.

        For a record that needs ``map_record``, return None in its place.

        Args:
            values: The values of the fields that ``fast_path`` reads; None for a record that
                is not on the fast path.
            records: The records as received, without the columns that are left out.
        """
        del values, records
        return None

    def accepts_names(self, names: tuple[str, ...]) -> bool:
        """Whether a record with these field names may be sent as received."""
        return self.left_out.isdisjoint(names)

    @abc.abstractmethod
    def ledger_collection(self) -> str:
        """Return the dataset, import or arc class; called after ``prepare``, with a ledger only.

        Raises:
            SettingError: The vendor does not merge the stream's records by key.
        """

    def ledger_keys(self, records: Sequence[PendingRecord]) -> Sequence[bytes | None]:
        """Return the keys of records in the ledger; None for one that the vendor does not merge."""
        return stable_all([record.key for record in records])

    def ledger_header(self) -> bytes:
        """Return the header that gives the bodies of the records their meaning, if there is one."""
        return b""

    def open_mirror(self, stream: StreamLedger, *, is_incremental: bool) -> Mirror | None:
        """Return the mirror of a stream, if its mapping sets ``mirror``.

        Raises:
            SettingError: The stream cannot be mirrored.
        """
        del stream, is_incremental
        return None

    def open_ledger(self, *, is_incremental: bool) -> None:
        """Compare the records from now on with the ledger, if there is one.

        Raises:
            SettingError: The stream cannot have a ledger.
            LedgerError: Another run uses it.
        """
        target = self.target
        if target.ledger is not None:
            scope = Scope(target.name, target.account, self.ledger_collection(), self.stream_name)
            stream = target.ledger.stream(
                scope, self.metrics, self.ledger_keys, self.ledger_header()
            )
            self.submit, self.submit_all = stream.submit, stream.submit_all
            self.mirror = self.open_mirror(stream, is_incremental=is_incremental)

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning about the stream, but only the first of its topic in a run."""
        line = f"stream '{self.stream_name}': {message}"
        self.target.warn_once(line, (self.stream_name, topic))

    def add_metadata(self, record: dict[str, Any], message: Mapping[str, Any]) -> None:
        """Add the metadata columns to a record, given its message."""
        self._add_sdc_metadata_to_record(record, dict(message), {})

    @override
    def get_validator(self) -> None:
        """Return None: the record loader has a compiled one."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        for name in self.left_out:
            self.schema.get("properties", {}).pop(name, None)

    @override
    def clean_up(self) -> None:
        self.record_counter_metric.increment(self.metrics.read)
        super().clean_up()

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: see :mod:`singer_martech.delivery.record_loader`."""
        raise NotImplementedError

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: see :mod:`singer_martech.delivery.record_loader`."""
        raise NotImplementedError
