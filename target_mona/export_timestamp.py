"""The exportTimestamp of a message, which is sent as given."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from singer_martech.values.timestamps import parse_timestamp
from target_mona.rules import EXPORT_TIMESTAMP

_DIGITS = re.compile(r"([0-9]+)(\.[0-9]+)?")
_RARE_ISO = re.compile(
    r"[0-9]{4}(?:[0-9]{4}[Tt]|-?W[0-9]{2}|-[0-9]{3}(?![0-9]))[0-9Tt:.,+ Zz-]*", re.ASCII
)
"""ISO 8601 in basic format, a week date, or an ordinal date."""
_LENGTHS = frozenset({10, 13})


def is_usual(value: Any) -> bool:
    """Whether a value, neither null nor empty, is sure to be accepted, not merely likely.

    Raises:
        MappingError: Mona rejects the value.
    """
    if type(value) is int and 10**12 <= value < 10**13:  # of most mappings
        return True
    if isinstance(value, str):
        return _is_usual_text(value.strip())
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
        if number > 0 and number.adjusted() + 1 in _LENGTHS:
            return True
    raise EXPORT_TIMESTAMP.broken_by("its exportTimestamp is not a point in time")


def _is_usual_text(text: str) -> bool:
    digits = _DIGITS.fullmatch(text)
    if digits is not None:
        if len(digits.group(1)) in _LENGTHS:
            return digits.group(2) is None
    else:
        try:
            parse_timestamp(text)
        except ValueError:
            if _RARE_ISO.fullmatch(text):
                return False
        else:
            return not _RARE_ISO.fullmatch(text)
    raise EXPORT_TIMESTAMP.broken_by("its exportTimestamp is not a point in time")
