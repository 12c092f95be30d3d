"""The rules for rows and data types, from the vendor's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_martech.mapping.rules import Rule
from target_monetate.dataset import BOOLEAN, DATETIME, MULTI_STRING, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEW_SCHEMA = "Data API, Create a New Schema"

TYPE_RULES: Mapping[str, Rule] = {
    NUMBER: Rule("an integer or a decimal number is required", f"{_NEW_SCHEMA}: Field Data Types"),
    BOOLEAN: Rule("true or false is required", f"{_NEW_SCHEMA}: Field Data Types"),
    DATETIME: Rule(
        "a date-time of ISO 8601 is required; a template can make one with '| iso'",
        f"{_NEW_SCHEMA}: Field Data Types",
    ),
    MULTI_STRING: Rule(
        "a list of scalars, or text with values separated by commas, is required",
        "Product Catalog Specification: Comma Escaping",
    ),
}
"""By data type. Any value can be a STRING."""

REQUIRED = Rule(
    "a row must have its identifier, its unique key and every required field",
    f"{_NEW_SCHEMA}: Field Attributes",
)

RULES = (*TYPE_RULES.values(), REQUIRED)
"""Every rule by which a row is rejected before sending."""
