"""Split a JSON object into its members, at any depth and in little memory."""

from __future__ import annotations

import json
import re
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_PUNCTUATION = frozenset(",:[]{}")
_CLOSERS = {"[": "]", "{": "}"}
_KEY, _COLON, _VALUE, _END_OF_VALUE = range(4)

# the values inside a member are not used: each becomes True or False
_decode = json.JSONDecoder(
    object_pairs_hook=bool, parse_float=bool, parse_int=bool, parse_constant=bool
).raw_decode


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
        begin = _end_of_space(text, position)
        is_member = len(grammar.closers) == 1 and grammar.expected == _VALUE
        char, is_value, value, position = _token(text, begin, is_whole=is_member)
        if is_member:
            start = begin
        elif len(grammar.closers) == 1 and is_value:
            name = value
        grammar.accept(char, is_value=is_value)
        if len(grammar.closers) == 1 and grammar.expected == _END_OF_VALUE:
            members[name] = text[start:position]
    if _end_of_space(text, position) < len(text):
        raise ValueError("not JSON")
    return members


def _end_of_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _token(text: str, begin: int, *, is_whole: bool) -> tuple[str, bool, Any, int]:
    """Read a token.

    Args:
        text: The JSON text.
        begin: Where the token begins.
        is_whole: Read a list or an object as one value, unless it is nested too deep for that.

    Returns:
        Its first character, whether it is a value, this value, and where it ends.
    """
    char = text[begin : begin + 1]
    if char in _PUNCTUATION and not (is_whole and char in _CLOSERS):
        return char, False, None, begin + 1
    try:
        value, end = _decode(text, begin)
    except RecursionError:
        return char, False, None, begin + 1
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    return char, True, value, end


class _Grammar:
    """The tokens that may come next in a JSON object."""

    def __init__(self) -> None:
        self.closers: list[str] = []
        self.expected = _VALUE
        self._is_empty = False

    def accept(self, char: str, *, is_value: bool) -> None:
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
        elif self.expected == _VALUE and is_value and self.closers:
            self.expected = _END_OF_VALUE
        elif self.expected == _VALUE and char in _CLOSERS and (self.closers or char == "{"):
            self.closers.append(_CLOSERS[char])
            self.expected = _KEY if char == "{" else _VALUE
        else:
            raise ValueError("not JSON")
        self._is_empty = char in _CLOSERS and not is_value
