"""Monetate datasets: their fields, and the validation of rows."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FIELDS = 40

DATA_TYPES = frozenset(
    {"STRING", "MULTI_STRING", "BOOLEAN", "DATETIME", "NUMBER", "GOOGLE_PRODUCT_CATEGORY"},
)

DATASET_TYPES = frozenset(
    {
        "agil_one",
        "attribute",
        "behavioral_trigger",
        "custom_list",
        "customer_data_privacy",
        "email_metadata",
        "event",
        "inventory",
        "product",
        "product_recommendation",
        "purchase",
    },
)

DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")

_IDENTIFIER_NAME = re.compile(r"\w+")

FLAGS = ("identifier", "unique_key", "event_time", "required")

_NO_CHARACTER = "\ufdd0"
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)?\Z",
)

_COMPACT_OFFSET = re.compile(r"[+-]\d{4}\Z")

_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass
class Field:
    """One field of a dataset and its attributes."""

    data_type: str
    identifier: bool = False
    unique_key: bool = False
    event_time: bool = False
    required: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the field as in the API."""
        return {"data_type": self.data_type, **{name: getattr(self, name) for name in FLAGS}}


@dataclass
class Dataset:
    """A dataset ("schema" in the API), without its rows."""

    name: str
    fields: dict[str, Field]
    type: str = "attribute"
    named_identifier: str | None = None
    id: int = 0
    created_date: str = ""

    @property
    def unique_key(self) -> str | None:
        """The field that identifies a row; None if every post appends."""
        return self._flagged("unique_key")

    @property
    def identifier(self) -> str | None:
        """The field that links a row to a person."""
        return self._flagged("identifier")

    def _flagged(self, flag: str) -> str | None:
        return next((name for name, item in self.fields.items() if getattr(item, flag)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the dataset as in the API."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "created_date": self.created_date,
            "named_identifier": self.named_identifier,
            "fields": {name: item.as_dict() for name, item in self.fields.items()},
        }


@dataclass(frozen=True)
class RowError:
    """The reason why a row is rejected."""

    row: int
    field: str | None
    message: str


@dataclass
class FieldErrors:
    """The errors in a description of fields."""

    messages: list[str] = field(default_factory=list)
    fields: dict[str, Field] = field(default_factory=dict)


def read_fields(described: object) -> FieldErrors:
    """Read the `fields` object of a request and collect all its errors."""
    found = FieldErrors()
    if not isinstance(described, dict) or not described:
        found.messages.append("fields must be an object with at least one field")
        return found
    for name, item in described.items():
        if name != name.strip() or not name:
            found.messages.append(f"{name!r} is not a name of a field")
        elif not isinstance(item, dict) or not _is_data_type(item.get("data_type")):
            found.messages.append(f"{name}: data_type must be one of {sorted(DATA_TYPES)}")
        elif set(item) - {"data_type", *FLAGS}:
            found.messages.append(f"{name}: unknown attribute")
        elif not all(isinstance(item.get(flag, False), bool) for flag in FLAGS):
            found.messages.append(f"{name}: attributes are true or false")
        else:
            found.fields[name] = Field(
                item["data_type"],
                **{flag: item.get(flag, False) for flag in FLAGS},
            )
    return found


def _is_data_type(value: object) -> bool:
    return isinstance(value, str) and value in DATA_TYPES


def is_identifier_name(value: object) -> bool:
    """Return whether a value is a valid Identifier Name."""
    return isinstance(value, str) and _IDENTIFIER_NAME.fullmatch(value) is not None


def dataset_faults(dataset: Dataset) -> Iterator[str]:
    """Yield the errors in the description of a dataset."""
    if not DATASET_NAME.match(dataset.name):
        yield "name must begin with a letter and hold letters, digits and _ only, at most 64"
    if dataset.type not in DATASET_TYPES:
        yield f"type must be one of {sorted(DATASET_TYPES)}"
    if len(dataset.fields) > MAX_FIELDS:
        yield f"a schema has at most {MAX_FIELDS} fields"
    marked = {
        flag: [item for item in dataset.fields.values() if getattr(item, flag)] for flag in FLAGS
    }
    if len(marked["identifier"]) != 1:
        yield "exactly one field must be the identifier"
    if len(marked["unique_key"]) > 1:
        yield "only one field may be the unique_key"
    if any(item.data_type != "STRING" for item in marked["identifier"] + marked["unique_key"]):
        yield "identifier and unique_key must be STRING"
    if any(item.data_type != "DATETIME" for item in marked["event_time"]):
        yield "event_time must be DATETIME"
    if dataset.type == "event" and len(marked["event_time"]) != 1:
        yield "an event schema has exactly one event_time"


def row_errors(
    dataset: Dataset,
    number: int,
    row: object,
    *,
    accept_null: bool = False,
    refuse_unknown: bool = True,
    refuse_compact_offsets: bool = False,
) -> list[RowError]:
    """Return all errors of a row.

    Args:
        dataset: The dataset of the row.
        number: The row's index in its request.
        row: The row as parsed.
        accept_null: Whether an explicit null of an optional field counts as missing; the
            vendor's description has no nullable field.
        refuse_unknown: Whether a field that the dataset does not have is an error.
        refuse_compact_offsets: Whether a timestamp whose offset has no colon is an error.
    """
    if not isinstance(row, dict):
        return [RowError(number, None, "a row is an object")]
    unknown = [name for name in row if name not in dataset.fields] if refuse_unknown else []
    found = [RowError(number, name, "unknown field") for name in unknown]
    for name, item in dataset.fields.items():
        needed = item.identifier or item.unique_key or item.required
        if name not in row:
            if needed:
                found.append(RowError(number, name, "this field is required"))
            continue
        value = row[name]
        if value is None and accept_null and not needed:
            continue
        message = value_fault(item.data_type, value)
        if not message and item.data_type == "DATETIME" and refuse_compact_offsets:
            compact = _COMPACT_OFFSET.search(value)
            message = "the offset of a timestamp has a colon" if compact else None
        if message:
            found.append(RowError(number, name, message))
    return found


def value_fault(data_type: str, value: object) -> str | None:
    """Return why a value does not match its data type, or None."""
    if data_type == "NUMBER":
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if right else "a valid number is required"
    if data_type == "BOOLEAN":
        return None if isinstance(value, bool) else "must be true or false"
    if not isinstance(value, str):
        return "not a valid string"
    return _text_fault(data_type, value)


def _text_fault(data_type: str, value: str) -> str | None:
    if not value:
        return "may not be blank"
    if value != value.strip():
        return "may not have leading or trailing whitespace"
    if data_type == "DATETIME" and not is_timestamp(value):
        return "not a timestamp of ISO-8601"
    if data_type == "MULTI_STRING":
        try:
            split_multi_string(value)
        except ValueError as error:
            return str(error)
    return None


def is_timestamp(text: str) -> bool:
    """Return whether a text is an ISO 8601 timestamp; a date by itself is not."""
    match = _TIMESTAMP.match(text)
    if not match:
        return False
    month, day = int(match[2]), int(match[3])
    return 1 <= month <= 12 and 1 <= day <= _DAYS_OF_MONTH[month - 1]


def split_multi_string(text: str) -> list[str]:
    """Return the values of a MULTI_STRING.

    Values are separated by commas; a value with a comma is enclosed in double quotes, in which
    a double quote is doubled.

    Raises:
        ValueError: The quotes are unbalanced, or a value is empty.
    """
    readable = text.replace("\0", _NO_CHARACTER)  # csv rejects NUL before Python 3.11
    try:
        fields = next(csv.reader([readable], strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError("the quotes of the comma-separated values do not pair") from error
    values = [field.replace(_NO_CHARACTER, "\0") for field in fields]
    if any(not value.strip() for value in values):
        raise ValueError("a comma-separated value may not be blank")
    return values


def complete(dataset: Dataset, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with every field of its dataset; missing ones are null."""
    return {name: row.get(name) for name in dataset.fields}


def error_shapes(errors: list[RowError], rows: int, shape: str) -> Any:
    """Return `meta.errors` in one of the shapes that clients must support.

    The vendor describes the errors as objects of any form. Shapes: `rows` (row, field and
    message), `nested` (per row and field, as form libraries write it), `object` (not a list),
    `strings`, and `bare` (nothing that identifies the row).
    """
    if shape == "rows":
        return [
            {"row": error.row, "field": error.field, "message": error.message} for error in errors
        ]
    if shape in {"nested", "object"}:
        nested: list[dict[str, list[str]]] = [{} for _ in range(rows)]
        for error in errors:
            nested[error.row].setdefault(error.field or "non_field_errors", []).append(
                error.message,
            )
        return [{"schema_rows": nested}] if shape == "nested" else {"schema_rows": nested}
    if shape == "strings":
        return [f"row {error.row}: {error.field}: {error.message}" for error in errors]
    if shape == "bare":
        return [{"message": "Validation error."}]
    message = f"No shape of errors is called {shape!r}"
    raise ValueError(message)
