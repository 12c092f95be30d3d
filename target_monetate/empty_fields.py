"""Leave fields that are null or empty text out of rows as received.

Monetate has no empty text, and an absent field is null.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_FORMS = ((b",", b":"), (b", ", b": "))
"""The text before and after a field's name, as taps write it."""
_EMPTY = (b"null", b'""')
_USUAL_NAME = re.compile(r"\w")
"""A quote before such a name is at its start; before a comma or a colon it may end a text."""

_members: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EmptyFields:
    """Removes the empty fields of rows that have the same fields.

    Args:
        names: All fields of a row.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._fields = len(names)
        self._starts = frozenset(
            comma[1:] + encode(name) + colon
            for name in filter(_USUAL_NAME.match, names)
            for comma, colon in _FORMS
        )

    def remove(self, rows: Sequence[bytes], texts: int) -> list[bytes] | None:
        """Return the JSON of rows without their empty fields.

        If the number of quotes is as expected, no field occurs twice. An empty value with a comma,
        a name and a colon before it is the value of that field, because in a text the quotes would
        have backslashes.

        Args:
            rows: Valid JSON objects with all fields, whose values are scalars.
            texts: The number of values that are texts and not empty.

        Returns:
            None if that is unclear, or an empty field is first or has an unusual form or name.
        """
        joined = b"\n".join(rows)
        quotes = joined.count(b'"')
        if b"\\" in joined:
            if b"\\\\" in joined:
                return None
            quotes -= joined.count(b'\\"')
        empty_texts = quotes // 2 - self._fields * len(rows) - texts
        for value in _EMPTY if empty_texts else _EMPTY[:1]:
            *parts, rest = joined.split(value)
            members = [part.rpartition(b",") for part in parts]
            if not self._starts.issuperset([start for _, _, start in members]):
                return None
            joined = b"".join([*[before for before, _, _ in members], rest])
        return joined.split(b"\n") if not empty_texts or len(parts) == empty_texts else None


def without_empty(row: bytes, names: Collection[str]) -> bytes | None:
    """Return the JSON of a row without its empty fields.

    Args:
        row: A JSON object, whose values are scalars.
        names: The names of its empty fields.

    Returns:
        None if an empty field is first, has an unusual form or name, or occurs twice.
    """
    for name in filter(_USUAL_NAME.match, names):
        for member in _empty_members(name):
            shorter = row.replace(member, b"", 1)
            if len(shorter) < len(row):
                row = shorter
                break
    return row if _members(row).keys().isdisjoint(names) else None


@lru_cache(maxsize=1024)
def _empty_members(name: str) -> list[bytes]:
    return [comma + encode(name) + colon + value for comma, colon in _FORMS for value in _EMPTY]
