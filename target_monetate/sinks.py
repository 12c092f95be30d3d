"""Turn Singer records into rows of Monetate datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.sink import MartechSink
from singer_martech.delivery.sink_target import SinkTarget
from singer_martech.errors import MappingError, MartechError, SettingError
from singer_martech.mapping.stream_mappings import compiled
from singer_martech.mapping.template import fields_of
from singer_martech.mapping.undefined import UNDEFINED
from singer_martech.values.json_codec import decode_object, encode
from target_monetate import field_types
from target_monetate.coercion import COERCIONS
from target_monetate.dataset import quoted
from target_monetate.empty_fields import without_empty
from target_monetate.row_coercion import REJECT, RowCoercion
from target_monetate.row_fast_path import RowFastPath
from target_monetate.schema_evolution import SchemaEvolutionError, add_missing_fields
from target_monetate.stream_mapping import (
    check_mapping,
    check_row_fields,
    dataset_name,
    usable_dataset,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_martech.mapping.fast_path import FastPath
    from singer_martech.mapping.template import Template
    from target_monetate.client import MonetateClient
    from target_monetate.dataset import Dataset
    from target_monetate.destination import DatasetDestination
    from target_monetate.field_types import FieldSource


class MonetateSinkTarget(SinkTarget, Protocol):
    """What the sinks need of the target."""

    @property
    def client(self) -> MonetateClient:
        """The client that all streams share."""

    def dataset_destination(self, name: str) -> DatasetDestination:
        """Return the destination of a dataset."""


class MonetateSink(MartechSink):
    """Loads one stream into a dataset."""

    target: MonetateSinkTarget
    mapping_keys = ("schema", "row", "allow_append")

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        check_mapping(name, mapping)

    @override
    def prepare(self) -> None:
        mapping = self.mapping or {}
        row = mapping.get("row")
        self._row: Template | None = None if row is None else compiled(row, self.stream_name, "row")
        sources = self._sources(row)
        name = dataset_name(self.stream_name, mapping)
        dataset = usable_dataset(self.target.client, self.stream_name, name, mapping)
        dataset = self._with_missing_fields(dataset, sources)
        self._dataset = dataset
        self._unique_key = dataset.unique_key
        self._coercion = RowCoercion(
            dataset, self.target.config["unknown_fields"], self._warn_of_unknown
        )
        self._row_fast_path = RowFastPath(dataset, self.schema, self.key_properties, self.left_out)
        self.destination = self.target.destination(self.target.dataset_destination(dataset.name))
        self._warn(dataset, row)
        self._absent = self._warn_of_absent(dataset, sources)
        self._min_fields = len(dataset.fields) - len(self._absent)

    @override
    def ledger_collection(self) -> str:
        if self._unique_key is None:
            raise SettingError(
                f"setting 'ledger': stream '{self.stream_name}': the dataset "
                f"'{self._dataset.name}' has no unique key, so Monetate adds every row and none "
                "replaces another; load the stream without a ledger"
            )
        return self._dataset.name

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        if self._row is None:
            return self._coerced(record, raw_json)
        return self._of_template(self._row(record))

    def _of_template(self, row: Any) -> PendingRecord:
        if not isinstance(row, dict):
            missing = row is None or row is UNDEFINED
            raise MappingError(f"its row is {'empty' if missing else 'not an object'}")
        return self._coerced(row, None)

    def _coerced(self, row: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        """Return what to send for a row, whose JSON as received is given if it is a record."""
        coerced = self._coercion.coerce(row)
        if len(row) < self._min_fields:
            self._warn_of_short(row)
        body = None if raw_json is None else self._body_as_received(row, coerced, raw_json)
        body = encode(coerced) if body is None else body
        return self._pending(body, None if self._unique_key is None else coerced[self._unique_key])

    def _body_as_received(
        self, row: Mapping[str, Any], coerced: Mapping[str, Any], raw_json: bytes
    ) -> bytes | None:
        """Return a row as received, without its empty fields; None if another field changed."""
        if coerced is row:
            return raw_json
        empty = [name for name, value in row.items() if value is None or value == ""]
        if any(coerced.get(name) is not row[name] for name in row.keys() - empty):
            return None
        body = without_empty(raw_json, empty)
        return body if body is not None and decode_object(body) == coerced else None

    @override
    def reads(self) -> Collection[str] | None:
        return fields_of(self._row)

    @override
    def fast_path(self) -> FastPath | None:
        if self._row is None:
            return self._row_fast_path.fast_path
        fast_path = super().fast_path()
        if fast_path is not None:
            self._row_of_fields = self._row.of_fields(fast_path.reads)
        return fast_path

    @override
    def map_block(
        self, values: Sequence[tuple[Any, ...] | None], records: Sequence[bytes]
    ) -> list[PendingRecord | None] | None:
        if self._row is not None:
            return None
        keys = self._row_fast_path.keys(values)
        bodies = self._row_fast_path.bodies(values, records)
        pairs = zip(keys, bodies, strict=True)
        return [None if body is None else self._pending(body, key) for key, body in pairs]

    @override
    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord:
        return self._of_template(self._row_of_fields(values))

    def _pending(self, body: bytes, key: Any) -> PendingRecord:
        if self._unique_key is None:
            return PendingRecord(None, body, idempotent=False)
        return PendingRecord((self._dataset.name, key), body)

    def _sources(self, row: Any) -> dict[str, FieldSource] | None:
        """Return the fields of the rows, or None if they are unknown."""
        if row is not None:
            from target_monetate import template_types  # noqa: PLC0415 - see that module

            return template_types.of_mapping(row, self.schema)
        return field_types.of_record(self.schema) or None

    def _with_missing_fields(
        self, dataset: Dataset, sources: Mapping[str, FieldSource] | None
    ) -> Dataset:
        if not self.target.config["add_missing_fields"] or sources is None:
            return dataset
        types = {}
        for name, source in sources.items():
            if name in dataset.fields:
                continue
            if source.data_type is None:
                raise MartechError(
                    f"stream '{self.stream_name}': the type of the new field '{name}' cannot be "
                    f"inferred from the stream's schema; add it to the dataset '{dataset.name}' "
                    "in Monetate"
                )
            types[name] = source.data_type
        try:
            return add_missing_fields(
                self.target.client, dataset, types, dry_run=self.target.config["dry_run"]
            )
        except SchemaEvolutionError as error:
            raise MartechError(f"stream '{self.stream_name}': {error}") from error

    def _warn(self, dataset: Dataset, row: Any) -> None:
        """Warn of a dataset that Monetate cannot use, and of a mapping that does not fit it."""
        if dataset.named_identifier is None:
            self.warn_once(
                "identifier",
                f"the dataset '{dataset.name}' has no Identifier Name; Monetate cannot use "
                "the dataset until you set one there",
            )
        self._warn_of_undocumented(dataset)
        if self.target.config["unknown_fields"] == REJECT:
            try:
                check_row_fields(dataset, row)
            except MartechError as error:
                self.warn_once("row", str(error))

    def _warn_of_undocumented(self, dataset: Dataset) -> None:
        for name, field in dataset.fields.items():
            if field.data_type not in COERCIONS:
                self.warn_once(
                    f"type {name}",
                    f"the type {field.data_type} of the field '{name}' is not documented; its "
                    "values are sent as given",
                )

    def _warn_of_absent(
        self, dataset: Dataset, sources: Mapping[str, FieldSource] | None
    ) -> set[str]:
        """Warn of fields that no row will have, and return them."""
        if sources is None:
            return set()
        self._warn_of_other_key(dataset, sources)
        absent = set(dataset.fields) - set(sources) - set(dataset.required)
        if absent:
            self._log_absent(absent, "its rows do not have")
        return absent

    def _warn_of_other_key(self, dataset: Dataset, sources: Mapping[str, FieldSource]) -> None:
        key, unique = list(self.key_properties), dataset.unique_key
        if unique is None or not key:
            return
        source = sources.get(unique)
        if source is not None and source.reads == set(key):
            return
        self.warn_once(
            "key",
            f"its key is {quoted(key)}, but the dataset '{dataset.name}' has the unique key "
            f"'{unique}': rows with the same '{unique}' replace each other, even with "
            "different keys",
        )

    def _warn_of_short(self, row: Mapping[str, Any]) -> None:
        """Warn of a row with fewer fields than the schema announced."""
        absent = set(self._dataset.fields) - set(row) - self._absent
        if absent:
            self._log_absent(absent, "a row does not have")
            self._min_fields = 0

    def _log_absent(self, names: set[str], fact: str) -> None:
        ordered = [name for name in self._dataset.fields if name in names]
        replaced = ", even where an earlier row had a value" if self._unique_key else ""
        self.warn_once(
            "absent " + " ".join(ordered),
            f"{fact} {quoted(ordered)} of the dataset, which become null{replaced}",
        )

    def _warn_of_unknown(self, names: list[str]) -> None:
        setting = self.target.config["unknown_fields"]
        self.warn_once(
            "unknown " + " ".join(names),
            f"the dataset '{self._dataset.name}' has no field {quoted(names)}, and "
            f"'unknown_fields' is {setting}",
        )
