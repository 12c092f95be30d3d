"""Convert values to the types that the vendor's pages name.

Each function returns the document itself if nothing changes, and a changed copy otherwise.
A value that cannot be converted stays unchanged: then a rule of the document's type rejects it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import encode
from target_mediarithmics.identifiers import RESOURCE_FIELDS, is_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Document = dict[str, Any]
    Conversion = Callable[[Document], Document]

_WHOLE_NUMBER = re.compile(r"([0-9]{1,18})(?:\.0+)?")
_MAX_DIGITS = 40
_COMPLETED_STRATEGIES = ("PARTIAL_UPDATE", "FORCE_REPLACE")


def to_text(value: Any) -> Any:
    """Return a number as text: 208045946.0, as singer-python writes it, is ``208045946``."""
    if type(value) is int:
        return str(value) if abs(value) < 10**_MAX_DIGITS else value
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < _MAX_DIGITS:
        is_whole = value == value.to_integral_value()
        return str(int(value)) if is_whole else format(value, "f")
    return value


def to_integer(value: Any) -> Any:
    """Return digits as text, or a number with ``.0``, as an integer."""
    if type(value) is int:
        return value
    match = _WHOLE_NUMBER.fullmatch(value if isinstance(value, str) else str(to_text(value)))
    return value if match is None or isinstance(value, bool) else int(match.group(1))


_compartment = lru_cache(maxsize=1024, typed=True)(to_integer)
"""There are few compartments."""


def to_whole(value: Any) -> Any:
    """Return a number with ``.0`` as an integer; text stays text."""
    return value if isinstance(value, str) else to_integer(value)


def fields(convert: Callable[[Any], Any], *names: str) -> Conversion:
    """Return a conversion of these fields of a document."""

    def converted(document: Document) -> Document:
        changed = {}
        for name in names:
            value = document.get(name)
            if value is not None and (new := convert(value)) is not value:
                changed[name] = new
        return {**document, **changed} if changed else document

    return converted


def nested(name: str, convert: Conversion) -> Conversion:
    """Return a conversion of the object in this field, or of each object in its list."""

    def converted(document: Document) -> Document:
        value = document.get(name)
        if isinstance(value, dict):
            new: Any = convert(value)
        elif isinstance(value, list):
            new = [convert(item) if isinstance(item, dict) else item for item in value]
            if all(after is before for after, before in zip(new, value, strict=True)):
                return document
        else:
            return document
        return document if new is value else {**document, name: new}

    return converted


def without_empty(*names: str) -> Conversion:
    """Return a conversion that removes these fields if they are null or empty."""
    return _without(is_empty, names)


def without_empty_text(*names: str) -> Conversion:
    """Return a conversion that removes these fields if they are empty text.

    The vendor accepts null in activities, but not text if the page names another type.
    """
    return _without(lambda value: value == "", names)


def _without(is_left_out: Callable[[Any], bool], names: tuple[str, ...]) -> Conversion:
    def converted(document: Document) -> Document:
        empty = [name for name in names if name in document and is_left_out(document[name])]
        if not empty:
            return document
        return {name: value for name, value in document.items() if name not in empty}

    return converted


def resource(document: Document) -> Document:
    """Write the value of an identifier resource as text."""
    kind = document.get("type")
    name = RESOURCE_FIELDS.get(kind) if isinstance(kind, str) else None
    return document if name is None else fields(to_text, name)(document)


def json_text(value: Any) -> Any:
    """Return an object or a list as JSON text.

    Raises:
        MappingError: JSON cannot represent a value in it.
    """
    return encode(value).decode() if isinstance(value, (dict, list)) else value


def complete_profile(document: Document) -> Document:
    """Add the line's account and compartment to a profile that lacks them.

    The profile does not inherit them (vendor page: User profiles). What a PARTIAL_DELETE
    would do with them is not documented.
    """
    profile = document.get("user_profile")
    if (
        not isinstance(profile, dict)
        or document.get("operation") != "UPSERT"
        or document.get("update_strategy") not in _COMPLETED_STRATEGIES
    ):
        return document
    added: dict[str, Any] = {}
    if lacks_account(document, profile):
        added["$user_account_id"] = document["user_account_id"]
    compartment = document.get("compartment_id")
    if compartment is not None and is_empty(profile.get("$compartment_id")):
        number = _compartment(compartment)
        if type(number) is int:
            added["$compartment_id"] = number
    return {**document, "user_profile": {**profile, **added}} if added else document


def lacks_account(document: Mapping[str, Any], profile: Mapping[str, Any]) -> bool:
    """Whether a line names an account that its profile does not repeat."""
    account = document.get("user_account_id")
    return not is_empty(account) and is_empty(profile.get("$user_account_id"))
