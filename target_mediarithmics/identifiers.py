"""Whom a document is about: user identifiers, and how documents name them.

The rules come from the vendor's pages on bulk processing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Document = dict[str, Any]

DECLARED = {
    "USER_ACCOUNT": "user_account_id",
    "USER_EMAIL": "hash",
    "USER_AGENT": "user_agent_id",
    "USER_POINT": "user_point_id",
}
"""The field of each type of declared identifier."""
SHAPES = ("USER_ACCOUNT", "USER_EMAIL", "USER_AGENT")
"""The types that identifiers are associated, dissociated and deleted by."""
IDENTIFIERS = ("user_account_id", "email_hash", "user_agent_id")
"""The fields that hold an identifier, in activities with ``$``."""
_MORE = ("compartment_id", "user_point_id", "hash")
_COMPARTMENT = {"": "compartment_id", "$": "$compartment_id"}
_NAMES = {"": IDENTIFIERS, "$": (*(f"${name}" for name in IDENTIFIERS), "$user_identifiers")}


class Checked(NamedTuple):
    """A document that may be sent.

    Attributes:
        document: The document, completed where the vendor's rules leave no choice.
        identifier: Whom it is about, as text; documents of one identifier stay in order.
            None where nobody knows.
    """

    document: Document
    identifier: str | None


def declared(entry: Any, place: str, allowed: Collection[str]) -> Checked:
    """Check an identifier that says its ``type``."""
    if not isinstance(entry, dict):
        raise MappingError(f"{place.rstrip('.')}: each must be an object with a type")
    kind = one_of(entry, "type", allowed, place)
    name = DECLARED[kind]
    others = [other for other in DECLARED.values() if other != name and entry.get(other)]
    if others:
        raise MappingError(f"{place}{others[0]}: only one identifier is allowed, that of its type")
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        entry = {**entry, name: as_identifier(value, place + name)}
    compartment = entry.get("compartment_id") if kind == "USER_ACCOUNT" else None
    where = "" if compartment is None else f"compartment_id={compartment},"
    return Checked(entry, f"{where}{name}={entry[name]}")


def loose_identifier(document: Mapping[str, Any]) -> str | None:
    """Name whom a document of an unknown type is about, if it uses the usual fields."""
    names = (f"{prefix}{name}" for prefix in ("", "$") for name in (*IDENTIFIERS, *_MORE))
    found = [f"{name}={document[name]}" for name in names if document.get(name) is not None]
    return ",".join(found) or None


def with_identifier(document: Document, prefix: str) -> Checked:
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
        value = as_identifier(value, name)
        document = {**document, name: value}
    if compartment is None:
        return Checked(document, f"{name}={value}")
    if not isinstance(compartment, str):
        compartment = as_identifier(compartment, f"{prefix}compartment_id")
        document = {**document, _COMPARTMENT[prefix]: compartment}
    return Checked(document, f"compartment_id={compartment},user_account_id={value}")


def _only_identifier(document: Mapping[str, Any], names: tuple[str, ...], prefix: str) -> str:
    """Return the name of the field that holds a document's identifier."""
    present = [name for name in names if document.get(name) is not None]
    if len(present) == 1 and present[0] == names[0]:
        return present[0]
    compartment = document.get(_COMPARTMENT[prefix])
    if len(present) > 1:
        raise MappingError(f"{', '.join(present)}: only one identifier is allowed a line")
    if not present:
        alone = "" if compartment is None else f"{prefix}compartment_id alone is none; "
        wanted = f"{names[0]}, {names[1]} or {names[2]}"
        raise MappingError(f"{names[0]}: {alone}a line needs an identifier: {wanted}")
    if compartment is not None and present[0] in names[1:3]:
        raise MappingError(f"{prefix}compartment_id: goes with {names[0]} only")
    listed = document[present[0]] if present[0] == "$user_identifiers" else None
    if listed is not None and (not isinstance(listed, list) or len(listed) != 1):
        raise MappingError("$user_identifiers: only one identifier is allowed a line")
    return present[0]


def _email(value: Any, name: str, *, is_object: bool) -> str:
    """Read an e-mail's hash: text, or in an activity an object with the hash or the address."""
    if is_object and isinstance(value, dict):
        value = value.get("$hash") or value.get("$email")
        if not isinstance(value, str) or not value.strip():
            raise MappingError(f"{name}: needs $hash or $email")
    if not isinstance(value, str) or not value.strip():
        raise MappingError(f"{name}: must be the hash as text")
    return value


def as_identifier(value: Any, name: str) -> str:
    """Write an identifier as the vendor takes it: as text, also where it came as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise MappingError(f"{name}: must be text that is not empty")


def one_of(
    document: Mapping[str, Any], name: str, allowed: Collection[str], place: str = ""
) -> str:
    """Return a field that holds one of a few words."""
    value = document.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise MappingError(f"{place}{name}: must be one of {', '.join(allowed)}")
    return value
