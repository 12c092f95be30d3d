"""Writing values as JSON, exactly."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from singer_martech.errors import MartechError


class Unmappable(MartechError):
    """A record cannot become what its mapping wants; the text says why."""


def _other(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime.timedelta):
        return str(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.json.Encoder(enc_hook=_other, decimal_format="number")


def encode(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        Unmappable: It holds something that JSON cannot carry.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, NotImplementedError, ValueError, OverflowError, RecursionError) as error:
        raise Unmappable(f"cannot be written as JSON: {error}") from error
