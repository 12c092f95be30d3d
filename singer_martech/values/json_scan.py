"""Split a JSON object into its members without recursion, at any depth."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(
    r'[ \t\n\r]*(?:("(?:[^"\\\x00-\x1f]|\\.)*")|([\[{])|([\]}])|([:,])'
    r"|(-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity))"
)
_SPACE = " \t\n\r"
_CLOSERS = {"[": "]", "{": "}"}
_KEY, _COLON, _VALUE, _END_OF_VALUE = range(4)


def member_texts(text: str) -> dict[str, str]:
    """Return the members of a JSON object, each value as its text.

    Args:
        text: A JSON object of any depth, in which Python's ``NaN`` and ``Infinity`` are accepted.

    Raises:
        ValueError: The text is not a JSON object.
    """
    members: dict[str, str] = {}
    grammar = _Grammar()
    name, start, position = "", 0, 0
    while grammar.closers or not position:
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError("not JSON")
        begin, position = token.start(token.lastindex or 0), token.end()
        char = text[begin]
        if len(grammar.closers) == 1:
            if grammar.expected == _KEY and char == '"':
                name = json.loads(token[1])
            elif grammar.expected == _COLON:
                start = position
            elif grammar.expected == _END_OF_VALUE:
                members[name] = text[start:begin].strip(_SPACE)
        grammar.accept(char, is_scalar=token.lastindex in {1, 5})
    if text[position:].strip(_SPACE):
        raise ValueError("not JSON")
    return members


class _Grammar:
    """The tokens that may come next in a JSON object."""

    def __init__(self) -> None:
        self.closers: list[str] = []
        self.expected = _VALUE
        self._is_empty = False

    def accept(self, char: str, *, is_scalar: bool) -> None:
        """Accept a token, given by its first character.

        Raises:
            ValueError: The token is not allowed here.
        """
        is_end = self.expected == _END_OF_VALUE
        if self.closers and char == self.closers[-1] and (self._is_empty or is_end):
            self.closers.pop()
            self.expected = _END_OF_VALUE
        elif is_end and char == ",":
            self.expected = _KEY if self.closers[-1] == "}" else _VALUE
        elif self.expected == _KEY and char == '"':
            self.expected = _COLON
        elif self.expected == _COLON and char == ":":
            self.expected = _VALUE
        elif self.expected == _VALUE and is_scalar and self.closers:
            self.expected = _END_OF_VALUE
        elif self.expected == _VALUE and char in _CLOSERS and (self.closers or char == "{"):
            self.closers.append(_CLOSERS[char])
            self.expected = _KEY if char == "{" else _VALUE
        else:
            raise ValueError("not JSON")
        self._is_empty = char in _CLOSERS
