"""Decode the lines of a result to records.

Columns have the types of the stream's JSON Schema: epoch milliseconds become date-times where
a column is a date-time. Unknown fields go to ``_extra``. A value that does not fit its column is
null there, and its original goes to ``_extra``. So nothing is lost.

Two paths give the same result. A compiled decoder takes lines whose known fields fit the schema
exactly and encodes them again at once. All other lines are converted value by value.
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
    """A line of a result is not a JSON object."""


class RecordDecoder:
    """Decodes the lines of one stream.

    Args:
        properties: The JSON Schemas of the stream's columns that come from the line.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._columns = {
            name: converter(schema) for name, schema in properties.items() if name != EXTRA
        }
        compiled = TypedDecoder({name: properties[name] for name in self._columns})
        self._rewrites = compiled.rewrite, compiled.rewrite_with_extra

    def rewrite(self, line: bytes, replication_key: str | None = None) -> tuple[bytes, Any] | None:
        """Convert a line that fits the schema exactly to the JSON of a record.

        Args:
            line: The line, with or without line end.
            replication_key: A column whose value is returned.

        Returns:
            The JSON object and that value, or None for a line that ``record`` has to convert.
        """
        first, second = self._rewrites
        rewritten = first(line, replication_key)
        if rewritten is None:
            rewritten = second(line, replication_key)
            if rewritten is not None:  # lines of one result are alike
                self._rewrites = second, first
        return rewritten

    def record(self, line: bytes) -> dict[str, Any]:
        """Convert any line to a record.

        Raises:
            NotAnObject: It is not a JSON object.
        """
        return self.from_object(self.fields(line))

    @staticmethod
    def fields(line: bytes) -> dict[str, Any]:
        """Return the fields of a line.

        Raises:
            NotAnObject: It is not a JSON object.
        """
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise NotAnObject(f"it is not JSON ({error})") from None
        if not isinstance(value, dict):
            raise NotAnObject("it is not a JSON object")
        return value

    def from_object(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Convert the fields of a line to a record."""
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
