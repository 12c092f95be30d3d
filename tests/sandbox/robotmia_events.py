"""One event as robotmia stores it, and special cases of properties in real events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

#: Special properties in real projects, as JSON text. All but those in `ON_DEMAND` occur in the
#: generated data every day.
ODDITIES = {
    "names that differ by case": '"City":"Lyon","city":"lyon","CITY":69000',
    "names that differ by a dollar": '"$city":"Paris","city":"paris"',
    "names of columns": '"event":"another","event_id":"mine","insert_id":7,"_extra":"kept"',
    "integers beyond doubles": '"order_number":9007199254740993,"loyalty":-9223372036854775809',
    "very large integers": '"ledger":123456789012345678901234567890',
    "many digits": '"rate":0.1000000000000000055,"weight":1.10,"parts":6.02214076e23',
    "nested": '"cart":{"lines":[{"sku":"A-1","n":2},{"sku":"B.2","n":1}],"coupon":null}',
    "nulls": '"coupon":null,"referrer":null',
    "booleans": '"newsletter":false,"vip":true',
    "lists": '"tags":["a",null,1,{"b":[]}],"empty":[],"none":{}',
    "line separators": '"note":"one\u2028two\u2029three\u0085four","path":"a\\u2028b\\n\\r"',
    "other scripts": '"名前":"東京 🏯","naïve":"Ça va, Zoë?","rtl":"مرحبا"',
    "mixed types": '"price":"19.90"',
    "odd names": '"":"empty","a b":1,"a.b":2,"a-b/c":3,"$":4,"1st":5',
    "escaped text": '"quote":"say \\"hi\\" \\\\ \\/ \\t","nul":"a\\u0000b"',
    "lone surrogate": '"half":"\\ud83d alone"',
    "many properties": ",".join(f'"p{number:03}":{number}' for number in range(240)),
    "long text": f'"long":"{"x" * 200_000}"',
}

#: Special cases only for tests that request them.
ON_DEMAND = {"lone surrogate", "many properties", "long text"}


#: Keys of rows of the same wire format elsewhere, beside `event` and `properties`.
EXTRA_KEYS: dict[str, Any] = {
    "labels": ["imported", "é"],
    "dataset": "$mixpanel",
    "sampling_factor": 1,
}


@dataclass(frozen=True)
class Event:
    """A line of an export with its metadata.

    Attributes:
        line: The line as exported, without its line end.
        time: The raw time by which it is sorted.
        name: The event's name; None if the line has none.
        properties: The parsed properties; empty if the line is not an event.
        arrives_at: Epoch seconds (true UTC) from which on exports contain it.
        true_time: Epoch seconds (true UTC) at which it happened, if known.
    """

    line: bytes
    time: float
    name: str | None = None
    properties: dict[str, Any] = field(default_factory=dict, hash=False)
    arrives_at: float = 0.0
    true_time: float | None = None


def event_from(
    given: Event | dict[str, Any] | str | bytes,
    *,
    time: float | None = None,
    arrives_at: float = 0.0,
) -> Event:
    """Return an event from a dictionary (`{"event", "properties"}`) or from its line.

    Raises:
        ValueError: The line has no time, and none is given.
    """
    if isinstance(given, Event):
        return given
    if isinstance(given, dict):
        line = json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass")
    else:
        line = given.encode() if isinstance(given, str) else given
    try:
        parsed = json.loads(line)
        properties = parsed["properties"]
        raw_time = properties["time"] if time is None else time
        name = parsed.get("event")
    except (KeyError, TypeError, ValueError) as error:
        if time is None:
            raise ValueError("A line without its own time needs `time`") from error
        return Event(line, time, arrives_at=arrives_at)
    return Event(line, raw_time, name, properties, arrives_at)


def with_keys(event: Event, keys: dict[str, Any]) -> Event:
    """Return an event with additional keys in its line."""
    if not event.line.endswith(b"}") or not keys:
        raise ValueError("Keys are added to a line that is an object, and there is at least one")
    added = json.dumps(keys, ensure_ascii=False, separators=(",", ":"))
    return replace(event, line=event.line[:-1] + b"," + added[1:].encode())


def with_oddity(event: dict[str, Any], oddity: str, *, ascii_only: bool = False) -> bytes:
    """Return the line of an event with one of `ODDITIES` in its properties."""
    text = json.dumps(event, ensure_ascii=ascii_only, separators=(",", ":"))
    if not text.endswith("}}") or not event["properties"]:
        raise ValueError("The properties must be last in an event, and not empty")
    return f"{text[:-2]},{ODDITIES[oddity]}}}}}".encode()
