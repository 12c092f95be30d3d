"""``event_id``: the same for an event in every export, and for its duplicates.

It is the primary key of all loaded data, so a test freezes it. It consists of the first 32
hexadecimal digits of SHA-256 over a JSON array in canonical form (no spaces, sorted keys,
UTF-8):

- ``[event, distinct_id, time, $insert_id]`` for an event with an ``$insert_id``, the key by
  which the vendor distinguishes events;
- ``[event, properties]`` otherwise. Two identical events have the same one.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_empty_hash = hashlib.sha256()
_encoder = msgspec.json.Encoder(order="sorted", decimal_format="string")


def event_id(event: str, distinct_id: str | None, time: Any, insert_id: str) -> str:
    """Return the ``event_id`` of an event with an ``$insert_id``."""
    return _digest((event, distinct_id, time, insert_id))


def event_ids(parts: Sequence[tuple[str, Any, Any, Any]]) -> list[str]:
    """Return ``event_id`` for many arguments at once, which takes less time."""
    try:
        encoded = _encoder.encode_lines(parts)
    except OverflowError:  # an integer has more than 64 bits
        return [event_id(*each) for each in parts]
    identities = []
    for canonical in encoded.split(b"\n")[:-1]:
        hashed = _empty_hash.copy()  # faster than hashlib.sha256
        hashed.update(canonical)
        identities.append(hashed.hexdigest()[:32])
    return identities


def content_id(event: str, properties: bytes) -> str:
    """Return the ``event_id`` of an event without ``$insert_id``, from its properties as JSON."""
    return _digest((event, _read_canonically(properties)))


def _digest(parts: tuple[Any, ...]) -> str:
    try:
        canonical = _encoder.encode(parts)
    except (UnicodeEncodeError, OverflowError):
        # half of a surrogate pair cannot be encoded as UTF-8, but as an escape
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
        canonical = text.encode()
    return hashlib.sha256(canonical).hexdigest()[:32]


def _canonical_number(text: str) -> float | Decimal:
    """Return the same value for 1.10 and 1.1, and a Decimal where a float is not exact."""
    number = float(text)
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


_decoder = msgspec.json.Decoder(float_hook=_canonical_number)


def _read_canonically(properties: bytes) -> Any:
    try:
        return _decoder.decode(properties)
    except (msgspec.MsgspecError, ArithmeticError):
        return json.loads(
            properties.decode("utf-8", "surrogatepass"), parse_float=str, parse_int=str
        )
