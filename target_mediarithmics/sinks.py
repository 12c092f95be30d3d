"""What a Singer record becomes as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech._compat import override
from singer_martech.delivery.sink import Mapped, MartechSink
from singer_martech.errors import SettingError
from singer_martech.mediarithmics.imports import CSV
from singer_martech.values.json_codec import Unmappable, encode
from target_mediarithmics import csv_rows
from target_mediarithmics.documents import deletion_of
from target_mediarithmics.stream_mapping import MAPPING_KEYS, Recipe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from singer_martech.mapping.template import Template
    from target_mediarithmics.target import TargetMediarithmics


class MediarithmicsSink(MartechSink):
    """One stream on its way into one document import."""

    target: TargetMediarithmics
    mapping_keys = MAPPING_KEYS

    @override
    @classmethod
    def check_mapping(cls, name: str, mapping: Mapping[str, Any]) -> None:
        Recipe.from_mapping(name, mapping)

    @override
    def prepare(self) -> None:
        if self.mapping is None:
            raise SettingError(
                f"stream '{self.stream_name}' has no mapping: give it one with a document_type "
                "in the setting 'streams', or deselect it"
            )
        self._recipe = recipe = Recipe.from_mapping(self.stream_name, self.mapping)
        self._columns: tuple[str, ...] | None = None
        if recipe.wanted.mime_type == CSV:
            self._columns = recipe.columns or tuple(self.schema["properties"])
        channel = self.target.import_channel(self.stream_name, recipe, self._columns)
        self._import_key = id(channel)
        self._channel = self.target.channel(channel)

    @override
    def reads(self) -> Collection[str] | None:
        document = self._recipe.document  # without one, the record is the document
        return None if document is None else document.fields

    @override
    def map_record(self, record: dict[str, Any], whole: bytes | None) -> Mapped:
        recipe = self._recipe
        document = record if recipe.document is None else self._document(recipe.document, record)
        return self._mapped_document(document, whole if document is record else None)

    @override
    def map_delete(self, record: dict[str, Any]) -> Mapped:
        recipe = self._recipe
        document = record if recipe.deletion is None else self._document(recipe.deletion, record)
        return self._mapped_document(deletion_of(recipe.kind, document), None)

    def _mapped_document(self, document: dict[str, Any], whole: bytes | None) -> Mapped:
        checked, identifier = self._recipe.kind.check(document)
        if self._columns is not None:
            body = csv_rows.row(self._columns, checked)
        elif whole is not None and checked is document and b"\r" not in whole:
            body = whole
        else:
            body = encode(checked)
        # a number, so that millions of them take little memory; two identifiers that
        # share one by chance only wait for each other
        key = None if identifier is None else hash((self._import_key, identifier))
        return Mapped(self._channel, key, body)

    @staticmethod
    def _document(template: Template, record: dict[str, Any]) -> dict[str, Any]:
        document = template(record)
        if not isinstance(document, dict) or not document:
            raise Unmappable("its document would be no object with a field or more")
        return document
