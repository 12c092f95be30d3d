"""Decode escaped characters in any text, and escape control characters."""

from __future__ import annotations

import html
import re
import sys

_MAX_DEPTH = 4
"""Escapes within escapes, such as JSON as text in JSON."""

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[\\\"'/bfnrt]"
    r"|(?:%[0-9a-fA-F]{2})+"
    r"|&(?:[a-zA-Z]{2,8}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});"
)
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, line ends, halves of surrogate pairs, and marks of text direction."""


def escape_controls(text: str) -> str:
    r"""Return ``text`` in one line, with each control character as an escape such as ``\n``."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def decodings(text: str) -> list[tuple[str, list[int]]]:
    """Return a text as it is and with its escapes decoded, also those within escapes.

    JSON, JavaScript, Python, URL and HTML escapes are known.

    Returns:
        Each form with the index in ``text`` at which each of its characters begins, and the
        length of ``text`` at the end.
    """
    forms = [(text, list(range(len(text) + 1)))]
    while len(forms) <= _MAX_DEPTH:
        decoded = _decode(*forms[-1])
        if decoded is None:
            break
        forms.append(decoded)
    return forms


def _decode(text: str, starts: list[int]) -> tuple[str, list[int]] | None:
    """Decode one level of escapes; None if there is none."""
    parts: list[str] = []
    decoded_starts: list[int] = []
    end = 0
    for found in _ESCAPE.finditer(text):
        parts.append(text[end : found.start()])
        decoded_starts += starts[end : found.start()]
        for character, index in _characters(found[0]):
            parts.append(character)
            decoded_starts.append(starts[found.start() + index])
        end = found.end()
    if not end:
        return None
    return "".join(parts) + text[end:], decoded_starts + starts[end:]


def _characters(escape: str) -> list[tuple[str, int]]:
    """Return the characters that an escape stands for, each with its index in the escape."""
    if escape.startswith("%"):
        return _percent_decoded(escape)
    if escape.startswith("&"):
        decoded = html.unescape(escape)
    elif escape[1] in "uUx":
        codes = [int(code, 16) for code in re.split(r"\\[uUx]", escape)[1:]]
        if len(codes) > 1:  # a surrogate pair
            codes = [0x10000 + ((codes[0] - 0xD800) << 10) + (codes[1] - 0xDC00)]
        decoded = chr(codes[0]) if codes[0] <= sys.maxunicode else escape
    else:
        decoded = _SIMPLE.get(escape[1], escape[1])
    if decoded == escape:
        return [(character, index) for index, character in enumerate(escape)]
    return [(character, 0) for character in decoded]


def _percent_decoded(escape: str) -> list[tuple[str, int]]:
    content = bytes.fromhex(escape.replace("%", ""))
    try:
        text, encoding = content.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = content.decode("latin-1"), "latin-1"
    found = []
    index = 0
    for character in text:
        found.append((character, index))
        index += 3 * len(character.encode(encoding))
    return found
