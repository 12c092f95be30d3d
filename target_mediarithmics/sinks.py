"""Turn Singer records into documents."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.sink import MartechSink
from singer_martech.delivery.sink_target import SinkTarget
from singer_martech.errors import MappingError, SettingError
from singer_martech.mapping.stream_mappings import mapping_error
from singer_martech.mediarithmics.imports import CSV
from singer_martech.values.json_codec import decode, encode, encode_lines
from target_mediarithmics import csv_rows
from target_mediarithmics.documents import DocumentCheck, deletion_of, fields_of_deletion
from target_mediarithmics.stream_mapping import MAPPING_KEYS, StreamMapping

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_martech.delivery.ledger import StreamLedger
    from singer_martech.delivery.ledger_mirror import Mirror
    from singer_martech.mapping.fast_path import FastPath
    from target_mediarithmics.destination import ImportDestination


logger = logging.getLogger(__name__)

_MAX_BLOCKS_ALONE = 10
"""After this number of consecutive blocks with an unusual document, each record is mapped alone."""
_NOT_IN_KEY = frozenset({"expiration_duration"})


class MediarithmicsSinkTarget(SinkTarget, Protocol):
    """What the sinks need of the target."""

    def import_destination(
        self, stream: str, stream_mapping: StreamMapping, columns: Sequence[str] | None
    ) -> ImportDestination:
        """Return the destination of a stream's document import."""


class MediarithmicsSink(MartechSink):
    """Loads one stream into one document import."""

    target: MediarithmicsSinkTarget
    mapping_keys = MAPPING_KEYS

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        StreamMapping.from_mapping(name, mapping)

    @override
    def prepare(self) -> None:
        if self.mapping is None:
            raise SettingError(
                f"stream '{self.stream_name}' has no mapping: give it one with a document_type "
                "in the setting 'streams', or deselect it"
            )
        self._stream_mapping = stream_mapping = StreamMapping.from_mapping(
            self.stream_name, self.mapping
        )
        self._check_document = DocumentCheck(stream_mapping.document_type, self.stream_name)
        self._blocks_alone = 0
        self._columns: tuple[str, ...] | None = None
        if stream_mapping.wanted.mime_type == CSV:
            self._columns = stream_mapping.columns or tuple(self.schema.get("properties") or ())
            if not self._columns:
                raise mapping_error(
                    self.stream_name,
                    "document",
                    f"is needed for {CSV}, since the SCHEMA names no columns",
                )
        destination = self.target.import_destination(
            self.stream_name, stream_mapping, self._columns
        )
        self._import_name = destination.import_name
        self._key_paths = sorted(
            path.partition(".")[::2]
            for path in fields_of_deletion(stream_mapping.document_type)
            if path not in _NOT_IN_KEY
        )
        self.destination = self.target.destination(destination)

    @override
    def ledger_collection(self) -> str:
        if "DELETE" not in self._stream_mapping.document_type.operations:
            raise SettingError(
                f"setting 'ledger': stream '{self.stream_name}': no document of the type "
                f"{self._stream_mapping.wanted.document_type} replaces another at mediarithmics; "
                "load the stream without a ledger"
            )
        return self._import_name

    @override
    def ledger_keys(self, records: Sequence[PendingRecord]) -> Sequence[bytes | None]:
        return encode_lines([record.ledger_key for record in records])

    @override
    def ledger_header(self) -> bytes:
        return b"" if self._columns is None else csv_rows.header(self._columns)

    @override
    def open_ledger(self, *, is_incremental: bool) -> None:
        if self._stream_mapping.mirror and self.target.ledger is None:
            raise mapping_error(self.stream_name, "mirror", "needs the setting 'ledger'")
        super().open_ledger(is_incremental=is_incremental)
        if self.target.ledger is not None:
            self._warn_of_expiry()

    def _warn_of_expiry(self) -> None:
        """Warn if members leave their segment because they are not sent again."""
        document = (self.mapping or {}).get("document")
        minutes = document.get("expiration_duration") if isinstance(document, dict) else None
        days = self.target.config.get("resend_after_days")
        if type(minutes) is int and minutes > 0 and (days is None or days * 1440 >= minutes):
            logger.warning(
                "stream '%s': unchanged members are not sent again, so they leave the segment "
                "after %d minutes (expiration_duration); set 'resend_after_days' to less",
                self.stream_name,
                minutes,
            )

    @override
    def open_mirror(self, stream: StreamLedger, *, is_incremental: bool) -> Mirror | None:
        if not self._stream_mapping.mirror or self.target.ledger is None:
            return None
        if is_incremental:
            raise mapping_error(
                self.stream_name,
                "mirror",
                "the stream is incremental: its SCHEMA has bookmark_properties, so a run does not "
                "contain all records; replicate the full table",
            )
        # SQLite is not loaded without a ledger
        from singer_martech.delivery.ledger_mirror import Mirror  # noqa: PLC0415

        return Mirror(
            self.target.ledger,
            stream,
            max_deletes=self._stream_mapping.mirror_max_deletes,
            deletion_of=lambda identifiers: self._mapped_document(decode(identifiers), None),
        )

    @override
    def reads(self) -> Collection[str] | None:
        document = self._stream_mapping.document  # without one, the record is the document
        return None if document is None else document.fields

    @override
    def fast_path(self) -> FastPath | None:
        fast_path = super().fast_path()
        document = self._stream_mapping.document
        if fast_path is not None and document is not None:
            self._document_of_values = document.of_fields(fast_path.reads)
        return fast_path

    @override
    def map_block(
        self, values: Sequence[tuple[Any, ...] | None], records: Sequence[bytes]
    ) -> list[PendingRecord] | None:
        if self._blocks_alone >= _MAX_BLOCKS_ALONE:
            return None
        try:
            together = self._map_together(values)
        except (MappingError, RecursionError, ValueError):  # of one of them
            together = None
        self._blocks_alone = self._blocks_alone + 1 if together is None else 0
        return together

    def _map_together(self, values: Sequence[tuple[Any, ...] | None]) -> list[PendingRecord] | None:
        """Return what to send for records whose documents are plain, in less time than for each.

        Returns:
            None if one of the documents is not plain.

        Raises:
            MappingError: One of them cannot be sent.
            ValueError: Likewise.
        """
        if self._columns is not None:
            return None
        documents = [self._document_of_values(each) for each in values if each is not None]
        checked = self._check_document.plain(documents)
        if checked is None or len(checked) < len(values):
            return None
        bodies = encode_lines([document for document, _ in checked])
        return [
            self._pending(document, identifier, body)
            for (document, identifier), body in zip(checked, bodies, strict=True)
        ]

    @override
    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord:
        return self._mapped_document(_object(self._document_of_values(values)), None)

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        stream_mapping = self._stream_mapping
        document = (
            record if stream_mapping.document is None else _object(stream_mapping.document(record))
        )
        return self._mapped_document(document, raw_json if document is record else None)

    @override
    def map_delete(self, record: dict[str, Any]) -> PendingRecord:
        stream_mapping = self._stream_mapping
        document = (
            record if stream_mapping.deletion is None else _object(stream_mapping.deletion(record))
        )
        return self._mapped_document(deletion_of(stream_mapping.document_type, document), None)

    def _mapped_document(self, document: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        checked, identifier = self._check_document(document)
        if self._columns is not None:
            body = csv_rows.row(self._columns, checked)
        elif raw_json is not None and checked is document and b"\r" not in raw_json:
            body = raw_json
        else:
            body = encode(checked)
        return self._pending(checked, identifier, body)

    def _pending(
        self, document: dict[str, Any], identifier: str | None, body: bytes
    ) -> PendingRecord:
        # a hash takes little memory; identifiers that share one only wait for each other
        key = None if identifier is None else hash((self._import_name, identifier))
        unique_field = self._stream_mapping.document_type.unique_field
        record = PendingRecord(key, body, unique_field is None or bool(document.get(unique_field)))
        if self.target.ledger is not None:
            record.ledger_key = self._ledger_key(document)
            record.is_deletion = document.get("operation") == "DELETE"
            if self._stream_mapping.mirror:
                deletion = deletion_of(self._stream_mapping.document_type, document)
                record.identifiers = encode(deletion)
        return record

    def _ledger_key(self, document: dict[str, Any]) -> list[Any]:
        """Return the key of a document: its user, and the segment or processing if it has one."""
        key: list[Any] = [self._import_name]
        for outer, inner in self._key_paths:
            value = document.get(outer)
            if value is not None:
                is_nested = inner and isinstance(value, dict)
                key.append((outer, {inner: value.get(inner)} if is_nested else value))
        if self._columns is not None:
            encode(key)  # its error rejects the record, whose row may hold what JSON cannot
        return key


def _object(document: Any) -> dict[str, Any]:
    """Return the value of a template that must be a document."""
    if not isinstance(document, dict) or not document:
        raise MappingError("its document is empty or not an object")
    return document
