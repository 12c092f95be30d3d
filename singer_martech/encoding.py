"""Writing values as JSON, exactly."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import simplejson

from singer_martech.errors import MartechError


class Unmappable(MartechError):
    """A record cannot become what its mapping wants; the text says why."""


def _other(value: Any) -> Any:
    if isinstance(value, str):  # such as what Jinja's filter `escape` makes
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (datetime.date, datetime.time)):  # only asked when half surrogates are
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.json.Encoder(enc_hook=_other, decimal_format="number")


def encode(value: Any) -> bytes:
    """Return a value as JSON.

    Halves of surrogate pairs, which no UTF-8 text can hold, are written as escapes.

    Raises:
        Unmappable: It holds something that JSON cannot carry.
    """
    try:
        text = _encoder.encode(value)
    except UnicodeEncodeError:
        text = simplejson.dumps(
            value, use_decimal=True, default=_other, separators=(",", ":")
        ).encode()
    except (TypeError, NotImplementedError, ValueError, OverflowError, RecursionError) as error:
        raise Unmappable(f"cannot be written as JSON: {error}") from error
    if (b"NaN" in text or b"Infinity" in text) and not _is_json(text):
        raise Unmappable("cannot be written as JSON: it holds NaN or Infinity")
    return text


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)
