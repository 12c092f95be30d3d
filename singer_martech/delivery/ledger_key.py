"""The keys of records in the ledger."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import encode, encode_lines
from singer_martech.values.numbers import without_zero_fraction

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


def stable(key: Hashable) -> bytes:
    """Return a key as bytes, the same in every run and for values that compare as equal."""
    parts = key if isinstance(key, tuple) else (key,)
    canonical = [each if type(each) is str else _canonical(each) for each in parts]
    if set(map(type, canonical)) == {str}:
        return encode(canonical)
    return ascii(canonical).encode()


def stable_all(keys: Sequence[Hashable]) -> list[bytes | None]:
    """Return each key as ``stable`` does, and None for None."""
    if set(map(type, keys)) == {tuple} and set(map(type, chain.from_iterable(keys))) == {str}:  # type: ignore[arg-type] # all are tuples
        return [*encode_lines(keys)]  # common case
    return [None if key is None else stable(key) for key in keys]


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    value = without_zero_fraction(int(value) if isinstance(value, bool) else value)
    return value.normalize() if isinstance(value, Decimal) else value
