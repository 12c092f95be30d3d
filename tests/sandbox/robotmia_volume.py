"""Fast generation of export bodies of benchmark size."""

from __future__ import annotations

import zlib
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

_BLOCK = 2000

_LINE = (
    '{"event":"%s","properties":{"time":%d,"distinct_id":"%s","$browser":"Chrome",'
    '"$browser_version":129,"$city":"%s","$current_url":"https://shop.example/p/%d?ref=mail",'
    '"$device_id":"%s","$initial_referrer":"$direct","$insert_id":"%s",'
    '"$lib_version":"2.55.1","$mp_api_endpoint":"api.robotmia.com","$mp_api_timestamp_ms":%d,'
    '"$os":"Mac OS X","$region":"Île-de-France","$screen_height":1117,"$screen_width":1728,'
    '"$user_id":"%s","mp_country_code":"FR","mp_lib":"web","mp_processing_time_ms":%d,'
    '"Project ID":"3","sku":"SKU-%d","price":%d.%02d,'
    '"quantity":%d,"first_order":%s,"tags":["spring","outdoor",%d]}}\n'
)
_EVENTS = ("Page Viewed", "Product Viewed", "Added to Cart", "Checkout Started")
_CITIES = ("Paris", "Lyon", "Zürich", "São Paulo", "Seattle")


def big_day(day: date, lines: int, seed: int = 1) -> Iterator[bytes]:
    """Yield a day's export in blocks: events of 26 properties, some 760 bytes per line."""
    random = Random(f"{seed} {day} {lines}")
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
    for first in range(0, lines, _BLOCK):
        block = []
        for number in range(first, min(first + _BLOCK, lines)):
            bits = random.getrandbits(128)
            time = midnight + number * 86400 // lines
            arrival = (time + 28800) * 1000 + bits % 1000
            person = f"user-{bits % 50021}"
            line = _LINE % (
                _EVENTS[bits & 3],
                time,
                person,
                _CITIES[bits % 5],
                bits % 997,
                f"{bits >> 64:016x}-1c525636-1fa400-{bits >> 64:016x}",
                f"{bits:032x}",
                arrival - 150,
                person,
                arrival,
                bits % 997,
                bits % 300,
                bits % 100,
                1 + bits % 4,
                "true" if bits & 8 else "false",
                bits % 1000,
            )
            block.append(line)
        yield "".join(block).encode()


def compressed(blocks: Iterator[bytes]) -> bytes:
    """Return the blocks as one gzip stream."""
    stream = zlib.compressobj(1, wbits=31)
    return b"".join([*map(stream.compress, blocks), stream.flush()])
