"""The objects in the datamart of the sandbox's shop: users, profiles and activities."""

from __future__ import annotations

import functools
import hashlib
import random
import uuid
from typing import Any

_FIRST_NAMES = ("Ada", "Émile", "Chloé", "Jürgen", "Søren", "Inès", "Noah", "Zoë", "Łukasz", "Mia")
_LAST_NAMES = ("Moreau", "O'Neill", "Schäfer", "García", "Nguyễn", "Dubois", "Rossi", "van Dijk")
_CITIES = (("Paris", "FR"), ("Lyon", "FR"), ("Köln", "DE"), ("Porto", "PT"), ("Dublin", "IE"))
_INTERESTS = ("shoes", "outdoor", "kids", "home, garden", "sale", "running")
_PRODUCTS: tuple[tuple[str, str, str, float], ...] = (
    ("SKU-1001", "Alba", "shoes", 89.9),
    ("SKU-1002", "Alba", "shoes", 129.0),
    ("SKU-2001", "Nordwand", "outdoor", 249.5),
    ("SKU-3001", "Petit", "kids", 19.99),
    ("SKU-4001", "Casa", "home, garden", 45.0),
)
_DAY_MS = 86_400_000

#: Segments of the datamart: id and the common property of the members.
NEWSLETTER_SEGMENT = "18001"
BUYERS_SEGMENT = "18002"

Objects = dict[str, list[dict[str, Any]]]


@functools.cache
def shop_objects(seed: int, now: float, users: int = 120) -> Objects:
    """Return the objects of each type, generated from a seed.

    Args:
        seed: The same seed and time give the same shop.
        now: The latest time of any object, in epoch seconds.
        users: The number of user points; a third of them have never logged in.
    """
    chance = random.Random(seed)
    moment = int(now * 1000)
    points = [_user_point(chance, moment, number) for number in range(users)]
    return {
        "UserPoint": points,
        "UserActivity": [
            {**activity, "user_point_id": point["id"]}
            for point in points
            for activity in point["activities"]
        ],
        "UserProfile": [profile for point in points for profile in point["profiles"]],
        "UserEmail": [email for point in points for email in point["emails"]],
        "UserAccount": [account for point in points for account in point["accounts"]],
    }


def _user_point(chance: random.Random, now: int, number: int) -> dict[str, Any]:
    created = now - chance.randrange(2 * _DAY_MS, 700 * _DAY_MS)
    known = number % 3 != 0
    account_id = f"C{100_000 + number}"
    email = f"{account_id.lower()}@example.com"
    newsletter = known and chance.random() < 0.6
    activities = [
        _activity(chance, chance.randrange(created, now), buys=known)
        for _ in range(chance.randrange(1, 6))
    ]
    activities.sort(key=lambda activity: int(activity["ts"]))
    bought = any(event["basket"] for activity in activities for event in activity["events"])
    segments = [NEWSLETTER_SEGMENT] if newsletter else []
    segments += [BUYERS_SEGMENT] if bought else []
    return {
        "id": _uuid(chance),
        "creation_ts": created,
        "accounts": [
            {
                "id": f"{account_id}@1000",
                "creation_ts": created + 60_000,
                "compartment_id": "1000",
                "user_account_id": account_id,
            },
        ]
        if known
        else [],
        "emails": [
            {
                "id": hashlib.sha256(email.encode()).hexdigest(),
                "creation_ts": created + 60_000,
                "last_activity_ts": activities[-1]["ts"],
                "email": email,
            },
        ]
        if known
        else [],
        "profiles": [_profile(chance, created, account_id, newsletter=newsletter)] if known else [],
        "segments": [
            {"id": segment, "creation_ts": created + 120_000, "expiration_ts": None}
            for segment in segments
        ],
        "activities": activities,
    }


def _profile(
    chance: random.Random,
    created: int,
    account_id: str,
    *,
    newsletter: bool,
) -> dict[str, Any]:
    city, country = chance.choice(_CITIES)
    return {
        "id": f"profile-{account_id}",
        "creation_ts": created + 60_000,
        "last_modified_ts": created + chance.randrange(60_000, _DAY_MS),
        "compartment_id": "1000",
        "user_account_id": account_id,
        "first_name": chance.choice(_FIRST_NAMES),
        "last_name": chance.choice(_LAST_NAMES),
        "gender": chance.choice(("F", "M", "X", None)),
        "birth_date": f"{chance.randrange(1940, 2006)}-{chance.randrange(1, 13):02d}-15",
        "city": city,
        "country": country,
        "loyalty_points": chance.randrange(0, 5000),
        "lifetime_value": round(chance.uniform(0, 3000), 2),
        "churn_score": round(chance.random(), 6),
        "newsletter": newsletter,
        "interests": chance.sample(_INTERESTS, chance.randrange(0, 4)),
    }


def _activity(chance: random.Random, moment: int, *, buys: bool) -> dict[str, Any]:
    on_site = chance.random() < 0.7
    events = [_event(chance, moment, "$page_view")]
    if buys and chance.random() < 0.4:
        events.append(_event(chance, moment + 240_000, "$transaction_confirmed"))
    return {
        "id": _uuid(chance),
        "ts": moment,
        "creation_ts": moment + 5_000,
        "type": "SITE_VISIT" if on_site else "APP_VISIT",
        "source": "SESSION_AGGREGATOR",
        "channel_id": "2419" if on_site else "2420",
        "duration": chance.randrange(5, 1800),
        "events": events,
    }


def _event(chance: random.Random, moment: int, name: str) -> dict[str, Any]:
    basket = None
    if name == "$transaction_confirmed":
        products: list[dict[str, Any]] = [
            {
                "id": sku,
                "brand": brand,
                "category": category,
                "price": price,
                "quantity": chance.randrange(1, 4),
            }
            for sku, brand, category, price in chance.sample(_PRODUCTS, chance.randrange(1, 4))
        ]
        basket = {
            "order_id": f"O-{chance.randrange(10**6, 10**7)}",
            "amount": round(sum(item["price"] * item["quantity"] for item in products), 2),
            "currency": "EUR",
            "products": products,
        }
    return {
        "id": _uuid(chance),
        "ts": moment,
        "name": name,
        "url": f"https://shop.example/{chance.choice(_PRODUCTS)[2].replace(', ', '-')}",
        "basket": basket,
    }


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
