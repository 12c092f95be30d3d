"""The filters that templates have beside Jinja's own."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from singer_martech.values.json_codec import encode
from singer_martech.values.timestamps import epoch_ms, epoch_s, iso

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "singer-martech").bytes


def as_text(value: Any) -> str:
    """Write a value as text: as JSON writes it, but text without quotes and null as nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        return iso(value)
    if isinstance(value, (dict, list, tuple, bool)):
        return json.dumps(value, default=as_text, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def sha256(value: Any) -> str:
    """The SHA-256 of the text, in hexadecimal."""
    return hashlib.sha256(as_text(value).encode("utf-8", "surrogatepass")).hexdigest()


def name_uuid(value: Any) -> str:
    """A UUID (version 5) that is always the same for the same text."""
    # as uuid.uuid5 does, in a third of its time
    name = as_text(value).encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def as_json(value: Any) -> str:
    """Jinja's ``tojson``, but as plain text and with exact numbers."""
    return encode(value).decode()


def exact_float(value: Any, default: Any = Decimal(0)) -> Decimal:
    """Jinja's ``float``, but to a decimal."""
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return Decimal(str(default))


FILTERS: dict[str, Callable[[Any], Any]] = {
    "epoch_s": epoch_s,
    "epoch_ms": epoch_ms,
    "iso": iso,
    "sha256": sha256,
    "uuid": name_uuid,
}
"""By the names that they have in templates."""
