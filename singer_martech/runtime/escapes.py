"""Show control characters in lines for people."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line ends, and marks that change the direction of text."""


def escape_controls(text: str) -> str:
    r"""Return ``text`` in one line, with each control character as an escape such as ``\n``."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
