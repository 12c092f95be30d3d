"""Checking records against their stream's schema, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema_rs

from singer_martech.errors import MartechError
from singer_martech.values.json_codec import unicode

if TYPE_CHECKING:
    from collections.abc import Mapping


class RecordValidator:
    """Checks the records of one stream.

    Formats such as ``date-time`` are annotations, as they are for every Singer target.

    Args:
        stream: The stream, for messages.
        schema: Its JSON Schema.

    Raises:
        MartechError: The schema is not valid.
    """

    def __init__(self, stream: str, schema: Mapping[str, Any]) -> None:
        """Compile the schema."""
        try:
            self._validator = jsonschema_rs.Draft7Validator(
                dict(schema), validate_formats=False, retriever=_refuse_reference, mask="its value"
            )
        except ValueError as error:
            first = str(error).partition("\n")[0]
            message = f"stream '{stream}': its SCHEMA is not a valid JSON Schema: {first}"
            raise MartechError(message) from error

    def is_valid(self, record: Mapping[str, Any]) -> bool:
        """Whether a record fits."""
        try:
            return self._validator.is_valid(record)
        except UnicodeEncodeError:
            return self._validator.is_valid(unicode(record))

    def reason(self, record: Mapping[str, Any]) -> str:
        """Say what is wrong with a record that is not valid.

        The values themselves are left out: they stand in the record beside.
        """
        # which half of a surrogate pair a text holds is taken to make no difference
        error = next(iter(self._validator.iter_errors(unicode(record))))
        place = ".".join(map(str, error.instance_path)) or "the record"
        return f"breaks its schema at {place}: {error.message}"


def _refuse_reference(uri: str) -> None:
    message = f"the schema refers to {uri}, which is not fetched"
    raise ValueError(message)
