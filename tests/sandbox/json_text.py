"""Read JSON with the limits of a vendor's parser."""

from __future__ import annotations

import json
import re
from typing import Any

#: Common parsers of Java reject what is nested deeper than this order of magnitude.
MAX_DEPTH = 500

_OPENING = re.compile(r"[\[{]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not JSON, contains NaN or an infinity, or is nested too deep.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    raise_if_deep(value)
    return value


def raise_if_deep(value: Any) -> None:
    """Raise a ValueError if a value is nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError("nested too deep")


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which UTF-8 cannot represent."""
    return not _SURROGATE.search(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
