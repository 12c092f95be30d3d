"""The contextId of a record. It identifies past data, so its form never changes.

Mona merges messages with the same contextId. An id may have no more dots than its arc class, so
an id with more dots is escaped so that different ids stay different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.mapping.filters import as_text
from singer_martech.values.numbers import without_zero_fraction

if TYPE_CHECKING:
    from collections.abc import Iterable

_NULL = "%00"


def of_values(values: Iterable[Any]) -> str:
    """Return the id for the values of one key field or several; empty if all are null.

    One value becomes its text. Several are joined by ``|``; a ``|`` or ``%`` in a value is
    percent-encoded, and null becomes ``%00``, which differs from every value.
    """
    items = list(values)
    if len(items) == 1:
        return of_value(items[0])
    if all(item is None for item in items):
        return ""
    return "|".join(map(_part, items))


def of_value(value: Any) -> str:
    """Return the id for the value of one field or template; empty if it is null or empty."""
    return value if isinstance(value, str) else as_text(without_zero_fraction(value))


def escaped(text: str, dots: int) -> str:
    """Return an id with at most ``dots`` dots, different for every text.

    A text with more dots, or one that looks escaped, has its ``%`` written as ``%25`` and its
    dots as ``%2E``. Any other text is returned unchanged.
    """
    if text.count(".") <= dots and "%2E" not in text and "%25" not in text:
        return text
    return text.replace("%", "%25").replace(".", "%2E")


def _part(value: Any) -> str:
    if value is None:
        return _NULL
    return of_value(value).replace("%", "%25").replace("|", "%7C")
