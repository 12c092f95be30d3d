"""The rules for messages, from the vendor's pages."""

from __future__ import annotations

from singer_martech.mapping.rules import Rule

ACTIONS = ("OVERWRITE", "ADD", "NEW")
RESERVED_PREFIX = "MONA_"

_REST_EXPORT = "Export data directly via REST endpoint"
_PYTHON_CLIENT = "Python client mona-sdk, MonaSingleMessage"

ARC_CLASS = Rule(
    "letters, digits, '-', '_' and '@' are required, with single dots between them", _PYTHON_CLIENT
)
MESSAGE = Rule("an object with a field or more is required", _REST_EXPORT)
EXPORT_TIMESTAMP = Rule(
    "a number of 10 or 13 digits, such digits as text, or ISO 8601 text is required; a template "
    "can make one with '| iso'",
    _PYTHON_CLIENT,
)
ACTION = Rule(f"one of {', '.join(ACTIONS)} is required", _PYTHON_CLIENT)
RESERVED_NAME = Rule(f"names that start with {RESERVED_PREFIX} are reserved", _PYTHON_CLIENT)

RULES = (ARC_CLASS, MESSAGE, EXPORT_TIMESTAMP, ACTION, RESERVED_NAME)
"""Every rule by which a record is rejected before sending."""
