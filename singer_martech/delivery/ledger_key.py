"""The key of a record in the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.values.numbers import without_zero_fraction

if TYPE_CHECKING:
    from collections.abc import Hashable


class RecordKey(NamedTuple):
    """The properties of a record that the ledger needs.

    Attributes:
        key: The key by which the vendor merges, the same in every run.
        is_deletion: Whether the record removes the key.
        deletion: The record that deletes the key at the vendor, for mirrored streams.
    """

    key: bytes
    is_deletion: bool = False
    deletion: bytes | None = None


def stable(key: Hashable) -> bytes:
    """Return a key as bytes, the same in every run and for values that compare as equal."""
    parts = key if isinstance(key, tuple) else (key,)
    canonical = [each if type(each) is str else _canonical(each) for each in parts]
    return ascii(canonical).encode()


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    value = without_zero_fraction(int(value) if isinstance(value, bool) else value)
    return value.normalize() if isinstance(value, Decimal) else value
