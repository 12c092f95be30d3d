"""The rules for documents, each with the vendor's page."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from target_mediarithmics.identifiers import IDENTIFIERS, RESOURCE_FIELDS, given, is_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Document = dict[str, Any]
    Condition = Callable[[Document], bool]


class Page(Enum):
    """Pages of the vendor's developer documentation, by title."""

    BULK = "Bulk processing"
    ACTIVITIES = "User activities and events"
    PROFILES = "User profiles"
    PROFILES_IMPORT = "User profiles import"
    CHOICES_IMPORT = "User choices import"
    SEGMENTS_IMPORT = "Segments import"
    ASSOCIATION = "User identifiers association"
    IDENTIFIERS_DELETION = "User identifiers deletion"
    POINTS_DELETION = "User points deletion"


class Rule(NamedTuple):
    """A requirement of a page for the documents of a type.

    Attributes:
        field: The field, with dots for nesting.
        problem: The problem of a document that breaks the rule.
        source: The page.
        is_broken: Whether a document breaks the rule.
    """

    field: str
    problem: str
    source: Page
    is_broken: Condition

    def __str__(self) -> str:
        """Return the problem, which begins with the field."""
        return f"{self.field}: {self.problem}"


_FIRST_MILLISECONDS, _END_OF_MILLISECONDS = 10**11, 10**13
NOT_MILLISECONDS = (
    "must be milliseconds since 1970 (13 digits); in the mapping, {{ … | epoch_ms }} makes them"
)
_UUID_1 = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-1[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
"""Without a flag, which would double the time."""


def one_of(field: str, names: Collection[str], source: Page, *, optional: bool = False) -> Rule:
    """Return the rule that a field holds one of these names."""

    def is_broken(document: Document) -> bool:
        value = document.get(field)
        if isinstance(value, str) and value in names:
            return False
        return not (optional and is_empty(value))

    return Rule(field, f"must be one of {', '.join(names)}", source, is_broken)


def text(field: str, source: Page) -> Rule:
    """Return the rule that an optional field holds text."""

    def is_broken(document: Document) -> bool:
        value = document.get(field)
        return value is not None and not isinstance(value, str)

    return Rule(field, "must be text", source, is_broken)


def non_empty_text(field: str, source: Page) -> Rule:
    """Return the rule that a field holds text that is not empty."""

    def is_broken(document: Document) -> bool:
        value = document.get(field)
        return not (isinstance(value, str) and value)

    return Rule(field, "must be text that is not empty", source, is_broken)


def milliseconds(field: str, source: Page) -> Rule:
    """Return the rule that an optional field holds epoch milliseconds."""

    def is_broken(document: Document) -> bool:
        value = document.get(field)
        return not is_empty(value) and not is_milliseconds(value)

    return Rule(field, NOT_MILLISECONDS, source, is_broken)


def within(outer: str, rule: Rule) -> Rule:
    """Return a rule for the object in a field, or for each object of its list.

    A value of another type does not break it; another rule is about the type.
    """

    def is_broken(document: Document) -> bool:
        value = document.get(outer)
        if isinstance(value, dict):
            return rule.is_broken(value)
        if isinstance(value, list):
            return any(rule.is_broken(item) for item in value if isinstance(item, dict))
        return False

    return rule._replace(field=f"{outer}.{rule.field}", is_broken=is_broken)


def list_of_objects(field: str, source: Page, *, optional: bool = False) -> Rule:
    """Return the rule that a field holds a list of objects."""

    def is_broken(document: Document) -> bool:
        value = document.get(field)
        if isinstance(value, list):
            return not all(isinstance(item, dict) for item in value)
        return not (optional and is_empty(value))

    return Rule(field, "must be a list of objects", source, is_broken)


def command(source: Page, operations: Collection[str]) -> Iterator[Rule]:
    """Yield the rules of a line that is a command for one user."""
    yield one_of("operation", operations, source)
    for name in (*IDENTIFIERS, "compartment_id"):
        yield text(name, source)
    yield Rule(
        IDENTIFIERS[0],
        f"a line needs an identifier: {IDENTIFIERS[0]}, {IDENTIFIERS[1]} or {IDENTIFIERS[2]}",
        Page.BULK,
        lambda document: not given(document, IDENTIFIERS),
    )
    yield Rule(
        ", ".join(IDENTIFIERS),
        "only one identifier is allowed a line",
        Page.BULK,
        lambda document: len(given(document, IDENTIFIERS)) > 1,
    )


def resource(source: Page, kinds: Collection[str]) -> Iterator[Rule]:
    """Yield the rules of an identifier that names its ``type``."""
    yield one_of("type", kinds, source)
    for kind in kinds:
        yield _resource_field(kind, RESOURCE_FIELDS[kind], source)


def _resource_field(kind: str, name: str, source: Page) -> Rule:
    def is_broken(entry: Document) -> bool:
        value = entry.get(name)
        return entry.get("type") == kind and not (isinstance(value, str) and value)

    return Rule(name, f"must be text that is not empty, for the type {kind}", source, is_broken)


def has_several_identifiers(entry: Document) -> bool:
    """Whether an identifier that names its type has the fields of other types, too."""
    return len(given(entry, RESOURCE_FIELDS.values())) > 1


def is_milliseconds(value: Any) -> bool:
    """Whether a value has the size of epoch milliseconds, about those of this century."""
    return type(value) is int and _FIRST_MILLISECONDS <= value < _END_OF_MILLISECONDS


def is_upsert(document: Document) -> bool:
    """Whether a line creates or changes something."""
    return document.get("operation") == "UPSERT"


def is_json_text(value: Any) -> bool:
    """Whether a value is text that holds JSON."""
    if not isinstance(value, str):
        return False
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def is_uuid_1(value: Any) -> bool:
    """Whether a value is a UUID of version 1."""
    return isinstance(value, str) and _UUID_1.fullmatch(value) is not None
