"""What a document of each known type must be, checked before anything is sent.

The rules come from the vendor's pages on bulk processing. A document of a type that is
not known here is any JSON object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.errors import MappingError
from target_mediarithmics.identifiers import (
    DECLARED,
    IDENTIFIERS,
    SHAPES,
    Checked,
    as_identifier,
    declared,
    loose_identifier,
    one_of,
    with_identifier,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Document = dict[str, Any]

USER_ACTIVITY = "USER_ACTIVITY"

_FIRST_MILLISECONDS, _END_OF_MILLISECONDS = 10**11, 10**13
_STRATEGIES = ("PARTIAL_UPDATE", "PARTIAL_DELETE", "FORCE_REPLACE")


class DocumentType(NamedTuple):
    """A document type and its rules.

    Attributes:
        operations: The values of ``operation``; empty where there is no such field.
        deletion_fields: Of a type with the operation DELETE, what such a document holds
            beside its identifiers, with dots for what is nested.
        check: Checks a document of any operation, and raises Unmappable.
        nested: The field that holds an object or a list, which no CSV can hold.
        nested_in: The operations whose documents have that field; empty where all have it.
    """

    operations: tuple[str, ...]
    deletion_fields: tuple[str, ...]
    check: Callable[[Document], Checked]
    nested: str = ""
    nested_in: tuple[str, ...] = ()


def document_type(name: str) -> DocumentType:
    """Return a document type by its name at the vendor."""
    return _TYPES.get(name, _UNKNOWN)


def deletion_of(kind: DocumentType, document: Mapping[str, Any]) -> Document:
    """Return the document that deletes what a document says.

    Raises:
        MappingError: The type knows no deletion.
    """
    if "DELETE" not in kind.operations:
        raise MappingError("its document type has no operation DELETE")
    deletion: Document = {"operation": "DELETE"}
    for path in (*IDENTIFIERS, "compartment_id", *kind.deletion_fields):
        outer, _, inner = path.partition(".")
        value = document.get(outer)
        if inner and isinstance(value, dict):
            value = {inner: value.get(inner)}
        if value is not None:
            deletion[outer] = value
    return deletion


def _activity(document: Document) -> Checked:
    if "operation" in document:
        raise MappingError("operation: a USER_ACTIVITY has none")
    check_config = with_identifier(document, "$")
    for name in ("$type", "$session_status", "$unique_key"):
        if name in document:
            _text(document, name)
    _milliseconds(document.get("$ts"), "$ts")
    events = document.get("$events", [])
    if not isinstance(events, list):
        raise MappingError("$events: must be a list of events")
    for event in events:
        if not isinstance(event, dict):
            raise MappingError("$events: an event must be an object")
        _text(event, "$event_name", "$events.")
        _milliseconds(event.get("$ts"), "$events.$ts")
        if not isinstance(event.get("$properties", {}), dict):
            raise MappingError("$events.$properties: must be an object")
    return check_config


def _profile(document: Document) -> Checked:
    operation = one_of(document, "operation", ("UPSERT", "DELETE"))
    document, identifier = with_identifier(document, "")
    if operation == "DELETE":
        return Checked(document, identifier)
    if document.get("update_strategy") is not None:
        one_of(document, "update_strategy", _STRATEGIES)
    profile = document.get("user_profile")
    if not isinstance(profile, dict):
        raise MappingError("user_profile: must be an object")
    repeated = {}
    for name in ("user_account_id", "compartment_id"):
        wanted, given = document.get(name), profile.get(f"${name}")
        if wanted is None or given == wanted:
            continue
        if given is not None and as_identifier(given, f"user_profile.${name}") != wanted:
            raise MappingError(f"user_profile.${name}: must repeat {name} or be left out")
        repeated[f"${name}"] = wanted
    if repeated:
        # a profile does not inherit the identifiers of its line
        document = {**document, "user_profile": {**profile, **repeated}}
    return Checked(document, identifier)


def _segment(document: Document) -> Checked:
    operation = one_of(document, "operation", ("UPDATE", "DELETE"))
    check_config = with_identifier(document, "")
    names = [
        name
        for name in ("segment_id", "segment_technical_name")
        if document.get(name) is not None and document[name] != ""
    ]
    if len(names) != 1:
        raise MappingError("segment_id: it or segment_technical_name is needed, and not both")
    document = check_config.document
    if not isinstance(document[names[0]], str):
        document = {**document, names[0]: as_identifier(document[names[0]], names[0])}
    duration = document.get("expiration_duration")
    if isinstance(duration, str) and duration.isascii() and duration.isdigit():
        duration = int(duration)
        document = {**document, "expiration_duration": duration}
    if duration is None and operation == "DELETE":
        return Checked(document, check_config.identifier)
    if not isinstance(duration, int) or isinstance(duration, bool) or duration < 0:
        raise MappingError(
            "expiration_duration: must be a whole number of minutes; 0 means that it never ends"
        )
    return Checked(document, check_config.identifier)


def _choice(document: Document) -> Checked:
    operation = one_of(document, "operation", ("UPSERT", "DELETE"))
    check_config = with_identifier(document, "")
    choice = document.get("user_choice")
    if not isinstance(choice, dict):
        raise MappingError("user_choice: must be an object")
    document = check_config.document
    processing = choice.get("$processing_id")
    if not isinstance(processing, str) or not processing:
        text = as_identifier(processing, "user_choice.$processing_id")
        document = {**document, "user_choice": {**choice, "$processing_id": text}}
    if operation == "UPSERT":
        _milliseconds(choice.get("$choice_ts"), "user_choice.$choice_ts")
    return Checked(document, check_config.identifier)


def _association(document: Document) -> Checked:
    return _declared_list(document, 2)


def _dissociation(document: Document) -> Checked:
    return _declared_list(document, 1)


def _declared_list(document: Document, at_least: int) -> Checked:
    entries = document.get("identifiers")
    if not isinstance(entries, list) or len(entries) < at_least:
        raise MappingError(f"identifiers: must be a list of {at_least} or more")
    check_config = [declared(entry, "identifiers.", SHAPES) for entry in entries]
    identifier = "&".join(sorted(each.identifier or "" for each in check_config))
    documents = [each.document for each in check_config]
    if any(new is not old for new, old in zip(documents, entries, strict=True)):
        document = {**document, "identifiers": documents}
    return Checked(document, identifier)


def _identifier_deletion(document: Document) -> Checked:
    return declared(document, "", SHAPES)


def _point_deletion(document: Document) -> Checked:
    return declared(document, "", DECLARED)


def _unknown(document: Document) -> Checked:
    return Checked(document, loose_identifier(document))


def _text(document: Mapping[str, Any], name: str, place: str = "") -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise MappingError(f"{place}{name}: must be text that is not empty")
    return value


def _milliseconds(value: Any, name: str) -> None:
    if type(value) is int and _FIRST_MILLISECONDS <= value < _END_OF_MILLISECONDS:
        return
    raise MappingError(
        f"{name}: must be milliseconds since 1970 (13 digits); in the mapping, "
        "{{ … | epoch_ms }} makes them"
    )


def _names() -> Iterator[tuple[str, DocumentType]]:
    upsert, update = ("UPSERT", "DELETE"), ("UPDATE", "DELETE")
    segment = ("segment_id", "segment_technical_name", "expiration_duration")
    yield USER_ACTIVITY, DocumentType((), (), _activity)
    yield "USER_PROFILE", DocumentType(upsert, (), _profile, "user_profile", ("UPSERT",))
    yield (
        "USER_CHOICE",
        DocumentType(upsert, ("user_choice.$processing_id",), _choice, "user_choice"),
    )
    yield "USER_SEGMENT", DocumentType(update, segment, _segment)
    yield (
        "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS",
        DocumentType((), (), _association, "identifiers"),
    )
    yield (
        "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS",
        DocumentType((), (), _dissociation, "identifiers"),
    )
    yield "USER_IDENTIFIERS_DELETION", DocumentType((), (), _identifier_deletion)
    yield "USER_POINTS_DELETION", DocumentType((), (), _point_deletion)


_UNKNOWN = DocumentType((), (), _unknown)
_TYPES = dict(_names())
