"""Nested streams, with schemas and records like those of tap-github and tap-shopify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.stream_input import AIMS, FLAG, INTEGER, NUMBER, SPACED, TEXT, TIME, StreamInput, profile

if TYPE_CHECKING:
    from collections.abc import Mapping


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["null", "object"], "properties": properties}


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["null", "array"], "items": items}


_PERSON_LINKS = (
    *("avatar_url", "url", "html_url", "followers_url", "following_url", "gists_url"),
    *("starred_url", "subscriptions_url", "organizations_url", "repos_url", "events_url"),
)
_PERSON = _object(
    login=TEXT,
    id=INTEGER,
    node_id=TEXT,
    gravatar_id=TEXT,
    type=TEXT,
    site_admin=FLAG,
    **dict.fromkeys(_PERSON_LINKS, TEXT),
)


def _person(number: int) -> dict[str, Any]:
    login = f"person-{number % 5003}"
    link = f"https://api.code.example/users/{login}"
    return {
        "login": login,
        "id": number % 5003,
        "node_id": f"MDQ6VXNlcj{number % 5003}",
        "gravatar_id": "",
        "type": "User",
        "site_admin": False,
        **{name: f"{link}/{name.removesuffix('_url')}" for name in _PERSON_LINKS},
    }


_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
_ISSUE_LINKS = ("url", "repository_url", "labels_url", "comments_url", "events_url", "html_url")


def _issue(number: int) -> dict[str, Any]:
    link = f"https://api.code.example/repos/shop/site/issues/{number}"
    return {
        "issue_key": f"shop/site#{number}",
        "id": number * 17,
        "node_id": f"I_kwDO{number}",
        "number": number,
        "repo": "site",
        "org": "shop",
        "title": f"The basket shows a wrong sum for voucher {number % 977}",
        "body": f"Steps to repeat ({number}):\r\n\r\n"
        + "1. Open the shop and add a product.\n" * 10,
        "state": "closed" if number % 3 else "open",
        "state_reason": "completed" if number % 3 else None,
        "locked": False,
        "comments": number % 40,
        "author_association": "MEMBER",
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-10T12:00:00Z",
        "closed_at": "2026-03-10T12:00:00Z" if number % 3 else None,
        **{name: f"{link}/{name}" for name in _ISSUE_LINKS},
        "user": _person(number),
        "assignee": _person(number + 1),
        "assignees": [_person(number + 1)],
        "labels": [
            {
                "id": n,
                "node_id": f"LA_{n}",
                "url": f"{link}/labels/{n}",
                "name": f"label {n}",
                "description": "Reported by a customer",
                "color": "d73a4a",
                "default": n == 0,
            }
            for n in range(2)
        ],
        "milestone": {
            "id": 7,
            "number": 1,
            "title": "Spring",
            "state": "open",
            "open_issues": 4,
            "closed_issues": 8,
            "due_on": None,
            "creator": _person(7),
        },
        "reactions": {"url": f"{link}/reactions", "total_count": 3, **dict.fromkeys(_REACTIONS, 0)},
    }


ISSUES = StreamInput(
    "issues",
    "nested issues of 5 KB as tap-github writes them",
    60_000,
    "issue_key",
    {
        "issue_key": {"type": "string"},
        **dict.fromkeys(("id", "number", "comments"), INTEGER),
        **dict.fromkeys(("node_id", "repo", "org", "title", "body", "state"), TEXT),
        **dict.fromkeys(("state_reason", "author_association", *_ISSUE_LINKS), TEXT),
        "locked": FLAG,
        **dict.fromkeys(("created_at", "updated_at", "closed_at"), TIME),
        "user": _PERSON,
        "assignee": _PERSON,
        "assignees": _list_of(_PERSON),
        "labels": _list_of(
            _object(
                id=INTEGER,
                node_id=TEXT,
                url=TEXT,
                name=TEXT,
                description=TEXT,
                color=TEXT,
                default=FLAG,
            )
        ),
        "milestone": _object(
            title=TEXT,
            state=TEXT,
            due_on=TIME,
            creator=_PERSON,
            **dict.fromkeys(("id", "number", "open_issues", "closed_issues"), INTEGER),
        ),
        "reactions": _object(url=TEXT, total_count=INTEGER, **dict.fromkeys(_REACTIONS, INTEGER)),
    },
    _issue,
    profile(
        "issue_key", a="title", b="state", c="comments", d="created_at", e="author_association"
    ),
    envelope={"time_extracted": "2026-03-10T12:00:00.000000+00:00"},
    row={
        "issue_key": "{{ issue_key }}",
        "title": "{{ title }}",
        "state": "{{ state }}",
        "comments": "{{ comments }}",
        "created_at": "{{ created_at }}",
        "author": "{{ user.login }}",
        "milestone": "{{ milestone.title }}",
    },
)


def _money(cents: int) -> dict[str, Any]:
    amount = {"amount": f"{cents / 100:.2f}", "currency_code": "EUR"}
    return {"shop_money": amount, "presentment_money": amount}


_AMOUNT = _object(amount={"type": ["null", "number", "string"]}, currency_code=TEXT)
_MONEY = _object(shop_money=_AMOUNT, presentment_money=_AMOUNT)
_ADDRESS_FIELDS = (
    *("first_name", "last_name", "name", "company", "address1", "address2", "zip", "city"),
    *("province", "province_code", "country", "country_code", "phone"),
)
_ADDRESS = _object(latitude=NUMBER, longitude=NUMBER, **dict.fromkeys(_ADDRESS_FIELDS, TEXT))
_TAX = _object(title=TEXT, rate=NUMBER, price=TEXT, price_set=_MONEY)


def _address(number: int) -> dict[str, Any]:
    return {
        **{name: f"{name} {number % 977}" for name in _ADDRESS_FIELDS},
        "latitude": 48.85 + number % 100 / 1000,
        "longitude": 2.35,
    }


def _tax(cents: int) -> dict[str, Any]:
    return {"title": "VAT", "rate": 0.2, "price": f"{cents / 500:.2f}", "price_set": _money(cents)}


_LINE_TEXTS = (
    *("title", "variant_title", "sku", "vendor", "name", "fulfillment_service"),
    *("variant_inventory_management", "fulfillment_status", "price", "total_discount"),
)
_LINE_NUMBERS = ("id", "product_id", "variant_id", "quantity", "grams", "fulfillable_quantity")
_LINE_FLAGS = ("requires_shipping", "taxable", "gift_card", "product_exists")


def _order_line(number: int, n: int) -> dict[str, Any]:
    cents = 500 + (number * 13 + n) % 20_000
    return {
        **{name: f"{name} {(number + n) % 977}" for name in _LINE_TEXTS},
        **dict.fromkeys(_LINE_NUMBERS, (number + n) % 100003),
        **dict.fromkeys(_LINE_FLAGS, True),
        "price_set": _money(cents),
        "total_discount_set": _money(0),
        "properties": [{"name": "engraving", "value": f"for {number % 977}"}],
        "tax_lines": [_tax(cents)],
        "discount_allocations": [{"amount": "0.00", "amount_set": _money(0)}],
    }


_ORDER_TEXTS = (
    *("email", "contact_email", "phone", "name", "token", "cart_token", "checkout_token"),
    *("currency", "presentment_currency", "financial_status", "fulfillment_status", "gateway"),
    *("source_name", "landing_site", "referring_site", "order_status_url", "tags", "note"),
    *("total_price", "subtotal_price", "total_tax", "total_discounts", "browser_ip"),
    *("processing_method", "customer_locale", "cancel_reason"),
)
_ORDER_TIMES = ("created_at", "updated_at", "processed_at", "closed_at", "cancelled_at")
_ORDER_SUMS = (
    *("total_price_set", "subtotal_price_set", "total_tax_set", "total_discounts_set"),
    *("total_line_items_price_set", "total_shipping_price_set"),
)
_ORDER_LISTS = ("discount_codes", "note_attributes", "refunds", "fulfillments")


def _order(number: int) -> dict[str, Any]:
    cents = 2_000 + number * 7 % 100_000
    return {
        "order_key": f"gid://shop/Order/{number}",
        "id": 4_000_000_000_000 + number,
        "order_number": number,
        **{name: f"{name} of order {number % 9973}" for name in _ORDER_TEXTS},
        **dict.fromkeys(_ORDER_TIMES[:3], "2026-03-10T12:00:00+01:00"),
        **dict.fromkeys(_ORDER_TIMES[3:]),
        **{name: _money(cents + n) for n, name in enumerate(_ORDER_SUMS)},
        **{name: [] for name in _ORDER_LISTS},
        "total_weight": number % 9000,
        "test": False,
        "taxes_included": True,
        "buyer_accepts_marketing": number % 2 == 0,
        "billing_address": _address(number),
        "shipping_address": _address(number + 1),
        "customer": {
            "id": 600_000_000 + number % 50_021,
            "email": f"person{number % 50_021}@shop.example",
            "first_name": "Ada",
            "last_name": f"Name {number % 977}",
            "orders_count": 1 + number % 9,
            "total_spent": f"{cents / 50:.2f}",
            "verified_email": True,
            "tags": "newsletter",
            "created_at": "2025-03-10T12:00:00+01:00",
            "default_address": _address(number),
        },
        "line_items": [_order_line(number, n) for n in range(7)],
        "shipping_lines": [
            {"id": 1, "title": "Parcel", "price": "4.90", "price_set": _money(490), "code": "P"}
        ],
        "tax_lines": [_tax(cents)],
    }


ORDERS = StreamInput(
    "orders",
    "nested orders of 14 KB as tap-shopify writes them",
    25_000,
    "order_key",
    {
        "order_key": {"type": "string"},
        **dict.fromkeys(("id", "order_number", "total_weight"), INTEGER),
        **dict.fromkeys(_ORDER_TEXTS, TEXT),
        **dict.fromkeys(_ORDER_TIMES, TIME),
        **dict.fromkeys(_ORDER_SUMS, _MONEY),
        "discount_codes": _list_of(_object(code=TEXT, amount=TEXT, type=TEXT)),
        "note_attributes": _list_of(_object(name=TEXT, value=TEXT)),
        "refunds": _list_of(_object(id=INTEGER, created_at=TIME, note=TEXT)),
        "fulfillments": _list_of(_object(id=INTEGER, status=TEXT, tracking_number=TEXT)),
        **dict.fromkeys(("test", "taxes_included", "buyer_accepts_marketing"), FLAG),
        "billing_address": _ADDRESS,
        "shipping_address": _ADDRESS,
        "customer": _object(
            id=INTEGER,
            orders_count=INTEGER,
            verified_email=FLAG,
            created_at=TIME,
            default_address=_ADDRESS,
            **dict.fromkeys(("email", "first_name", "last_name", "total_spent", "tags"), TEXT),
        ),
        "line_items": _list_of(
            _object(
                **dict.fromkeys(_LINE_TEXTS, TEXT),
                **dict.fromkeys(_LINE_NUMBERS, INTEGER),
                **dict.fromkeys(_LINE_FLAGS, FLAG),
                price_set=_MONEY,
                total_discount_set=_MONEY,
                properties=_list_of(_object(name=TEXT, value=TEXT)),
                tax_lines=_list_of(_TAX),
                discount_allocations=_list_of(_object(amount=TEXT, amount_set=_MONEY)),
            )
        ),
        "shipping_lines": _list_of(
            _object(id=INTEGER, title=TEXT, price=TEXT, price_set=_MONEY, code=TEXT)
        ),
        "tax_lines": _list_of(_TAX),
    },
    _order,
    profile("order_key", a="email", b="total_price", c="order_number", d="created_at", e="tags"),
    SPACED,
    {"time_extracted": "2026-03-10T12:00:00.000000Z"},
    row={
        "order_key": "{{ order_key }}",
        "email": "{{ email }}",
        "total_price": "{{ total_price }}",
        "order_number": "{{ order_number }}",
        "created_at": "{{ created_at }}",
        "customer": "{{ customer.id }}",
        "city": "{{ shipping_address.city }}",
    },
    aims=dict.fromkeys(AIMS, 15),
)
