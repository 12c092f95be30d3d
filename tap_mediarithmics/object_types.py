"""The object types of a datamart's schema.

The vendor serves them as a list of types with their fields, and as text in GraphQL's
schema definition language. Only the text defines the enumerations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphql.language import DocumentNode

_FIELD_TYPE = re.compile(r"(?!.*!!)(?P<lists>\[*)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<ends>[\]!]*)")


class UnknownSchema(ValueError):
    """A schema text is not GraphQL's schema definition language."""


@dataclass(frozen=True)
class FieldType:
    """A field's type: the name of a scalar, enumeration or object type, and how listed.

    Attributes:
        lists: Depth of lists around it: 1 for ``[UserProfile!]!``.
    """

    name: str
    lists: int = 0


@dataclass
class ObjectTypes:
    """All object types of a schema.

    Attributes:
        fields: The fields of each type, with their types.
        enumerations: The names of the enumerations that are known.
    """

    fields: dict[str, dict[str, FieldType | None]]
    enumerations: set[str] = field(default_factory=set)

    @classmethod
    def from_list(cls, rows: Iterable[Mapping[str, Any]]) -> ObjectTypes:
        """Read the vendor's list of types."""
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
            UnknownSchema: It is something else.
        """
        # Few runs read a schema's text, and the import takes long.
        from graphql import GraphQLError, parse  # noqa: PLC0415

        try:
            return _from_syntax_tree(parse(text, no_location=True))
        except (GraphQLError, RecursionError) as error:
            message = str(error) or type(error).__name__
            raise UnknownSchema(" ".join(message.split())) from error

    def with_more(self, other: ObjectTypes) -> ObjectTypes:
        """Return these types and those that only ``other`` has."""
        return ObjectTypes(other.fields | self.fields, self.enumerations | other.enumerations)


def field_type(text: str) -> FieldType | None:
    """Read a type such as ``[UserProfile!]!``. Return None if it is something else."""
    match = _FIELD_TYPE.fullmatch(re.sub(r"\s", "", text))
    if match is None or len(match["lists"]) != match["ends"].count("]"):
        return None
    return FieldType(match["name"], len(match["lists"]))


def _from_syntax_tree(document: DocumentNode) -> ObjectTypes:
    from graphql.language import ast  # noqa: PLC0415 - see ObjectTypes.from_text

    types = ObjectTypes({})
    for definition in document.definitions:
        if isinstance(definition, ast.EnumTypeDefinitionNode):
            types.enumerations.add(definition.name.value)
        elif isinstance(
            definition,
            (
                ast.ObjectTypeDefinitionNode,
                ast.ObjectTypeExtensionNode,
                ast.InterfaceTypeDefinitionNode,
                ast.InputObjectTypeDefinitionNode,
            ),
        ):
            members = types.fields.setdefault(definition.name.value, {})
            for member in definition.fields or ():
                lists, node = 0, member.type
                while isinstance(node, (ast.ListTypeNode, ast.NonNullTypeNode)):
                    lists += isinstance(node, ast.ListTypeNode)
                    node = node.type
                if isinstance(node, ast.NamedTypeNode):
                    members[member.name.value] = FieldType(node.name.value, lists)
    return types
