"""The generator of robotmia's events: visitors, sessions, orders, late events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tests.sandbox.robotmia_events import ODDITIES, ON_DEMAND, Event, with_oddity

if TYPE_CHECKING:
    from datetime import date

VISITORS = 150

_PLACES = (
    ("Paris", "FR"),
    ("Lyon", "FR"),
    ("Zürich", "CH"),
    ("São Paulo", "BR"),
    ("San José", "US"),
    ("Seattle", "US"),
    ("大阪", "JP"),
)
_PRODUCTS = (
    ("SKU-1001", "Trail shoes", "Shoes", 89.9),
    ("SKU-1002", "Rain jacket", "Jackets", 149.0),
    ("SKU-1003", "Wool socks", "Socks", 12.5),
    ("SKU-1004", "Daypack 20 l", "Bags", 64.95),
    ("SKU-1005", "Café mug", "Kitchen", 9.99),
    ("SKU-1006", "Head torch", "Lights", 34.0),
)
_PLATFORMS = (
    ("web", "Mac OS X", "Chrome"),
    ("web", "Windows", "Firefox"),
    ("web", "Linux", "Chrome"),
    ("iphone", "iOS", None),
    ("android", "Android", None),
)
#: The steps of a session, and the probability of the next one.
_STEPS = (
    ("Page Viewed", 0.9),
    ("Product Viewed", 0.7),
    ("Product Viewed", 0.6),
    ("Added to Cart", 0.6),
    ("Checkout Started", 0.7),
    ("Purchase Completed", 0.0),
)
_LATEST_ARRIVAL = 5 * 86400


@dataclass(frozen=True)
class _Visitor:
    device: str
    account: str | None
    library: str
    system: str
    browser: str | None
    city: str
    country: str


@lru_cache(maxsize=8)
def _visitors(seed: int) -> tuple[_Visitor, ...]:
    random = Random(f"visitors {seed}")
    found = []
    for number in range(VISITORS):
        library, system, browser = random.choice(_PLATFORMS)
        city, country = random.choice(_PLACES)
        device = f"{random.getrandbits(64):016x}-{number:04d}"
        account = f"user-{1000 + number}" if random.random() < 0.6 else None
        found.append(_Visitor(device, account, library, system, browser, city, country))
    return tuple(found)


def raw_time(moment: float, zone: ZoneInfo) -> int:
    """Return the project's local time at a true UTC time, read as if it were UTC."""
    local = datetime.fromtimestamp(moment, zone)
    return int(local.replace(tzinfo=timezone.utc).timestamp())


@lru_cache(maxsize=512)
def shop_day(seed: int, zone_name: str, day: date, count: int, *, utc: bool) -> tuple[Event, ...]:
    """Return about `count` events of a project-local day, sorted by raw time.

    Args:
        seed: The seed; the same arguments give the same events.
        zone_name: The project's time zone.
        day: The project-local day.
        count: The number of events before the duplicates and the special ones.
        utc: Whether `time` is true UTC.
    """
    return tuple(_Day(seed, ZoneInfo(zone_name), day, utc=utc).events(count))


class _Day:
    def __init__(self, seed: int, zone: ZoneInfo, day: date, *, utc: bool) -> None:
        self._random = Random(f"{seed} {zone.key} {day}")
        self._visitors = _visitors(seed)
        self._zone = zone
        self._utc = utc
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        following = day + timedelta(days=1)
        self._start = midnight.timestamp()
        end = datetime(following.year, following.month, following.day, tzinfo=zone)
        self._end = end.timestamp()
        self._found: list[Event] = []

    def events(self, count: int) -> list[Event]:
        while len(self._found) < count:
            self._session()
        del self._found[count:]
        self._oddities()
        self._ambiguous_hour()
        self._duplicates()
        return sorted(self._found, key=lambda event: event.time)

    def _session(self) -> None:
        random = self._random
        visitor = random.choice(self._visitors)
        # Most visits are in the afternoon.
        moment = random.triangular(self._start, self._end, self._start + 0.65 * 86400)
        mobile = visitor.library != "web"
        delayed = mobile and random.random() < 0.25
        late = random.uniform(3600, _LATEST_ARRIVAL - 60) if delayed else 0.0
        product = random.choice(_PRODUCTS)
        for name, chance in _STEPS:
            if moment >= self._end:
                return
            self._add(self._event(visitor, name, moment, product, late=late), moment, late=late)
            if random.random() >= chance:
                return
            moment += random.uniform(2, 180)

    def _event(
        self,
        visitor: _Visitor,
        name: str,
        moment: float,
        product: tuple[str, str, str, float],
        *,
        late: float = 0.0,
    ) -> dict[str, Any]:
        arrival = int((moment + late + 2) * 1000)
        properties: dict[str, Any] = {
            "time": int(moment) if self._utc else raw_time(moment, self._zone),
            "distinct_id": visitor.account or visitor.device,
            "$insert_id": f"{self._random.getrandbits(64):016x}",
            "$device_id": visitor.device,
            "$os": visitor.system,
            "$city": visitor.city,
            "mp_country_code": visitor.country,
            "mp_lib": visitor.library,
            "mp_processing_time_ms": arrival,
            "$mp_api_timestamp_ms": arrival - 150,
            "Project ID": "3",
        }
        if visitor.account:
            properties["$user_id"] = visitor.account
        if visitor.browser:
            properties["$browser"] = visitor.browser
            properties["$current_url"] = f"https://shop.example/p/{product[0].lower()}?ref=mail"
        else:
            properties["$app_version_string"] = "4.2.0"
            properties["$wifi"] = late == 0
        properties.update(self._details(name, product))
        return {"event": name, "properties": properties}

    def _details(self, name: str, product: tuple[str, str, str, float]) -> dict[str, Any]:
        sku, title, category, price = product
        if name == "Page Viewed":
            return {"page": self._random.choice(["home", "sale", "search"]), "search": None}
        details: dict[str, Any] = {"sku": sku, "product": title, "category": category}
        if name == "Product Viewed":
            return {**details, "price": price}
        quantity = self._random.randint(1, 4)
        details |= {"price": price, "quantity": quantity}
        if name == "Purchase Completed":
            details |= {
                "order_id": f"o-{self._random.getrandbits(40)}",
                "revenue": round(price * quantity, 2),
                "currency": "EUR",
                "items": [{"sku": sku, "quantity": quantity, "price": price}],
                "first_order": self._random.random() < 0.3,
            }
        return details

    def _add(self, event: dict[str, Any], moment: float, *, late: float = 0.0) -> None:
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        self._found.append(self._known(event, line, moment, late=late))

    def _known(
        self,
        event: dict[str, Any],
        line: bytes,
        moment: float,
        *,
        late: float = 0.0,
    ) -> Event:
        return Event(
            line,
            event["properties"]["time"],
            event["event"],
            json.loads(line)["properties"],
            moment + late + 2,
            moment,
        )

    def _some_event(self, moment: float | None = None) -> tuple[dict[str, Any], float]:
        visitor = self._random.choice(self._visitors)
        if moment is None:
            moment = self._random.uniform(self._start, self._end - 1)
        product = self._random.choice(_PRODUCTS)
        return self._event(visitor, "Product Viewed", moment, product), moment

    def _oddities(self) -> None:
        for oddity in ODDITIES:
            if oddity in ON_DEMAND:
                continue
            event, moment = self._some_event()
            ascii_only = self._random.random() < 0.5
            line = with_oddity(event, oddity, ascii_only=ascii_only)
            self._found.append(self._known(event, line, moment))
        for name in ("$insert_id", "distinct_id"):
            event, moment = self._some_event()
            del event["properties"][name]
            self._add(event, moment)
        event, moment = self._some_event()
        # An import of old data has no arrival time.
        for name in ("mp_processing_time_ms", "$mp_api_timestamp_ms"):
            del event["properties"][name]
        self._add(event, moment)

    def _ambiguous_hour(self) -> None:
        """On the day when DST ends, add two events in each ambiguous quarter of an hour."""
        first = datetime.fromtimestamp(self._start, self._zone).utcoffset()
        last = datetime.fromtimestamp(self._end - 1, self._zone).utcoffset()
        if first is None or last is None or last >= first:
            return
        moment = self._start
        while datetime.fromtimestamp(moment, self._zone).utcoffset() == first:
            moment += 900
        gained = int((first - last).total_seconds())
        for step in range(0, gained, 900):
            for instant in (moment - gained + step, moment + step):
                event, _ = self._some_event(instant)
                self._add(event, instant)

    def _duplicates(self) -> None:
        for event in self._random.sample(self._found, k=max(1, len(self._found) // 100)):
            self._found.append(event)
        event = self._random.choice(self._found)
        # The same event with its keys in another order.
        parsed = {"properties": dict(reversed(event.properties.items())), "event": event.name}
        line = json.dumps(parsed, ensure_ascii=False).encode()
        self._found.append(
            Event(
                line,
                event.time,
                event.name,
                event.properties,
                event.arrives_at + 3600,
                event.true_time,
            ),
        )
