"""Leave the null fields out of rows as received, since an absent field is null for Monetate."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_FORMS = ((b",", b":"), (b", ", b": "))
"""The text before and after a field's name, as taps write it."""

_members: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class NullFields:
    """Removes the null fields of rows that have the same fields.

    Args:
        names: All fields of a row.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._fields = len(names)
        self._starts = frozenset(
            comma[1:] + encode(name) + colon for name in names for comma, colon in _FORMS
        )

    def remove(self, rows: Sequence[bytes], texts: int) -> list[bytes] | None:
        """Return the JSON of rows without their null fields.

        If the number of quotes is as expected, no field occurs twice and no text is empty. A null
        with a comma, a name and a colon before it is the value of that field, because in a text
        the quotes would have backslashes.

        Args:
            rows: Valid JSON objects with all fields, whose values are scalars.
            texts: The number of values that are texts and not empty.

        Returns:
            None if that is unclear, or a null field is first or has an unusual form.
        """
        joined = b"\n".join(rows)
        quotes = joined.count(b'"')
        if b"\\" in joined:
            if b"\\\\" in joined:
                return None
            quotes -= joined.count(b'\\"')
        if quotes != 2 * (self._fields * len(rows) + texts):
            return None
        *parts, rest = joined.split(b"null")
        members = [part.rpartition(b",") for part in parts]
        if not self._starts.issuperset([start for _, _, start in members]):
            return None
        return b"".join([*[before for before, _, _ in members], rest]).split(b"\n")


def without_nulls(row: bytes, nulls: Collection[str]) -> bytes | None:
    """Return the JSON of a row without its null fields.

    Args:
        row: A JSON object, whose values are scalars.
        nulls: The names of its null fields.

    Returns:
        None if a null field is first, has an unusual form, or occurs twice.
    """
    for name in nulls:
        usual, spaced = _null_member(name)
        length = len(row)
        row = row.replace(usual, b"", 1)
        if len(row) == length:
            row = row.replace(spaced, b"", 1)
    return row if _members(row).keys().isdisjoint(nulls) else None


@lru_cache(maxsize=1024)
def _null_member(name: str) -> tuple[bytes, ...]:
    return tuple(comma + encode(name) + colon + b"null" for comma, colon in _FORMS)
