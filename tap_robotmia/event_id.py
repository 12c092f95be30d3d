"""The identity of an event: the same in every export, and for each of its duplicates.

``event_id`` is the primary key of everything that was ever loaded, so what is hashed and
how is frozen by a test. It is the first 32 hexadecimal digits of SHA-256 over a JSON array
in a canonical form (no spaces, keys sorted, text in UTF-8):

- ``[event, distinct_id, time, $insert_id]`` when the event has an ``$insert_id``. That is
  the key by which the vendor itself tells events apart.
- ``[event, properties]`` otherwise. Two real events that agree in everything share it.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted", decimal_format="string")


def event_id(event: str, distinct_id: str | None, time: Any, insert_id: str) -> str:
    """Identify an event that has an ``$insert_id``.

    Args:
        event: Its name.
        distinct_id: Its user, if it has one.
        time: Its raw time, as received.
        insert_id: Its ``$insert_id``.
    """
    parts = (event, distinct_id, time, insert_id)
    try:
        canonical = _encoder.encode(parts)
    except (UnicodeEncodeError, OverflowError):
        canonical = _escaped(parts)
    return hashlib.sha256(canonical).hexdigest()[:32]


def content_id(event: str, properties: bytes) -> str:
    """Identify an event without ``$insert_id`` by all it holds.

    Args:
        event: Its name.
        properties: The JSON text of its properties.
    """
    parts = (event, _read_canonically(properties))
    try:
        canonical = _encoder.encode(parts)
    except (UnicodeEncodeError, OverflowError):
        canonical = _escaped(parts)
    return hashlib.sha256(canonical).hexdigest()[:32]


def _escaped(parts: tuple[Any, ...]) -> bytes:
    # half of a surrogate pair has no UTF-8; escaped, it has a text all the same
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()


def _canonical_number(text: str) -> float | Decimal:
    """Make 1.10 and 1.1 one number, and keep what a float cannot hold."""
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
