"""The streams that the targets load, with schemas and records as well-known taps write them.

Each record is made from its number alone, so every run reads the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.nested_streams import ISSUES, ORDERS
from bench.stream_input import AIMS, FLAG, INTEGER, NUMBER, SPACED, TEXT, TIME, StreamInput, profile

if TYPE_CHECKING:
    from collections.abc import Mapping


def _flat(number: int) -> dict[str, Any]:
    return {
        "customer_id": f"customer-{number}",
        **{f"text_{n}": f"value {number % 977} of field {n}" for n in range(17)},
        **{f"number_{n}": number * 10 + n if n % 2 else number / 4 + n for n in range(8)},
    }


_FLAT = StreamInput(
    "customers",
    "flat records of 26 fields",
    400_000,
    "customer_id",
    {
        "customer_id": {"type": "string"},
        **{f"text_{n}": TEXT for n in range(17)},
        **{f"number_{n}": NUMBER for n in range(8)},
    },
    _flat,
    profile("customer_id", a="text_0", b="text_1", c="text_2", d="number_1", e="number_3"),
)


def _table_row(number: int) -> dict[str, Any]:
    return {
        "order_no": f"C-{number:09}",
        "customer_id": number % 50_021,
        **{f"varchar_{n}": f"text {number % 977} in column {n}" for n in range(8)},
        **{f"decimal_{n}": (number * 7 + n) % 1_000_000 / 100 for n in range(4)},
        **{f"int_{n}": (number + n) % 2_147_483_647 for n in range(4)},
        "is_paid": number % 3 == 0,
        "note": None,
        "created_at": f"2026-03-{1 + number % 28:02}T12:{number % 60:02}:00.000000Z",
        "updated_at": f"2026-03-{1 + number % 28:02}T13:{number % 60:02}:00.000000Z",
    }


def _column(schema: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"inclusion": "available", **schema, **keywords}


_DECIMAL = _column(NUMBER, multipleOf=0.01, maximum=1e8, minimum=-1e8)
_INT = _column(INTEGER, minimum=-2_147_483_648, maximum=2_147_483_647)
_TABLE = StreamInput(
    "orders_table",
    "a table as tap-mysql writes it",
    300_000,
    "order_no",
    {
        "order_no": {"type": "string", "inclusion": "automatic", "maxLength": 20},
        "customer_id": _INT,
        **{f"varchar_{n}": _column(TEXT, maxLength=255) for n in range(8)},
        **{f"decimal_{n}": _DECIMAL for n in range(4)},
        **{f"int_{n}": _INT for n in range(4)},
        "is_paid": _column(FLAG),
        "note": _column(TEXT, maxLength=255),
        "created_at": _column(TIME),
        "updated_at": _column(TIME),
    },
    _table_row,
    profile("order_no", a="varchar_0", b="varchar_1", c="int_0", d="decimal_0", e="created_at"),
    SPACED,
    {"version": 1773144000000, "time_extracted": "2026-03-10T12:00:00.000000Z"},
)


_SDC_TIMES = ("_sdc_extracted_at", "_sdc_received_at", "_sdc_batched_at", "_sdc_deleted_at")


def _warehouse_row(number: int) -> dict[str, Any]:
    row = _flat(number)
    at = "2026-03-10T12:00:00.000000+00:00"
    times: dict[str, Any] = {**dict.fromkeys(_SDC_TIMES, at), "_sdc_deleted_at": None}
    return {**row, **times, "_sdc_sequence": 1773144000000 + number, "_sdc_table_version": 1}


_WAREHOUSE = _FLAT._replace(
    name="warehouse",
    title="the same with `_sdc_` columns",
    records=300_000,
    properties={
        **_FLAT.properties,
        **dict.fromkeys(_SDC_TIMES, TIME),
        "_sdc_sequence": INTEGER,
        "_sdc_table_version": INTEGER,
    },
    record=_warehouse_row,
)


def _any_of(*alternatives: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*alternatives, {"type": "null"}]}


def _ticket(number: int) -> dict[str, Any]:
    return {
        "ticket": f"T{number:09}",
        **{f"text_{n}": f"answer {number % 977} to question {n}" for n in range(14)},
        **{f"at_{n}": f"2026-03-{1 + number % 28:02}T1{n}:00:00Z" for n in range(5)},
        **{f"count_{n}": number % 1000 + n for n in range(3)},
        **{f"amount_{n}": number % 1000 / 8 + n for n in range(2)},
        "empty": None,
    }


_ANY_OF = StreamInput(
    "tickets",
    "25 columns of `anyOf`",
    300_000,
    "ticket",
    {
        "ticket": {"type": "string"},
        **dict.fromkeys([*(f"text_{n}" for n in range(14)), "empty"], _any_of({"type": "string"})),
        **{
            f"at_{n}": _any_of({"type": "string", "format": "date-time"}, {"type": "string"})
            for n in range(5)
        },
        **{f"count_{n}": _any_of({"type": "integer"}, {"type": "string"}) for n in range(3)},
        **{f"amount_{n}": _any_of({"type": "number"}) for n in range(2)},
    },
    _ticket,
    profile("ticket", a="text_0", b="text_1", c="at_0", d="count_0", e="count_1"),
    SPACED,
)


def _subscriber(number: int) -> dict[str, Any]:
    return {
        **_flat(number),
        "email": f"Person{number}@Shop.example",
        "first_name": "Ada",
        "last_name": f"Name {number % 977}",
        "plan": "pro" if number % 3 else "free",
        "amount": number % 100_000 / 8,
        "created_at": f"2026-03-{1 + number % 28:02}T12:{number % 60:02}:00Z",
    }


_FIVE_EXPRESSIONS = {
    "email_hash": "{{ email | lower | sha256 }}",
    "created": "{{ created_at | epoch_ms }}",
    "full_name": "{{ first_name ~ ' ' ~ last_name }}",
    "spent": "{{ amount | round(2) }}",
    "level": "{{ 'gold' if plan == 'pro' else 'basic' }}",
}
_SUBSCRIBERS = _FLAT._replace(
    name="subscribers",
    title="flat records with a mapping of five Jinja expressions",
    records=200_000,
    properties={
        **_FLAT.properties,
        **dict.fromkeys(("email", "first_name", "last_name", "plan"), TEXT),
        "amount": NUMBER,
        "created_at": TIME,
    },
    record=_subscriber,
    message=_FIVE_EXPRESSIONS,
    row={"customer_id": "{{ customer_id }}", **_FIVE_EXPRESSIONS},
    document={**profile("customer_id"), "user_profile": _FIVE_EXPRESSIONS},
    aims=dict.fromkeys(AIMS, 10),
)

STREAMS = (_FLAT, _TABLE, _WAREHOUSE, _ANY_OF, ISSUES, ORDERS, _SUBSCRIBERS)
