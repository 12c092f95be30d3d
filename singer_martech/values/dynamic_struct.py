"""Types for JSON objects whose fields are known only at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


def object_type(fields: Iterable[tuple[str, Any, Any]]) -> type[msgspec.Struct] | None:
    """Make the type of an object, whose decoder refuses fields that are not known.

    Args:
        fields: The name of each, its type, and its default; ``msgspec.NODEFAULT`` where it
            may not be missing.

    Returns:
        The type, whose attributes are in the order of the fields; None where a name needs an
        escape in JSON, which such a decoder does not know.
    """
    attributes: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for index, (name, kind, default) in enumerate(fields):
        attribute = f"field_{index}"
        names[attribute] = name
        value = msgspec.field() if default is msgspec.NODEFAULT else default
        attributes.append((attribute, kind, value))
    try:
        return msgspec.defstruct(
            "Object",
            attributes,
            rename=names,
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
    except ValueError:
        return None
