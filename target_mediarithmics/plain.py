"""A fast test for documents that need no conversion and break no rule.

Most documents are plain, and msgspec recognises them in a fraction of the time that the rules
take. A document that is not plain may still be valid: then the rules decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Text = Annotated[str, msgspec.Meta(min_length=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=10**11, lt=10**13)]
Minutes = Annotated[int, msgspec.Meta(ge=0)]


class Plain:
    """The shape of plain documents of a type.

    Args:
        required: The types of fields that a plain document has.
        optional: The types of fields that it may have; other fields may hold anything.
        exactly_one: Groups of fields; a plain document has exactly one field of each.
        absent: Fields that it does not have.
    """

    def __init__(
        self,
        required: Mapping[str, Any],
        optional: Mapping[str, Any],
        exactly_one: tuple[tuple[str, ...], ...],
        absent: tuple[str, ...] = (),
    ) -> None:
        self._type = shape(required, optional)
        self._types = list[self._type]  # type: ignore[name-defined]
        self._exactly_one = exactly_one
        self._absent = absent

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is plain."""
        return _fits(document, self._type) and self._has_names(document)

    def match(self, documents: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all of these documents are plain."""
        return _fits(documents, self._types) and all(map(self._has_names, documents))

    def _has_names(self, document: Mapping[str, Any]) -> bool:
        for name in self._absent:
            if name in document:
                return False
        get = document.get
        for names in self._exactly_one:
            count = 0
            for name in names:
                if get(name):
                    count += 1
            if count != 1:
                return False
        return True


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except ValueError:  # of another type, or half of a surrogate pair
        return False
    return True


def shape(required: Mapping[str, Any], optional: Mapping[str, Any]) -> Any:
    """Return a type for objects with these fields, among others."""
    fields: list[Any] = [(name, kind, msgspec.NODEFAULT) for name, kind in required.items()]
    fields += [(name, kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in optional.items()]
    return object_type(fields, skip_unknown=True)
