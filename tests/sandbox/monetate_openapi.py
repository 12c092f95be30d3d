"""The responses of Monetate's Data API according to the vendor's OpenAPI description (v1).

Only verifiable facts are included, as JSON Schema: names, types, required members and
enumerations. What the description leaves open is open here too.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

_DATE_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}
_ANY_OBJECT = {"type": "object"}
_META_MEMBERS: dict[str, Any] = {
    "code": {"type": "integer"},
    "warnings": {"type": "array", "items": _ANY_OBJECT},
    "errors": {"type": "array", "items": _ANY_OBJECT},
}
_META = {"type": "object", "required": ["code"], "properties": _META_MEMBERS}
_PAGED_META = {
    **_META,
    "properties": {
        **_META_MEMBERS,
        "count": {"type": "integer"},
        "next": {"type": "string"},
        "previous": {"type": "string"},
    },
}
_FIELDS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "required": ["data_type"],
        "properties": {
            "data_type": {
                "enum": [
                    "STRING",
                    "MULTI_STRING",
                    "BOOLEAN",
                    "DATETIME",
                    "NUMBER",
                    "GOOGLE_PRODUCT_CATEGORY",
                ],
            },
            "identifier": {"type": "boolean"},
            "unique_key": {"type": "boolean"},
            "event_time": {"type": "boolean"},
        },
    },
}
_DATASET = {
    "type": "object",
    "required": ["name", "fields"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": 64},
        "type": {
            "enum": [
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
            ],
        },
        "fields": _FIELDS,
        "created_date": _DATE_TIME,
        "id": {"type": "integer"},
        "named_identifier": {"type": "string"},
    },
}
#: A value of each data type. Optional fields are described as "Marked as null if absent".
_VALUES: dict[str, dict[str, Any]] = {
    "STRING": {"type": ["string", "null"]},
    "MULTI_STRING": {"type": ["string", "null"]},
    "GOOGLE_PRODUCT_CATEGORY": {"type": ["string", "null"]},
    "BOOLEAN": {"type": ["boolean", "null"]},
    "NUMBER": {"type": ["number", "null"]},
    "DATETIME": {"anyOf": [_DATE_TIME, {"type": "null"}]},
}


def _envelope(data: dict[str, Any], meta: dict[str, Any] = _META) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "meta"],
        "properties": {"meta": meta, "data": data},
    }


#: Every error, regardless of its status.
ERROR = _envelope(_ANY_OBJECT)
DATASET = _envelope(_DATASET)
DATASETS = _envelope({"type": "array", "items": _DATASET}, _PAGED_META)
ADDED_FIELDS = _envelope(
    {"type": "object", "required": ["fields"], "properties": {"fields": _FIELDS}},
)
#: The description's text has this response, although its schema for a PATCH requires `fields`.
NAMED_IDENTIFIER = _envelope(
    {
        "type": "object",
        "required": ["named_identifier"],
        "properties": {"named_identifier": {"type": "string", "pattern": r"^\w+$"}},
    },
)


def rows_of(fields: dict[str, str]) -> dict[str, Any]:
    """Return the schema of a response with rows, also to a POST of them.

    Args:
        fields: The data type of each field.
    """
    row = {
        "type": "object",
        "properties": {name: _VALUES[data_type] for name, data_type in fields.items()},
    }
    return _envelope(
        {
            "type": "object",
            "required": ["schema_rows"],
            "properties": {"schema_rows": {"type": "array", "items": row}},
        },
    )


def faults(schema: dict[str, Any], response: Any) -> list[str]:
    """Return the path and reason of each violation of the response's schema."""
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(response)]
