"""From a line of a result to the fields of a record.

A record holds what its line holds. Columns follow the stream's JSON Schema: epoch
milliseconds become date-times where it says date-time. ``_extra`` takes what the schema
does not know: unknown fields, and a column's whole value as received where any of it
does not fit (what does not fit is null in the column). So nothing is lost.

There are two ways with one result. A compiled decoder takes lines that fit the schema
exactly and writes them again in one go; every other line, and every line when fields
have to be looked at one by one, goes through plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_mediarithmics.coercion import converter
from tap_mediarithmics.exact_json import parse_json
from tap_mediarithmics.typed_decoder import TypedDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTRA = "_extra"


class NotAnObject(ValueError):
    """A line of a result is no JSON object."""


class RecordDecoder:
    """Reads lines of one stream.

    Args:
        properties: The JSON Schemas of the stream's columns that come from the line.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Compile both ways of reading."""
        self._columns = {
            name: converter(schema) for name, schema in properties.items() if name != EXTRA
        }
        self._compiled = TypedDecoder({name: properties[name] for name in self._columns})

    def rewrite(self, line: bytes, replication_key: str | None = None) -> tuple[bytes, Any] | None:
        """Turn a line that fits the schema exactly into a record's JSON.

        Args:
            line: The line, with or without its end.
            replication_key: A column whose value is wanted.

        Returns:
            The JSON object and that value, or None for a line that has to be read by
            ``record``.
        """
        return self._compiled.rewrite(line, replication_key)

    def record(self, line: bytes) -> dict[str, Any]:
        """Turn any line into a record.

        Raises:
            NotAnObject: It is no JSON object.
        """
        return self.from_object(self.fields(line))

    @staticmethod
    def fields(line: bytes) -> dict[str, Any]:
        """Return what a line holds.

        Raises:
            NotAnObject: It is no JSON object.
        """
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            message = f"it is not JSON ({error})"
            raise NotAnObject(message) from None
        if not isinstance(value, dict):
            message = "it is no JSON object"
            raise NotAnObject(message)
        return value

    def from_object(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Turn what a line holds into a record."""
        record: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in fields.items():
            convert = self._columns.get(name)
            if convert is None:
                extra[name] = value
                continue
            misfits: list[Any] = []
            record[name] = convert(value, misfits)
            if misfits:
                extra[name] = value
        if extra:
            record[EXTRA] = extra
        return record
