"""Resolve each ``$ref`` within its schema, with bounded size and time."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_SIZE = 20_000
"""Maximum number of nodes in total in the subschemas that replace references."""
_SEPARATE = frozenset({"additionalItems", "additionalProperties", "items", "properties"})
"""Keywords whose subschemas apply to different parts of a value."""


class Unresolvable(ValueError):
    """A reference cannot be resolved; the text says why."""


class References:
    """Replaces the references of one schema, except recursive ones.

    Attributes:
        definitions: The targets of the recursive references.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.definitions: dict[str, Any] = {}
        self._root = root
        self._open: dict[str, int] = {}
        self._recursive: dict[str, str] = {}
        self._size = 0

    def is_open(self, reference: Any) -> bool:
        """Whether the target of a reference is being resolved, so that it is recursive."""
        return isinstance(reference, str) and reference in self._open

    def recursive(self, reference: str, instance_depth: int) -> dict[str, Any]:
        """Return the replacement of a reference within its own target.

        Raises:
            Unresolvable: The reference leads back to the same value, in an endless loop.
        """
        if self._open[reference] == instance_depth:
            raise Unresolvable("it refers to itself")
        name = self._recursive.setdefault(reference, str(len(self._recursive)))
        return {"$ref": f"#/definitions/{name}"}

    @contextmanager
    def opened(self, reference: Any, instance_depth: int) -> Iterator[Any]:
        """Resolve a reference.

        Raises:
            Unresolvable: Its target is missing or too large.
        """
        target = self._target(reference)
        self._size += _size(target, _MAX_SIZE)
        if self._size > _MAX_SIZE:
            raise Unresolvable("the references make the schema too large")
        self._open[reference] = instance_depth
        try:
            yield target
        finally:
            del self._open[reference]

    def closed(self, reference: str, result: dict[str, Any]) -> dict[str, Any]:
        """Return the replacement of a reference, given its normalized target.

        Raises:
            Unresolvable: Validating the recursive target could take exponential time.
        """
        name = self._recursive.get(reference)
        if name is not None:
            if _is_exponential(result):
                self.definitions[name] = {}
                raise Unresolvable("it refers to itself more than once for the same value")
            self.definitions[name] = result
        return result

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str):
            raise Unresolvable("it must be text")
        if not reference.startswith("#"):
            raise Unresolvable("it refers to another document, which is not fetched")
        target: Any = self._root
        for step in urllib.parse.unquote(reference[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and key.isascii() and key.isdigit():
                target = dict(enumerate(target)).get(int(key[:9]))
            elif isinstance(target, Mapping):
                target = target.get(key)
            else:
                target = None
        if not isinstance(target, (Mapping, bool)) or reference[1:2] not in {"", "/"}:
            raise Unresolvable("it refers to nothing in the schema")
        return target


def _size(value: Any, limit: int) -> int:
    """Count the nodes of a JSON value, up to a limit."""
    pending, size = [value], 0
    while pending and size <= limit:
        node = pending.pop()
        size += 1
        if isinstance(node, Mapping):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return size


def _is_exponential(schema: Any) -> bool:
    """Whether more than one recursive reference may apply to the same part of a value."""
    return _count(schema) > _MANY


_MANY = 1_000_000


def _count(schema: Any) -> int:
    """Count the recursive references of a subschema; more than ``_MANY`` if some overlap."""
    if isinstance(schema, list):
        return sum(map(_count, schema))
    if not isinstance(schema, Mapping):
        return 0
    if "$ref" in schema:
        return 1
    separate = overlapping = 0
    for keyword, value in schema.items():
        if keyword in _SEPARATE:
            parts = value.values() if keyword == "properties" else [value]
            separate += sum(map(_count, parts))
        elif keyword in {"dependencies", "patternProperties"}:
            overlapping += sum(map(_count, value.values()))
        elif keyword not in {"const", "default", "enum", "examples"}:
            overlapping += _count(value)
    if overlapping and overlapping + separate > 1:
        return _MANY + 1
    return separate + overlapping
