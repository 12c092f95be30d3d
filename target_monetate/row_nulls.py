"""Leave the null fields out of a row as received, since an absent field is null for Monetate."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_FORMS = ((b":null", b","), (b": null", b", "))
"""The text after and before a null field's name, as taps write it."""


_FEW = 3
_members: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def without_nulls(row: bytes, nulls: Collection[str]) -> bytes | None:
    """Return the JSON of a row without its null fields.

    Args:
        row: A JSON object, whose values are not objects.
        nulls: The names of its null fields, best in their order in the row.

    Returns:
        None if a null field is first, has an unusual form, or occurs twice.
    """
    parts = []
    position = 0
    for name in nulls:
        quoted = _quoted(name)
        start = row.find(quoted, position)
        end = start + len(quoted)
        for null, comma in _FORMS:
            if row.startswith(null, end) and row.endswith(comma, position, start):
                parts.append(row[position : start - len(comma)])
                position = end + len(null)
                break
    parts.append(row[position:])
    shorter = b"".join(parts)
    if len(nulls) <= _FEW:  # a search for each is faster
        is_left = any(_quoted(name) in shorter for name in nulls)
    else:
        is_left = not _members(shorter).keys().isdisjoint(nulls)
    return None if is_left else shorter


@lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    return encode(name)
