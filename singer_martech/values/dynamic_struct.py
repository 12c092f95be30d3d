"""Types for JSON objects whose fields are known only at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


def object_type(
    fields: Iterable[tuple[str, Any, Any]], *, skip_unknown: bool = False
) -> type[msgspec.Struct] | None:
    """Make the type of an object.

    Args:
        fields: Name, type and default of each field; ``msgspec.NODEFAULT`` if it is required.
        skip_unknown: Whether the decoder skips unknown fields or rejects the object.

    Returns:
        The type, whose attributes ``field_0``, ``field_1`` and so on are in the order of the
        fields. None if a name needs an escape in JSON, which the decoder does not support.
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
            forbid_unknown_fields=not skip_unknown,
            kw_only=True,
            gc=False,
        )
    except ValueError:
        return None
