"""What a document of each known type must be, checked before anything is sent.

The rules come from the vendor's pages on bulk processing. A document of a type that is
not known here is any JSON object.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.encoding import Unmappable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    Document = dict[str, Any]

USER_ACTIVITY = "USER_ACTIVITY"

_FIRST_MILLISECONDS, _END_OF_MILLISECONDS = 10**11, 10**13
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_STRATEGIES = ("PARTIAL_UPDATE", "PARTIAL_DELETE", "FORCE_REPLACE")
_DECLARED = {
    "USER_ACCOUNT": "user_account_id",
    "USER_EMAIL": "hash",
    "USER_AGENT": "user_agent_id",
    "USER_POINT": "user_point_id",
}
_SHAPES = ("USER_ACCOUNT", "USER_EMAIL", "USER_AGENT")
_IDENTIFIERS = ("user_account_id", "email_hash", "user_agent_id")


class Checked(NamedTuple):
    """A document that may be sent.

    Attributes:
        document: The document, completed where the vendor's rules leave no choice.
        identifier: Whom it is about, as text; documents of one identifier stay in order.
            None where nobody knows.
    """

    document: Document
    identifier: str | None


class DocumentType(NamedTuple):
    """A document type and its rules.

    Attributes:
        operations: The values of ``operation``; empty where there is no such field.
        deletion_fields: Of a type with the operation DELETE, what such a document holds
            beside its identifiers, with dots for what is nested.
        check: Checks a document of any operation, and raises Unmappable.
    """

    operations: tuple[str, ...]
    deletion_fields: tuple[str, ...]
    check: Callable[[Document], Checked]


def document_type(name: str) -> DocumentType:
    """Return a document type by its name at the vendor."""
    return _TYPES.get(name, _UNKNOWN)


def deletion_of(kind: DocumentType, document: Mapping[str, Any]) -> Document:
    """Return the document that deletes what a document says.

    Raises:
        Unmappable: The type knows no deletion.
    """
    if "DELETE" not in kind.operations:
        raise Unmappable("its document type has no operation DELETE")
    deletion: Document = {"operation": "DELETE"}
    for path in (*_IDENTIFIERS, "compartment_id", *kind.deletion_fields):
        outer, _, inner = path.partition(".")
        value = document.get(outer)
        if inner and isinstance(value, dict):
            value = {inner: value.get(inner)}
        if value is not None:
            deletion[outer] = value
    return deletion


def _activity(document: Document) -> Checked:
    if "operation" in document:
        raise Unmappable("operation: a USER_ACTIVITY has none")
    checked = _with_identifier(document, "$")
    _text(document, "$type")
    _text(document, "$session_status")
    _milliseconds(document.get("$ts"), "$ts")
    key = document.get("$unique_key")
    if key is not None and not (isinstance(key, str) and _UUID.fullmatch(key)):
        raise Unmappable("$unique_key: must be a UUID; in the mapping, {{ … | uuid }} makes one")
    events = document.get("$events")
    if not isinstance(events, list):
        raise Unmappable("$events: must be a list of events")
    for event in events:
        if not isinstance(event, dict):
            raise Unmappable("$events: an event must be an object")
        _text(event, "$event_name", "$events.")
        _milliseconds(event.get("$ts"), "$events.$ts")
        if not isinstance(event.get("$properties", {}), dict):
            raise Unmappable("$events.$properties: must be an object")
    return checked


def _profile(document: Document) -> Checked:
    operation = _one_of(document, "operation", ("UPSERT", "DELETE"))
    document, identifier = _with_identifier(document, "")
    if operation == "DELETE":
        return Checked(document, identifier)
    if document.get("update_strategy") is not None:
        _one_of(document, "update_strategy", _STRATEGIES)
    profile = document.get("user_profile")
    if not isinstance(profile, dict):
        raise Unmappable("user_profile: must be an object")
    repeated = {}
    for name in ("user_account_id", "compartment_id"):
        wanted, given = document.get(name), profile.get(f"${name}")
        if wanted is None or given == wanted:
            continue
        if given is not None and _as_identifier(given, f"user_profile.${name}") != wanted:
            raise Unmappable(f"user_profile.${name}: must repeat {name} or be left out")
        repeated[f"${name}"] = wanted
    if repeated:
        # a profile does not inherit the identifiers of its line
        document = {**document, "user_profile": {**profile, **repeated}}
    return Checked(document, identifier)


def _segment(document: Document) -> Checked:
    operation = _one_of(document, "operation", ("UPDATE", "DELETE"))
    checked = _with_identifier(document, "")
    names = [
        name
        for name in ("segment_id", "segment_technical_name")
        if document.get(name) is not None and document[name] != ""
    ]
    if len(names) != 1:
        raise Unmappable("segment_id: it or segment_technical_name is needed, and not both")
    document = checked.document
    if not isinstance(document[names[0]], str):
        document = {**document, names[0]: _as_identifier(document[names[0]], names[0])}
    duration = document.get("expiration_duration")
    if isinstance(duration, str) and duration.isascii() and duration.isdigit():
        duration = int(duration)
        document = {**document, "expiration_duration": duration}
    if duration is None and operation == "DELETE":
        return Checked(document, checked.identifier)
    if not isinstance(duration, int) or isinstance(duration, bool) or duration < 0:
        raise Unmappable(
            "expiration_duration: must be a whole number of minutes; 0 means that it never ends"
        )
    return Checked(document, checked.identifier)


def _choice(document: Document) -> Checked:
    operation = _one_of(document, "operation", ("UPSERT", "DELETE"))
    checked = _with_identifier(document, "")
    choice = document.get("user_choice")
    if not isinstance(choice, dict):
        raise Unmappable("user_choice: must be an object")
    document = checked.document
    processing = choice.get("$processing_id")
    if not isinstance(processing, str) or not processing:
        text = _as_identifier(processing, "user_choice.$processing_id")
        document = {**document, "user_choice": {**choice, "$processing_id": text}}
    if operation == "UPSERT":
        _milliseconds(choice.get("$choice_ts"), "user_choice.$choice_ts")
    return Checked(document, checked.identifier)


def _association(document: Document) -> Checked:
    return _declared_list(document, 2)


def _dissociation(document: Document) -> Checked:
    return _declared_list(document, 1)


def _declared_list(document: Document, at_least: int) -> Checked:
    entries = document.get("identifiers")
    if not isinstance(entries, list) or len(entries) < at_least:
        raise Unmappable(f"identifiers: must be a list of {at_least} or more")
    checked = [_declared(entry, "identifiers.", _SHAPES) for entry in entries]
    identifier = "&".join(sorted(each.identifier or "" for each in checked))
    documents = [each.document for each in checked]
    if any(new is not old for new, old in zip(documents, entries, strict=True)):
        document = {**document, "identifiers": documents}
    return Checked(document, identifier)


def _identifier_deletion(document: Document) -> Checked:
    return _declared(document, "", _SHAPES)


def _point_deletion(document: Document) -> Checked:
    return _declared(document, "", _DECLARED)


def _declared(entry: Any, place: str, allowed: Collection[str]) -> Checked:
    """Check an identifier that says its ``type``."""
    if not isinstance(entry, dict):
        raise Unmappable(f"{place.rstrip('.')}: each must be an object with a type")
    kind = _one_of(entry, "type", allowed, place)
    name = _DECLARED[kind]
    others = [other for other in _DECLARED.values() if other != name and entry.get(other)]
    if others:
        raise Unmappable(f"{place}{others[0]}: only one identifier is allowed, that of its type")
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        entry = {**entry, name: _as_identifier(value, place + name)}
    compartment = entry.get("compartment_id") if kind == "USER_ACCOUNT" else None
    where = "" if compartment is None else f"compartment_id={compartment},"
    return Checked(entry, f"{where}{name}={entry[name]}")


def _unknown(document: Document) -> Checked:
    return Checked(document, loose_identifier(document))


def loose_identifier(document: Mapping[str, Any]) -> str | None:
    """Name whom a document of an unknown type is about, if it uses the usual fields."""
    names = (f"{prefix}{name}" for prefix in ("", "$") for name in (*_IDENTIFIERS, *_MORE))
    found = [f"{name}={document[name]}" for name in names if document.get(name) is not None]
    return ",".join(found) or None


_MORE = ("compartment_id", "user_point_id", "hash")


def _with_identifier(document: Document, prefix: str) -> Checked:
    """See that a document has one identifier, written as text.

    Args:
        document: The document.
        prefix: What its field names begin with: ``$`` in activities.
    """
    names = _NAMES[prefix]
    name = _only_identifier(document, names, prefix)
    value, compartment = document[name], document.get(_COMPARTMENT[prefix])
    if name == names[1]:
        return Checked(document, f"email_hash={_email(value, name, is_object=bool(prefix))}")
    if name == "$user_identifiers":
        return Checked(document, f"user_identifiers={value}")
    if not isinstance(value, str) or not value.strip():
        value = _as_identifier(value, name)
        document = {**document, name: value}
    if compartment is None:
        return Checked(document, f"{name}={value}")
    if not isinstance(compartment, str):
        compartment = _as_identifier(compartment, f"{prefix}compartment_id")
        document = {**document, _COMPARTMENT[prefix]: compartment}
    return Checked(document, f"compartment_id={compartment},user_account_id={value}")


def _only_identifier(document: Mapping[str, Any], names: tuple[str, ...], prefix: str) -> str:
    """Return the name of the field that holds a document's identifier."""
    present = [name for name in names if document.get(name) is not None]
    if len(present) == 1 and present[0] == names[0]:
        return present[0]
    compartment = document.get(_COMPARTMENT[prefix])
    if len(present) > 1:
        raise Unmappable(f"{', '.join(present)}: only one identifier is allowed a line")
    if not present:
        alone = "" if compartment is None else f"{prefix}compartment_id alone is none; "
        wanted = f"{names[0]}, {names[1]} or {names[2]}"
        raise Unmappable(f"{names[0]}: {alone}a line needs an identifier: {wanted}")
    if compartment is not None and present[0] in names[1:3]:
        raise Unmappable(f"{prefix}compartment_id: goes with {names[0]} only")
    listed = document[present[0]] if present[0] == "$user_identifiers" else None
    if listed is not None and (not isinstance(listed, list) or len(listed) != 1):
        raise Unmappable("$user_identifiers: only one identifier is allowed a line")
    return present[0]


_COMPARTMENT = {"": "compartment_id", "$": "$compartment_id"}
_NAMES = {"": _IDENTIFIERS, "$": (*(f"${name}" for name in _IDENTIFIERS), "$user_identifiers")}


def _email(value: Any, name: str, *, is_object: bool) -> str:
    """Read an e-mail's hash: text, or in an activity an object with the hash or the address."""
    if is_object and isinstance(value, dict):
        value = value.get("$hash") or value.get("$email")
        if not isinstance(value, str) or not value.strip():
            raise Unmappable(f"{name}: needs $hash or $email")
    if not isinstance(value, str) or not value.strip():
        raise Unmappable(f"{name}: must be the hash as text")
    return value


def _as_identifier(value: Any, name: str) -> str:
    """Write an identifier as the vendor takes it: as text, also where it came as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise Unmappable(f"{name}: must be text that is not empty")


def _text(document: Mapping[str, Any], name: str, place: str = "") -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Unmappable(f"{place}{name}: must be text that is not empty")
    return value


def _one_of(
    document: Mapping[str, Any], name: str, allowed: Collection[str], place: str = ""
) -> str:
    value = document.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise Unmappable(f"{place}{name}: must be one of {', '.join(allowed)}")
    return value


def _milliseconds(value: Any, name: str) -> None:
    if type(value) is int and _FIRST_MILLISECONDS <= value < _END_OF_MILLISECONDS:
        return
    raise Unmappable(
        f"{name}: must be milliseconds since 1970 (13 digits); in the mapping, "
        "{{ … | epoch_ms }} makes them"
    )


def _names() -> Iterator[tuple[str, DocumentType]]:
    upsert, update = ("UPSERT", "DELETE"), ("UPDATE", "DELETE")
    segment = ("segment_id", "segment_technical_name", "expiration_duration")
    yield USER_ACTIVITY, DocumentType((), (), _activity)
    yield "USER_PROFILE", DocumentType(upsert, (), _profile)
    yield "USER_CHOICE", DocumentType(upsert, ("user_choice.$processing_id",), _choice)
    yield "USER_SEGMENT", DocumentType(update, segment, _segment)
    yield "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS", DocumentType((), (), _association)
    yield "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS", DocumentType((), (), _dissociation)
    yield "USER_IDENTIFIERS_DELETION", DocumentType((), (), _identifier_deletion)
    yield "USER_POINTS_DELETION", DocumentType((), (), _point_deletion)


_UNKNOWN = DocumentType((), (), _unknown)
_TYPES = dict(_names())
