"""A Monetate dataset, which its API calls a schema: what its fields are and mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_FIELDS = 40
"""Vendor's OpenAPI description, Create a New Schema: a schema has up to 40 fields."""

PRIVACY_TYPE = "customer_data_privacy"
"""A row posted to a dataset of this type erases that customer everywhere."""

STRING = "STRING"
MULTI_STRING = "MULTI_STRING"
NUMBER = "NUMBER"
BOOLEAN = "BOOLEAN"
DATETIME = "DATETIME"
GOOGLE_PRODUCT_CATEGORY = "GOOGLE_PRODUCT_CATEGORY"


class UnreadableDataset(Exception):
    """What the API says of a dataset cannot be used; the text says why."""


@dataclass(frozen=True)
class Field:
    """One field of a dataset.

    Attributes:
        data_type: One of the types above.
        identifier: Whether it links a row to a person.
        unique_key: Whether a row replaces the earlier row with the same value.
        event_time: Whether it says when an event was.
        required: Whether a row must have it; always so for identifier and unique key.
    """

    data_type: str
    identifier: bool = False
    unique_key: bool = False
    event_time: bool = False
    required: bool = False

    @property
    def roles(self) -> list[str]:
        """What the field is beside its type, in words."""
        words = {
            "identifier": self.identifier,
            "unique key": self.unique_key,
            "event time": self.event_time,
            "required": self.required and not (self.identifier or self.unique_key),
        }
        return [word for word, applies in words.items() if applies]


@dataclass(frozen=True)
class Dataset:
    """A dataset as it stands.

    Attributes:
        name: Its name.
        type: What kind of data it holds, such as ``attribute``, ``event`` or ``product``.
        fields: Its fields by name.
        named_identifier: Its Identifier Name; until it has one, Monetate does not use it.
    """

    name: str
    type: str
    fields: Mapping[str, Field]
    named_identifier: str | None = None

    @classmethod
    def from_description(cls, name: str, described: Any) -> Dataset:
        """Read what the API says of a dataset.

        Raises:
            UnreadableDataset: It does not say what the fields are.
        """
        if not isinstance(described, dict) or not isinstance(described.get("fields"), dict):
            raise UnreadableDataset("it does not describe the dataset's fields")
        return cls(
            name=name,
            type=str(described.get("type") or ""),
            fields={key: _field(value) for key, value in described["fields"].items()},
            named_identifier=described.get("named_identifier") or None,
        )

    @cached_property
    def unique_key(self) -> str | None:
        """The field by which a row replaces an earlier one; None: every row is added."""
        return next((name for name, field in self.fields.items() if field.unique_key), None)

    @cached_property
    def required(self) -> list[str]:
        """The fields without which a row is not taken."""
        return [
            name
            for name, field in self.fields.items()
            if field.required or field.identifier or field.unique_key
        ]

    def with_fields(self, types: Mapping[str, str]) -> Dataset:
        """Return the dataset with further fields of these types."""
        added = {name: Field(data_type) for name, data_type in types.items()}
        return replace(self, fields={**self.fields, **added})


def quoted(names: Iterable[str]) -> str:
    """Write names as they stand in messages."""
    return ", ".join(f"'{name}'" for name in names)


def _field(described: Any) -> Field:
    if not isinstance(described, dict) or not isinstance(described.get("data_type"), str):
        raise UnreadableDataset("it names a field without its data_type")
    flags = {name: described.get(name) is True for name in Field.__dataclass_fields__}
    return Field(**{**flags, "data_type": described["data_type"]})
