"""A stream's mapping, checked and compiled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.mapping.filters import as_text
from singer_martech.mapping.stream_mappings import compiled, mapping_error
from singer_martech.mapping.undefined import UNDEFINED, TemplateError
from singer_martech.mediarithmics.imports import CONTENT_TYPES, CSV, NDJSON, PRIORITIES, Definition
from singer_martech.singer.config_check import boolean
from singer_martech.values.wording import similar
from target_mediarithmics.document_types import ANY_OBJECT, DOCUMENT_TYPES, USER_SEGMENT
from target_mediarithmics.documents import deletion_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.mapping.template import Template
    from target_mediarithmics.documents import DocumentType

MAPPING_KEYS = (
    "document_type",
    "document",
    "mime_type",
    "document_import_id",
    "document_import_name",
    "priority",
    "mirror",
    "mirror_max_deletes",
)

_MAX_DELETES = 0.2
"""Default maximum share of the keys that a mirror deletes."""


class StreamMapping(NamedTuple):
    """The mapping of a stream's records to documents.

    Attributes:
        document_type: The rules of its documents.
        document: Makes the document of a record; None if the record is the document.
        deletion: Makes the fields of a deletion of a deleted record; None likewise.
        columns: The columns of a CSV that the mapping names; None takes those of the schema.
        import_id: The document import, if the setting gives its id.
        wanted: The document import to find by name or to create.
        mirror: Whether keys that a full read does not contain are deleted.
        mirror_max_deletes: The maximum: below 1 a share of the keys, else a number.
    """

    document_type: DocumentType
    document: Template | None
    deletion: Template | None
    columns: tuple[str, ...] | None
    import_id: str | None
    wanted: Definition
    mirror: bool
    mirror_max_deletes: float

    @classmethod
    def from_mapping(cls, stream: str, mapping: Mapping[str, Any]) -> StreamMapping:
        """Check and compile a mapping.

        Raises:
            SettingError: It cannot be used; the message names stream and key.
        """
        document = mapping.get("document")
        wanted = _definition(stream, mapping)
        document_type = DOCUMENT_TYPES.get(wanted.document_type, ANY_OBJECT)
        _check_document(stream, document, document_type, wanted.mime_type)
        deletion = document
        if isinstance(document, dict) and "DELETE" in document_type.operations:
            # a deleted record may hold only its key: the other expressions would fail
            deletion = deletion_of(document_type, document)
        return cls(
            document_type=document_type,
            document=None if document is None else compiled(document, stream, "document"),
            deletion=None if deletion is None else compiled(deletion, stream, "document"),
            columns=tuple(document) if isinstance(document, dict) else None,
            import_id=_import_id(stream, mapping),
            wanted=wanted,
            mirror=_mirror(stream, mapping, document_type),
            mirror_max_deletes=_max_deletes(stream, mapping),
        )


def _mirror(stream: str, mapping: Mapping[str, Any], document_type: DocumentType) -> bool:
    value = boolean(mapping.get("mirror") or False)
    if not isinstance(value, bool):
        raise mapping_error(stream, "mirror", "must be true or false")
    if value and "DELETE" not in document_type.operations:
        raise mapping_error(stream, "mirror", "its document type has no operation DELETE")
    return value


def _max_deletes(stream: str, mapping: Mapping[str, Any]) -> float:
    value = mapping.get("mirror_max_deletes")
    if value is None or value == "":
        return _MAX_DELETES
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        problem = "must be a share below 1, such as 0.2, or a number of keys from 1"
        raise mapping_error(stream, "mirror_max_deletes", problem)
    return number


def check_document_type(stream: str, name: str) -> None:
    """Check for a misspelt document type; unknown types are allowed.

    Raises:
        SettingError: The name is close to that of a known type.
    """
    near = similar(name, DOCUMENT_TYPES, cutoff=0.8)
    if near and name not in DOCUMENT_TYPES:
        raise mapping_error(stream, "document_type", f"'{name}': did you mean '{near}'?")


def _definition(stream: str, mapping: Mapping[str, Any]) -> Definition:
    name = mapping.get("document_type")
    if not isinstance(name, str) or not name.strip() or "{{" in name:
        raise mapping_error(stream, "document_type", "is required, such as USER_ACTIVITY")
    mime_type = mapping.get("mime_type") or NDJSON
    if mime_type not in CONTENT_TYPES:
        raise mapping_error(stream, "mime_type", f"must be one of {', '.join(CONTENT_TYPES)}")
    if mime_type == CSV and name != USER_SEGMENT:
        raise mapping_error(
            stream,
            "mime_type",
            f"{CSV} is for {USER_SEGMENT} only (vendor page: Segments import); use {NDJSON}",
        )
    priority = mapping.get("priority")
    if priority is not None and priority not in PRIORITIES:
        raise mapping_error(stream, "priority", f"must be one of {', '.join(PRIORITIES)}")
    return Definition(_import_name(stream, mapping), name, mime_type, priority)


def _import_id(stream: str, mapping: Mapping[str, Any]) -> str | None:
    value = mapping.get("document_import_id")
    if value is None or value == "":
        return None
    if mapping.get("document_import_name"):
        raise mapping_error(stream, "document_import_id", "excludes document_import_name; give one")
    if isinstance(value, bool) or not isinstance(value, (str, int)) or "{{" in str(value):
        raise mapping_error(stream, "document_import_id", "must be the id of a document import")
    return str(value)


def _import_name(stream: str, mapping: Mapping[str, Any]) -> str:
    """Return the import's name, with the stream's name for ``{{ stream }}``."""
    name = mapping.get("document_import_name") or f"singer-martech {stream}"
    if not isinstance(name, str):
        raise mapping_error(stream, "document_import_name", "must be text")
    if "{{" not in name or not mapping.get("document_import_name"):
        return name
    try:
        value = compiled(name, stream, "document_import_name")({})
    except TemplateError as error:
        raise mapping_error(stream, "document_import_name", str(error)) from error
    if value is UNDEFINED or not as_text(value).strip():
        raise mapping_error(stream, "document_import_name", "may hold {{ stream }}, but no field")
    return as_text(value)


def _check_document(
    stream: str, document: Any, document_type: DocumentType, mime_type: str
) -> None:
    is_object = isinstance(document, dict)
    if mime_type == CSV and document is not None and not is_object:
        raise mapping_error(
            stream, "document", "must be an object for TEXT_CSV: its keys become the header"
        )
    is_expression = isinstance(document, str) and document.strip().startswith("{{")
    if document is not None and not is_object and not is_expression:
        raise mapping_error(
            stream, "document", "must be an object, or an expression that gives one"
        )
    operation = document.get("operation") if is_object else None
    is_constant = isinstance(operation, str) and "{{" not in operation
    if is_constant and document_type.operations and operation not in document_type.operations:
        allowed = ", ".join(document_type.operations)
        raise mapping_error(stream, "document", f"operation must be one of {allowed}")
