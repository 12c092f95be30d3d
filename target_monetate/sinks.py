"""What a Singer record becomes as a row of a Monetate dataset."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Protocol

from singer_martech._compat import override
from singer_martech.delivery.batch import PendingRecord
from singer_martech.delivery.sink import MartechSink, SinkTarget
from singer_martech.errors import MappingError, MartechError, SettingError
from singer_martech.mapping.stream_mappings import compiled
from singer_martech.mapping.template import fields_of
from singer_martech.mapping.undefined import is_undefined
from singer_martech.singer.config_check import boolean
from singer_martech.values.json_codec import encode
from target_monetate import field_types
from target_monetate.client import NoSuchDataset
from target_monetate.coercion import RowCoercion
from target_monetate.dataset import PRIVACY_TYPE, quoted
from target_monetate.row_fast_path import RowFastPath
from target_monetate.schema_evolution import SchemaEvolutionError, add_missing_fields

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from singer_martech.mapping.fast_path import FastPath
    from singer_martech.mapping.template import Template
    from target_monetate.client import MonetateClient
    from target_monetate.dataset import Dataset
    from target_monetate.destination import DatasetDestination
    from target_monetate.field_types import FieldSource

_MOST_NAMES = 30


class MonetateSinkTarget(SinkTarget, Protocol):
    """What the sinks need of the target."""

    @property
    def client(self) -> MonetateClient:
        """The client that all streams share."""

    def dataset_destination(self, name: str) -> DatasetDestination:
        """Return the destination of a dataset."""

    def warn_once(self, stream: str, topic: str, message: str) -> None:
        """Log a warning once per stream and topic."""


class MonetateSink(MartechSink):
    """One stream on its way to a dataset."""

    target: MonetateSinkTarget
    mapping_keys = ("schema", "row", "allow_append")

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        def fault(key: str, text: str) -> SettingError:
            return SettingError(f"setting 'streams': stream '{name}', key '{key}': {text}")

        schema, row = mapping.get("schema"), mapping.get("row")
        if schema is not None:
            if not isinstance(schema, str) or not schema.strip():
                raise fault("schema", "must be the name of a dataset")
            compiled(schema, name, "schema")
            from target_monetate import template_types  # noqa: PLC0415 - see that module

            if template_types.uses_record(schema):
                raise fault("schema", "is the same for all records: it may hold {{ stream }} only")
        if row is not None:
            if not isinstance(row, (dict, str)) or not row:
                raise fault("row", "must be an object, or a template that gives one")
            compiled(row, name, "row")
        if not isinstance(_allows_append(mapping), bool):
            raise fault("allow_append", "must be true or false")

    @override
    def prepare(self) -> None:
        mapping = self.mapping or {}
        row = mapping.get("row")
        self._row: Template | None = None if row is None else compiled(row, self.stream_name, "row")
        sources = self._sources(row)
        dataset = self._usable(self._read(self._dataset_name(mapping)), mapping)
        dataset = self._completed(dataset, sources)
        self._dataset = dataset
        self._unique_key = dataset.unique_key
        self._fitter = RowCoercion(dataset)
        self._row_fast_path = RowFastPath(dataset, self.schema, self.key_properties)
        self.destination = self.target.destination(self.target.dataset_destination(dataset.name))
        self._left_out = self._warn(dataset, sources)
        self._least_fields = len(dataset.fields) - len(self._left_out)

    @override
    def map_record(self, record: dict[str, Any], raw_json: bytes | None) -> PendingRecord:
        row: Any = record
        if self._row is not None:
            row, raw_json = self._row(record), None
            if not isinstance(row, dict):
                missing = row is None or is_undefined(row)
                raise MappingError(f"its row would be {'empty' if missing else 'no object'}")
        fitted = self._fitter.coerce(row)
        if len(row) < self._least_fields:
            self._warn_of_left_out(row)
        body = encode(fitted) if raw_json is None or fitted is not row else raw_json
        return self._row_of(body, None if self._unique_key is None else fitted[self._unique_key])

    @override
    def reads(self) -> Collection[str] | None:
        return fields_of(self._row)

    @override
    def fast_path(self) -> FastPath | None:
        return self._row_fast_path.fast_path if self._row is None else super().fast_path()

    @override
    def map_values(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord | None:
        if self._row is not None:
            return super().map_values(values, raw_json)
        rows = self._row_fast_path
        return self._row_of(raw_json, rows.key(values)) if rows.coerce(values) else None

    def _row_of(self, body: bytes, key: Any) -> PendingRecord:
        if self._unique_key is None:
            return PendingRecord(None, body, idempotent=False)
        return PendingRecord((self._dataset.name, key), body)

    def _dataset_name(self, mapping: Mapping[str, Any]) -> str:
        schema = mapping.get("schema")
        if schema is None:
            return self.stream_name
        return str(compiled(schema, self.stream_name, "schema")({})).strip()

    def _read(self, name: str) -> Dataset:
        client = self.target.client
        try:
            return client.dataset(name)
        except NoSuchDataset as error:
            names = client.dataset_names()
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            shown = quoted(names[:_MOST_NAMES]) or "none"
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            raise MartechError(
                f"stream '{self.stream_name}': Monetate has no dataset '{name}'; {hint}there "
                f"are: {shown}{more}; name one with the mapping's key 'schema'"
            ) from error

    def _usable(self, dataset: Dataset, mapping: Mapping[str, Any]) -> Dataset:
        if dataset.type == PRIVACY_TYPE:
            raise MartechError(
                f"stream '{self.stream_name}': the dataset '{dataset.name}' is of type "
                f"{PRIVACY_TYPE}: a row would erase its customer from all datasets, which this "
                "target never does; map the stream to another dataset"
            )
        if dataset.unique_key is None and not _allows_append(mapping):
            raise MartechError(
                f"stream '{self.stream_name}': the dataset '{dataset.name}' has no unique key, so "
                "every row is added, also one that is sent a second time after a broken run; if "
                "that may be, set 'allow_append' to true in the stream's mapping"
            )
        return dataset

    def _sources(self, row: Any) -> dict[str, FieldSource] | None:
        """Return the fields that the rows will have, or None where nobody can tell."""
        if row is not None:
            from target_monetate import template_types  # noqa: PLC0415 - see that module

            return template_types.of_mapping(row, self.schema)
        return {
            name: source
            for name, source in field_types.of_record(self.schema).items()
            if self.include_sdc_metadata_properties or not name.startswith("_sdc_")
        } or None

    def _completed(self, dataset: Dataset, sources: Mapping[str, FieldSource] | None) -> Dataset:
        if not self.target.config["add_missing_fields"] or sources is None:
            return dataset
        types = {}
        for name, source in sources.items():
            if name in dataset.fields:
                continue
            if source.data_type is None:
                raise MartechError(
                    f"stream '{self.stream_name}': the type of the new field '{name}' cannot be "
                    f"told from the stream's schema; add it to the dataset '{dataset.name}' by hand"
                )
            types[name] = source.data_type
        try:
            return add_missing_fields(
                self.target.client, dataset, types, dry_run=self.target.config["dry_run"]
            )
        except SchemaEvolutionError as error:
            raise MartechError(f"stream '{self.stream_name}': {error}") from error

    def _warn(self, dataset: Dataset, sources: Mapping[str, FieldSource] | None) -> set[str]:
        """Warn of what may surprise; return the fields that the rows will not have."""
        if dataset.named_identifier is None:
            self._log(
                "identifier",
                f"the dataset '{dataset.name}' has no Identifier Name yet; Monetate cannot use "
                "it before you set one there",
            )
        if sources is None:
            return set()
        self._warn_of_other_key(dataset, sources)
        left_out = set(dataset.fields) - set(sources) - set(dataset.required)
        if left_out:
            self._log_left_out(left_out, "its rows leave out")
        return left_out

    def _warn_of_other_key(self, dataset: Dataset, sources: Mapping[str, FieldSource]) -> None:
        key, unique = list(self.key_properties), dataset.unique_key
        if unique is None or not key:
            return
        source = sources.get(unique)
        if source is not None and source.reads == set(key):
            return
        self._log(
            "key",
            f"its key is {quoted(key)}, but the dataset '{dataset.name}' has the unique key "
            f"'{unique}': rows with the same '{unique}' replace each other, whatever their key",
        )

    def _warn_of_left_out(self, row: Mapping[str, Any]) -> None:
        left_out = set(self._dataset.fields) - set(row) - self._left_out
        if left_out:
            self._log_left_out(left_out, "a row leaves out")
            self._least_fields = 0

    def _log_left_out(self, names: set[str], fact: str) -> None:
        ordered = [name for name in self._dataset.fields if name in names]
        replaced = ", also where an earlier row had a value" if self._unique_key else ""
        self._log(
            "left out " + " ".join(ordered),
            f"{fact} {quoted(ordered)} of the dataset, which become null{replaced}",
        )

    def _log(self, topic: str, message: str) -> None:
        self.target.warn_once(self.stream_name, topic, message)


def _allows_append(mapping: Mapping[str, Any]) -> object:
    given = mapping.get("allow_append")
    return False if given is None or given == "" else boolean(given)
