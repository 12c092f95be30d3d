"""Bringing values into the types of a dataset's fields.

The types are those of the vendor's OpenAPI description of the Data API. How several
values stand in one MULTI_STRING is said on the vendor's page "Product Catalog
Specification": they are separated by commas, and a value that holds a comma stands in
double quotes.

A value fits when nothing of it is lost; what would have to be guessed is refused.
"""

from __future__ import annotations

import csv
import datetime
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.filters import as_text
from singer_martech.values.json_codec import encode
from singer_martech.values.timestamps import iso
from target_monetate.dataset import (
    BOOLEAN,
    DATETIME,
    GOOGLE_PRODUCT_CATEGORY,
    MULTI_STRING,
    NUMBER,
    STRING,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_monetate.dataset import Dataset

    Fitter = Callable[[Any], Any]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(\.\d+)?"
    r" ?([Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?",
    re.ASCII,
)
_WHOLE_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)", re.ASCII
)
_SECONDS_END = len("2024-01-31T00:00:00")
_TRUTH = {"true": True, "false": False}
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


class TypeMismatch(ValueError):
    """A value does not fit its field's type; the text says why, without the value."""


class RowCoercion:
    """Makes rows that a dataset takes.

    What to do with a field is decided once; a value that fits already costs next to nothing.

    Args:
        dataset: Where the rows go.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Decide how each field is fitted."""
        self._dataset = dataset
        self._required = dataset.required
        types = {
            name: field.data_type if field.data_type in FITTERS else STRING
            for name, field in dataset.fields.items()
        }
        self._fitters = {name: FITTERS[data_type] for name, data_type in types.items()}
        self._text_fitters: dict[str, Callable[[str], Any]] = {
            name: str.strip if FITTERS[data_type] is to_string else FITTERS[data_type]
            for name, data_type in types.items()
        }
        self._fits_always = {
            name: _FITS_ALWAYS.get(data_type, frozenset()) for name, data_type in types.items()
        }

    def coerce(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fit a row.

        Args:
            row: Values by field.

        Returns:
            The row without what is null, since a field that is absent is null at Monetate;
            the very row given where nothing had to change.

        Raises:
            MappingError: A value does not fit, a field is unknown, or a required one is null.
        """
        try:
            changes = self._changes(row)
        except KeyError:
            raise MappingError(self._unknown(row)) from None
        if changes:
            row = {name: value for name, value in {**row, **changes}.items() if value is not None}
        for name in self._required:
            if name not in row:
                raise MappingError(self._needed(name))
        return row

    def _changes(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that have to change, by field; the way of every value there is.

        Raises:
            KeyError: A field is unknown.
            MappingError: A value does not fit.
        """
        text_fitters, fits_always = self._text_fitters, self._fits_always
        changes: dict[str, Any] = {}
        name = ""
        try:
            for name, value in row.items():
                kind = type(value)
                if kind is str:
                    fitted = text_fitters[name](value)
                    if fitted is value and fitted:
                        continue
                elif value is None:
                    fitted = None
                elif kind in fits_always[name]:
                    continue
                else:
                    fitted = self._fitters[name](value)
                changes[name] = None if fitted == "" else fitted
        except (TypeMismatch, MappingError) as error:
            data_type = self._dataset.fields[name].data_type
            raise MappingError(f"field '{name}' ({data_type}): {error}") from None
        return changes

    def _unknown(self, row: Mapping[str, Any]) -> str:
        names = [
            name for name, value in row.items() if name not in self._fitters and value is not None
        ]
        return (
            f"the dataset '{self._dataset.name}' has no field {quoted(names)}; leave it out with "
            "a mapping 'row', or add it with the setting 'add_missing_fields'"
        )

    def _needed(self, name: str) -> str:
        field = self._dataset.fields[name]
        role = " and ".join(field.roles)
        return f"field '{name}' ({role}): it is empty or missing, and a row must have it"


def to_string(value: Any) -> str | None:
    """Fit a STRING: text that is not empty and has no white space around.

    Numbers and truth values become their text, nested values their JSON.
    """
    if type(value) is not str:
        value = _text(value)
    return value.strip() or None


def to_number(value: Any) -> int | Decimal | float | None:
    """Fit a NUMBER, to the digit; text that is a number counts as one."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if not _NUMBER.fullmatch(value):
            raise TypeMismatch("the text is not a number")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise TypeMismatch(f"{_kind(value)} is not a number")
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise TypeMismatch("it is not a finite number")
    return value


def to_boolean(value: Any) -> bool | None:
    """Fit a BOOLEAN: true or false, as such or as text, or the numbers 1 and 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if not text:
            return None
        if text in _TRUTH:
            return _TRUTH[text]
    elif isinstance(value, (int, Decimal)) and value in {0, 1}:
        return value == 1
    raise TypeMismatch(f"{_kind(value)} is neither true nor false")


def to_datetime(value: Any) -> str | None:
    """Fit a DATETIME: ISO-8601 with an offset; without one it is UTC, a date midnight.

    Numbers are refused, since seconds, milliseconds and 20240131 cannot be told apart.
    """
    if not isinstance(value, str):
        if isinstance(value, datetime.date):
            return iso(value)
        raise TypeMismatch(
            f"{_kind(value)} is not an ISO-8601 date-time; a template may use '| iso'"
        )
    if _WHOLE_MOMENT.fullmatch(value):
        _check_timestamp(value[:_SECONDS_END])
        return value
    text = value.strip()
    if not text:
        return None
    match = _MOMENT.fullmatch(text)
    if match is not None:
        date, minutes, seconds, fraction, offset = match.groups()
        plain = f"{date}T{minutes}{seconds or ':00'}"
        written = f"{plain}{fraction or ''}{_offset(offset)}"
    elif _DATE.fullmatch(text):
        plain = f"{text}T00:00:00"
        written = f"{plain}Z"
    else:
        raise TypeMismatch("the text is not an ISO-8601 date-time")
    _check_timestamp(plain)
    return written


def to_multi_string(value: Any) -> str | None:
    """Fit a MULTI_STRING: a list, or text that has its values separated by commas already."""
    if isinstance(value, str):
        items = _separated(value)
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, (dict, list, tuple)) for item in value):
            raise TypeMismatch(
                "its values are nested, but may only be text, numbers and truth values"
            )
        items = [_text(item) for item in value if item is not None]
    elif isinstance(value, dict):
        raise TypeMismatch("an object is not a list of values")
    else:
        items = [_text(value)]
    text = ",".join(_escaped(item) for item in map(str.strip, items) if item)
    if not text:
        return None
    return value if text == value else text


FITTERS: Mapping[str, Fitter] = {
    STRING: to_string,
    GOOGLE_PRODUCT_CATEGORY: to_string,
    NUMBER: to_number,
    BOOLEAN: to_boolean,
    DATETIME: to_datetime,
    MULTI_STRING: to_multi_string,
}
_FITS_ALWAYS: Mapping[str, frozenset[type]] = {
    NUMBER: frozenset({int, Decimal}),
    BOOLEAN: frozenset({bool}),
}


def _check_timestamp(text: str) -> None:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        raise TypeMismatch("there is no such date or time") from None


def _text(value: Any) -> str:
    return encode(value).decode() if isinstance(value, (dict, list, tuple)) else as_text(value)


def _separated(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True, skipinitialspace=True), [])
    except csv.Error:
        raise TypeMismatch("the double quotes of the comma-separated values do not pair") from None


def _escaped(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _offset(text: str | None) -> str:
    if text is None or text in {"Z", "z"}:
        return "Z"
    return f"{text}:00" if len(text) == len("+00") else text


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (int, float, Decimal)):
        return "a number"
    if isinstance(value, str):
        return "the text"
    return "a list" if isinstance(value, (list, tuple)) else "an object"
