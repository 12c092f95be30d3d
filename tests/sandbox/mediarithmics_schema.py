"""The object tree of the sandbox's datamart, from which queries select."""

from __future__ import annotations

import re
from typing import Any

#: Types of the tree and their fields, in the notation of the vendor's schema.
OBJECT_TYPES: dict[str, dict[str, str]] = {
    "UserPoint": {
        "id": "ID!",
        "creation_ts": "Timestamp!",
        "accounts": "[UserAccount!]!",
        "emails": "[UserEmail!]!",
        "profiles": "[UserProfile!]!",
        "segments": "[UserSegment!]!",
        "activities": "[UserActivity!]!",
    },
    "UserAccount": {
        "id": "ID!",
        "creation_ts": "Timestamp!",
        "compartment_id": "String!",
        "user_account_id": "String!",
    },
    "UserEmail": {
        "id": "ID!",
        "creation_ts": "Timestamp!",
        "last_activity_ts": "Timestamp",
        "email": "String",
    },
    "UserProfile": {
        "id": "ID!",
        "creation_ts": "Timestamp!",
        "last_modified_ts": "Timestamp",
        "compartment_id": "String",
        "user_account_id": "String",
        "first_name": "String",
        "last_name": "String",
        "gender": "Gender",
        "birth_date": "Date",
        "city": "String",
        "country": "String",
        "loyalty_points": "Int",
        "lifetime_value": "BigDecimal",
        "churn_score": "Double",
        "newsletter": "Boolean",
        "interests": "[String!]",
    },
    "UserSegment": {
        "id": "ID!",
        "creation_ts": "Timestamp!",
        "expiration_ts": "Timestamp",
    },
    "UserActivity": {
        "id": "ID!",
        "ts": "Timestamp!",
        "creation_ts": "Timestamp!",
        "type": "UserActivityType!",
        "source": "ActivitySource!",
        "channel_id": "String",
        "duration": "Int",
        "user_point_id": "String",
        "events": "[ActivityEvent!]!",
    },
    "ActivityEvent": {
        "id": "ID!",
        "ts": "Timestamp!",
        "name": "String!",
        "url": "String",
        "basket": "Basket",
    },
    "Basket": {
        "order_id": "String",
        "amount": "Float",
        "currency": "String",
        "products": "[Product!]",
    },
    "Product": {
        "id": "String",
        "brand": "String",
        "category": "String",
        "price": "Number",
        "quantity": "Int",
    },
}

#: Enumerations that the schema's text declares.
ENUMERATIONS: dict[str, tuple[str, ...]] = {"Gender": ("F", "M", "X")}

#: Enumerations of the platform, which the schema's text does not declare.
BUILT_IN_ENUMERATIONS = frozenset(
    {
        "ActivitySource",
        "BrowserFamily",
        "FormFactor",
        "HashFunction",
        "OperatingSystemFamily",
        "UserActivityType",
        "UserAgentType",
    },
)

TEXT_SCALARS = frozenset({"ID", "String"})
NUMBER_SCALARS = frozenset({"Int", "Float", "Double", "BigDecimal", "Number"})
TIME_SCALARS = frozenset({"Timestamp", "Date"})

#: Types from which queries can start.
_ROOT = "UserPoint"
_INDEXED = {"UserPoint", "UserActivity", "UserProfile", "UserEmail", "UserAccount", "UserSegment"}


def bare_type(notation: str) -> str:
    """Return the type's name in a notation such as `[UserEmail!]!`."""
    return re.sub(r"[\[\]!]", "", notation)


def is_list(notation: str) -> bool:
    """Return whether a notation is that of a list."""
    return notation.startswith("[")


def object_types_deep(schema_id: str) -> list[dict[str, Any]]:
    """Return the types with their fields and directives, as in `object_types/deep`."""
    types = []
    for number, (name, fields) in enumerate(OBJECT_TYPES.items(), start=1):
        type_id = str(int(schema_id) * 100 + number)
        directives = _type_directives(name)
        types.append(
            {
                "id": type_id,
                "runtime_schema_id": schema_id,
                "type": "OBJECT_TYPE",
                "name": name,
                "fields": [
                    {
                        "id": str(int(type_id) * 100 + place),
                        "object_like_type_id": type_id,
                        "runtime_schema_id": schema_id,
                        "field_type": notation,
                        "name": field,
                        "directives": [],
                    }
                    for place, (field, notation) in enumerate(fields.items(), start=1)
                ],
                "directives": [
                    {"id": f"{type_id}-{directive}", "name": directive, "arguments": []}
                    for directive in directives
                ],
            },
        )
    return types


def schema_text() -> str:
    """Return the schema as text, in the language of the vendor's editor."""
    blocks = [
        f"enum {name} {{\n  " + "\n  ".join(values) + "\n}" for name, values in ENUMERATIONS.items()
    ]
    for name, fields in OBJECT_TYPES.items():
        directives = "".join(f" @{directive}" for directive in _type_directives(name))
        lines = [f"  {field}: {notation}{_index(notation)}" for field, notation in fields.items()]
        blocks.append(f"type {name}{directives} {{\n" + "\n".join(lines) + "\n}")
    return "# The shop's datamart\n" + "\n\n".join(blocks) + "\n"


def _type_directives(name: str) -> list[str]:
    if name == _ROOT:
        return ["TreeIndexRoot"]
    return ["Mirror"] if name in _INDEXED else []


def _index(notation: str) -> str:
    name = bare_type(notation)
    if name in OBJECT_TYPES:
        return ""
    return ' @TreeIndex(index: "USER_INDEX")'
