"""Validate catalogs, and read schemas from a catalog or a file of messages."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from jsonschema import Draft7Validator
from singer_sdk.singerlib import Catalog

from singer_martech.errors import MartechError
from singer_martech.singer.json_file import parse_object, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT: dict[str, Any] = {"type": "string"}
_METHOD = {"enum": ["FULL_TABLE", "INCREMENTAL", "LOG_BASED", None]}
_CATALOG: dict[str, Any] = {
    "required": ["streams"],
    "properties": {"streams": {"type": "array", "items": {"$ref": "#/definitions/stream"}}},
    "definitions": {
        "stream": {
            "type": "object",
            "required": ["tap_stream_id", "schema"],
            "properties": {
                "tap_stream_id": _TEXT,
                "key_properties": {"type": ["array", "null"], "items": _TEXT},
                "replication_key": {"type": ["string", "null"]},
                "replication_method": _METHOD,
                "schema": {"$ref": "#/definitions/schema"},
                "metadata": {"type": "array", "items": {"$ref": "#/definitions/metadata"}},
            },
        },
        "schema": {
            "type": "object",
            "properties": {
                "type": {"type": ["string", "array"], "items": _TEXT},
                "properties": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/definitions/schema"},
                },
            },
        },
        "metadata": {
            "type": "object",
            "properties": {
                "breadcrumb": {"type": "array", "items": _TEXT},
                "metadata": {
                    "type": "object",
                    "properties": {
                        "table-key-properties": {"type": ["array", "null"], "items": _TEXT},
                        "forced-replication-method": _METHOD,
                    },
                },
            },
        },
    },
}
"""The catalog schema that the SDK assumes but does not check."""


def check_catalog(catalog: Mapping[str, Any], label: str) -> None:
    """Check that the SDK can read a catalog and that it belongs to one of these taps.

    Raises:
        MartechError: It is not the catalog of a Singer tap, or it renames a stream.
    """
    _check_shape(catalog, label)
    # the SDK uses both names to look up streams
    if any(
        entry.get("stream", entry["tap_stream_id"]) != entry["tap_stream_id"]
        for entry in catalog["streams"]
    ):
        raise MartechError(
            f"{label} renames a stream: 'stream' must equal 'tap_stream_id'; use stream_maps"
        )


def _check_shape(catalog: Mapping[str, Any], label: str) -> None:
    wrong = next(Draft7Validator(_CATALOG).iter_errors(catalog), None)
    path = "" if wrong is None else "/".join(map(str, wrong.absolute_path))
    if wrong is None and _is_readable(catalog):
        return
    raise MartechError(
        f"{label} is not the catalog of a Singer tap"
        + (f" (see {path})" if path else "")
        + "; --discover prints one"
    )


def _is_readable(catalog: Mapping[str, Any]) -> bool:
    try:
        Catalog.from_dict(dict(catalog))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def read_schemas(file: IO[str], label: str) -> list[dict[str, Any]]:
    """Return the SCHEMA messages in a file of messages, or those that a catalog describes.

    Raises:
        MartechError: The file holds neither.
    """
    text = read_text(file, label)
    if '"type"' in text.partition("\n")[0]:
        lines = enumerate(text.split("\n"), 1)
        messages = [
            parse_object(line, f"line {number} of {label}")
            for number, line in lines
            if '"SCHEMA"' in line
        ]
        return [message for message in messages if message.get("type") == "SCHEMA"]
    catalog = parse_object(text, label)
    _check_shape(catalog, label)
    return [
        {
            "type": "SCHEMA",
            "stream": entry.get("stream", entry["tap_stream_id"]),
            "schema": entry["schema"],
            "key_properties": entry.get("key_properties"),
        }
        for entry in catalog["streams"]
    ]
