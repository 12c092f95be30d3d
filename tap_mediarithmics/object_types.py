"""The object types of a datamart's schema: which fields a type has, and of what type.

The vendor serves them as a list of types with their fields, and as text in GraphQL's
schema definition language, which alone names the enumerations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIELD_TYPE = re.compile(r"(?P<lists>\[*)(?P<name>[A-Za-z_][A-Za-z0-9_]*)!?(?P<ends>(?:\]!?)*)")
_TOKEN = re.compile(
    r'(?P<space>[\s,]+|\#[^\n]*|"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*")'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<punctuation>[{}():@\[\]!=&|])"
    r"|(?P<number>-?[0-9][0-9.eE+-]*)"
)
_CLOSING = {"(": ")", "{": "}"}


class UnknownSchema(ValueError):
    """A schema text holds something that this reader does not understand."""


@dataclass(frozen=True)
class FieldType:
    """A field's type: the name of a scalar, enumeration or object type, and how listed.

    Attributes:
        lists: How many lists are around it: 1 for ``[UserProfile!]!``.
    """

    name: str
    lists: int = 0


@dataclass
class ObjectTypes:
    """All object types of a schema.

    Attributes:
        fields: For each type, its fields and their types.
        enumerations: The names of its enumerations, as far as they are known.
    """

    fields: dict[str, dict[str, FieldType | None]]
    enumerations: set[str] = field(default_factory=set)

    @classmethod
    def from_list(cls, rows: Iterable[Mapping[str, Any]]) -> ObjectTypes:
        """Read the vendor's list of types, each with a list of fields."""
        fields: dict[str, dict[str, FieldType | None]] = {}
        for row in rows:
            members = row.get("fields")
            if isinstance(row.get("name"), str) and isinstance(members, list):
                fields[row["name"]] = {
                    str(member.get("name")): field_type(str(member.get("field_type") or ""))
                    for member in members
                    if isinstance(member, dict)
                }
        return cls(fields)

    @classmethod
    def from_text(cls, text: str) -> ObjectTypes:
        """Read a schema in GraphQL's schema definition language.

        Raises:
            UnknownSchema: It holds something that this reader does not understand.
        """
        return _SchemaText(text).object_types()

    def with_more(self, other: ObjectTypes) -> ObjectTypes:
        """Return these types and what only ``other`` names."""
        return ObjectTypes(other.fields | self.fields, self.enumerations | other.enumerations)


def field_type(text: str) -> FieldType | None:
    """Read a type such as ``[UserProfile!]!``; None where it is something else."""
    match = _FIELD_TYPE.fullmatch(re.sub(r"\s", "", text))
    if match is None or len(match["lists"]) != match["ends"].count("]"):
        return None
    return FieldType(match["name"], len(match["lists"]))


class _SchemaText:
    """Reads definitions one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._types = ObjectTypes({})

    def object_types(self) -> ObjectTypes:
        while self._peek():
            keyword = self._take()
            if keyword in {"type", "interface", "input"}:
                self._object_type()
            elif keyword == "enum":
                self._types.enumerations.add(self._take())
                self._directives()
                self._skip("{")
            elif keyword == "scalar":
                self._take()
                self._directives()
            else:
                message = f"a definition of kind {keyword!r} is not known"
                raise UnknownSchema(message)
        return self._types

    def _object_type(self) -> None:
        name = self._take()
        if self._peek() == "implements":
            while self._peek() not in {"{", "@", ""}:
                self._take()
        self._directives()
        self._expect("{")
        fields: dict[str, FieldType | None] = {}
        while self._peek() != "}":
            field_name = self._take()
            if self._peek() == "(":
                self._skip("(")
            self._expect(":")
            start = self._next
            while self._peek() in {"[", "]", "!"} or self._next == start or self._unnamed(start):
                self._take()
            fields[field_name] = field_type("".join(self._tokens[start : self._next]))
            self._directives()
        self._expect("}")
        self._types.fields[name] = fields

    def _unnamed(self, start: int) -> bool:
        """Whether the type that began at ``start`` has not come to its name yet."""
        return all(each == "[" for each in self._tokens[start : self._next])

    def _directives(self) -> None:
        while self._peek() == "@":
            self._take()
            self._take()
            if self._peek() == "(":
                self._skip("(")

    def _skip(self, opening: str) -> None:
        self._expect(opening)
        while self._peek() != _CLOSING[opening]:
            if self._peek() in _CLOSING:
                self._skip(self._peek())
            else:
                self._take()
        self._take()

    def _expect(self, token: str) -> None:
        found = self._take()
        if found != token:
            message = f"{found!r} stands where {token!r} was expected"
            raise UnknownSchema(message)

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        if not token:
            message = "the text ends within a definition"
            raise UnknownSchema(message)
        self._next += 1
        return token


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            message = f"the character {text[offset]!r} is not known"
            raise UnknownSchema(message)
        offset = match.end()
        if match.lastgroup != "space":
            tokens.append(match[0])
    return tokens
