"""A Monetate dataset, which the API calls a schema: its fields and their attributes.

Source: the vendor's OpenAPI description of the Data API, "Create a New Schema".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FIELDS = 40
"""Create a New Schema: a schema has up to 40 fields."""

PRIVACY_TYPE = "customer_data_privacy"
"""Posting a row to a dataset of this type erases that customer everywhere."""

STRING = "STRING"
MULTI_STRING = "MULTI_STRING"
NUMBER = "NUMBER"
BOOLEAN = "BOOLEAN"
DATETIME = "DATETIME"
GOOGLE_PRODUCT_CATEGORY = "GOOGLE_PRODUCT_CATEGORY"


class InvalidDescription(Exception):
    """The API's description of a dataset cannot be used; the text says why."""


@dataclass(frozen=True)
class Field:
    """One field of a dataset.

    Attributes:
        data_type: One of the types above, or one that is not documented yet.
        identifier: The field links a row to a person.
        unique_key: A row replaces the earlier row with the same value.
        event_time: The field is the time of an event.
        required: A row must have the field; identifier and unique key are always required.
    """

    data_type: str
    identifier: bool = False
    unique_key: bool = False
    event_time: bool = False
    required: bool = False

    @property
    def roles(self) -> list[str]:
        """The attributes that apply, for messages."""
        names = {
            "identifier": self.identifier,
            "unique key": self.unique_key,
            "event time": self.event_time,
            "required": self.required and not (self.identifier or self.unique_key),
        }
        return [name for name, applies in names.items() if applies]


@dataclass(frozen=True)
class Dataset:
    """The description of a dataset.

    Attributes:
        name: Its name.
        type: The kind of its data, such as ``attribute``, ``event`` or ``product``.
        fields: Its fields by name.
        named_identifier: Its Identifier Name; Monetate does not use a dataset without one.
    """

    name: str
    type: str
    fields: Mapping[str, Field]
    named_identifier: str | None = None

    @classmethod
    def from_description(cls, name: str, described: Any) -> Dataset:
        """Read the API's description of a dataset.

        Raises:
            InvalidDescription: It does not describe the fields.
        """
        if not isinstance(described, dict) or not isinstance(described.get("fields"), dict):
            raise InvalidDescription("it does not describe the dataset's fields")
        return cls(
            name=name,
            type=str(described.get("type") or ""),
            fields={key: _field(value) for key, value in described["fields"].items()},
            named_identifier=described.get("named_identifier") or None,
        )

    @cached_property
    def unique_key(self) -> str | None:
        """The field by which a row replaces an earlier one; None if every row is added."""
        return next((name for name, field in self.fields.items() if field.unique_key), None)

    @cached_property
    def required(self) -> list[str]:
        """The fields that every row must have."""
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
    """Return names in quotes, for messages."""
    return ", ".join(f"'{name}'" for name in names)


def _field(described: Any) -> Field:
    if not isinstance(described, dict) or not isinstance(described.get("data_type"), str):
        raise InvalidDescription("a field has no data_type")
    flags = {name: described.get(name) is True for name in Field.__dataclass_fields__}
    return Field(**{**flags, "data_type": described["data_type"]})
