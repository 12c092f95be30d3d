"""The fields that identify users, and a text for each user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Document = dict[str, Any]

IDENTIFIERS = ("user_account_id", "email_hash", "user_agent_id")
"""The fields of a command that identify its user."""

ACTIVITY_IDENTIFIERS = ("$user_account_id", "$email_hash", "$user_agent_id", "$user_identifiers")
"""The fields of an activity that identify its user."""

RESOURCE_FIELDS = {
    "USER_ACCOUNT": "user_account_id",
    "USER_EMAIL": "hash",
    "USER_AGENT": "user_agent_id",
    "USER_POINT": "user_point_id",
}
"""The field of an identifier resource, by its ``type``."""

_ACTIVITY_USER = ("$compartment_id", *ACTIVITY_IDENTIFIERS)
_MATCHED = (*IDENTIFIERS, "compartment_id", "user_point_id", "hash")
_ANY_USER = tuple(f"{prefix}{name}" for prefix in ("", "$") for name in _MATCHED)


def is_empty(value: Any) -> bool:
    """Whether an optional field with this value counts as absent."""
    return value is None or value == ""


def given(document: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the fields that hold a value."""
    return [name for name in names if not is_empty(document.get(name))]


def of_command(document: Mapping[str, Any]) -> str | None:
    """Return a text that is the same for commands on the same user."""
    for name in IDENTIFIERS:
        if document.get(name):
            return _account(document, name)
    return None


def of_activity(document: Mapping[str, Any]) -> str | None:
    """Return a text that is the same for activities with the same identifiers."""
    return _joined(document, _ACTIVITY_USER)


def of_resource(document: Mapping[str, Any]) -> str | None:
    """Return a text that is the same for the same identifier resource."""
    name = RESOURCE_FIELDS.get(document["type"])
    return None if name is None else _account(document, name)


def of_resources(document: Mapping[str, Any]) -> str | None:
    """Return a text that is the same for the same list of identifier resources."""
    return "&".join(sorted(of_resource(entry) or "" for entry in document["identifiers"])) or None


def of_any(document: Mapping[str, Any]) -> str | None:
    """Return a text for the user of a document of unknown type, if it has the usual fields."""
    return _joined(document, _ANY_USER)


def _account(document: Mapping[str, Any], name: str) -> str:
    compartment = document.get("compartment_id") if name == "user_account_id" else None
    where = f"compartment_id={compartment}," if compartment else ""
    return f"{where}{name}={document[name]}"


def _joined(document: Mapping[str, Any], names: Iterable[str]) -> str | None:
    get = document.get
    found = [f"{name}={value}" for name in names if (value := get(name)) is not None]
    return ",".join(found) or None
