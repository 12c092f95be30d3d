"""The contextId of a record: the identity of past data, so its form never changes.

Mona merges messages of one contextId. The id may hold no more dots than the arc class
does, so an id that holds more is escaped, in a way that keeps different ids different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.filters import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_NULL = "%00"


def of_values(values: Iterable[Any]) -> str:
    """Return the id for the values of one key field or several.

    One value is taken as its text. Several are joined by ``|``; a ``|`` or ``%`` inside a
    value is percent-encoded, and null becomes ``%00``, which no value gives.

    Raises:
        MappingError: There is nothing but nulls, or the only value is empty: such records
            would all be merged.
    """
    texts = list(values)
    if len(texts) == 1:
        return of_value(texts[0])
    if all(value is None for value in texts):
        raise MappingError("its contextId would be empty")
    return "|".join(map(_part, texts))


def of_value(value: Any) -> str:
    """Return the id for the value of a single field or of a template.

    Raises:
        MappingError: It is null or empty.
    """
    text = value if isinstance(value, str) else as_text(value)
    if not text:
        raise MappingError("its contextId would be empty")
    return text


def acceptable(text: str, dots: int) -> str:
    """Return an id that holds at most ``dots`` dots, unlike that of any other text.

    A text that holds more dots, or that looks as if it had been escaped, has its ``%``
    written as ``%25`` and its dots as ``%2E``; any other stays as it is.
    """
    if text.count(".") <= dots and "%2E" not in text and "%25" not in text:
        return text
    return text.replace("%", "%25").replace(".", "%2E")


def _part(value: Any) -> str:
    if value is None:
        return _NULL
    return as_text(value).replace("%", "%25").replace("|", "%7C")
