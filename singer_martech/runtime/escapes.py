"""Decode escaped characters in any text, and escape control characters."""

from __future__ import annotations

import html
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_DEPTH = 8
"""Escapes within escapes, such as JSON as text in JSON."""

_HEX = "[0-9a-fA-F]"
_LINE = "(?<=[0-9A-Za-z+/_-]{60}"
_NEXT_LINE = "(?=[0-9A-Za-z+/=_-])"
_ESCAPE = re.compile(
    # the end of a long line of base64
    rf" {_LINE} ){_NEXT_LINE}|\n{_LINE}\n){_NEXT_LINE}|\r\n{_LINE}\r\n){_NEXT_LINE}"
    rf"|\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
    # the bytes of one character in UTF-8
    rf"|\\x[fF][0-7](?:\\x[89abAB]{_HEX}){{3}}|\\x[eE]{_HEX}(?:\\x[89abAB]{_HEX}){{2}}"
    rf"|\\x[cdCD]{_HEX}\\x[89abAB]{_HEX}"
    rf"|\\u{_HEX}{{4}}|\\U{_HEX}{{8}}|\\x{_HEX}{{2}}|\\[ux]\{{{_HEX}{{1,50}}\}}"
    r"|\\[0-7]{1,3}|\\[\\\"'/bfnrt]"
    rf"|%u[dD][89abAB]{_HEX}{{2}}%u[dD][c-fC-F]{_HEX}{{2}}|%u{_HEX}{{4}}"
    # the bytes of one character in UTF-8, or one byte
    rf"|%[fF][0-7](?:%[89abAB]{_HEX}){{3}}|%[eE]{_HEX}(?:%[89abAB]{_HEX}){{2}}"
    rf"|%[cdCD]{_HEX}%[89abAB]{_HEX}|%{_HEX}{{2}}"
    # quoted-printable
    rf"|=[fF][0-7](?:=[89abAB]{_HEX}){{3}}|=[eE]{_HEX}(?:=[89abAB]{_HEX}){{2}}"
    rf"|=[cdCD]{_HEX}=[89abAB]{_HEX}|={_HEX}{{2}}|=\r?\n"
    rf"|&#[0-9]{{1,50}};?|&#[xX]{_HEX}{{1,50}};?|&[a-zA-Z][a-zA-Z0-9]{{1,31}};"
    r"|&(?:amp|lt|gt|quot)"
)
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, line ends, halves of surrogate pairs, and marks of text direction."""


def escape_controls(text: str) -> str:
    r"""Return ``text`` in one line, with each control character as an escape such as ``\n``."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def decodings(text: str) -> list[str]:
    """Return a text as it is and with its escapes decoded, also those within escapes.

    JSON, JavaScript, Python, URL, HTML and quoted-printable escapes are known. The line
    ends within long base64 are removed.
    """
    forms = [text]
    while len(forms) <= _MAX_DEPTH:
        form = _ESCAPE.sub(lambda found: _character(found[0]), forms[-1])
        if form == forms[-1]:
            break
        forms.append(form)
    return forms


def starts(forms: list[str]) -> Iterator[Sequence[int]]:
    """Yield for each of the ``decodings`` where in the text each of its characters begins.

    The length of the text is at the end.
    """
    positions: Sequence[int] = range(len(forms[0]) + 1)
    yield positions
    for form in forms[:-1]:
        decoded: list[int] = []
        end = 0
        for found in _ESCAPE.finditer(form):
            start, escape = found.start(), found[0]
            character = _character(escape)
            decoded += positions[end:start]
            end = found.end()
            is_valid = character != escape
            decoded += [positions[start]] * len(character) if is_valid else positions[start:end]
        positions = [*decoded, *positions[end:]]
        yield positions


def _character(escape: str) -> str:
    """Return the character that an escape stands for, or the escape if it is invalid."""
    kind, code = escape[0], escape[1:]
    if kind == "&":
        return html.unescape(escape)
    if kind in " \r\n" or escape.endswith("\n"):
        return ""
    if code[0] == "x" and code[1] != "{":
        return _from_bytes(bytes.fromhex(escape.replace("\\x", "")))
    if code[0] in "uUx":
        codes = [int(each.strip("{}"), 16) for each in re.split(".[uUx]", escape)[1:]]
        if len(codes) > 1:  # a surrogate pair
            codes = [0x10000 + ((codes[0] - 0xD800) << 10) + (codes[1] - 0xDC00)]
        return chr(codes[0]) if codes[0] <= sys.maxunicode else escape
    if kind in "%=":
        return _from_bytes(bytes.fromhex(escape.replace(kind, "")))
    return chr(int(code, 8)) if code.isdigit() else _SIMPLE.get(code, code)


def _from_bytes(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
