"""Expressions of stream maps: limits, and the values of the SDK."""

from __future__ import annotations

import logging
import time
from decimal import Decimal
from typing import Any

import pytest
from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import CustomStreamMap, PluginMapper

from singer_martech.singer.stream_maps import StreamMapper

LONG = "a" * 100_000
NUMBERS = list(range(10_000))


def evaluated(expression: str, mapper: type[PluginMapper] = StreamMapper, **record: Any) -> Any:
    maps = mapper(
        plugin_config={"stream_maps": {"orders": {"result": expression}}},
        logger=logging.getLogger(__name__),
    )
    schema: dict[str, Any] = {"properties": {name: {} for name in record}}
    maps.register_raw_stream_schema("orders", schema, [])
    (stream_map,) = maps.stream_maps["orders"]
    assert isinstance(stream_map, CustomStreamMap)
    return (stream_map.transform(record) or {})["result"]


@pytest.mark.parametrize(
    ("expression", "v", "w"),
    [
        ("v * w", LONG, LONG),
        ("v * w", LONG, 10**9),
        ("v * w", [LONG], 1000),
        ("v ** w", 3_999_999, 3_999_999),
        ("v ** -w", 3_999_999, 3_999_999),
        ("v % w", "%999999999d", 5),
        ("v % w", "%(a)999999s" * 3000, {"a": 1}),
        ("v % w", "%(a)s" * 1000, {"a": LONG}),
        ("v.encode() % w", "%999999999d", 5),
        ("f'{v:{w}}'", 1, "999999999"),
        ("f'{v:{w}}'", "a", "{0.__class__}"),
        ("v.ljust(w)", "a", 3 * 10**9),
        ("str.ljust(v, w)", "a", 3 * 10**9),
        ("v.replace('a', v)", LONG, None),
        ("v.join(w)", LONG, LONG),
        ("v.join(x for x in w)", LONG, NUMBERS),
        ("v.expandtabs(w)", "\t" * 1000, 10_000),
        ("v.to_bytes(w, 'big')", 1, 3 * 10**9),
        ("int(v, 16) // int(v, 16)", "f" * 10**6, None),
        ("int.from_bytes(v.encode(), 'big')", LONG, None),
        ("[v * 10 for x in w]", LONG, NUMBERS),
        ("[v + v for x in w]", LONG, NUMBERS),
        ("[v for x in w]", LONG, NUMBERS),
        ("{x: v for x in w}", LONG, NUMBERS),
        ("dict.fromkeys(w, v)", LONG, NUMBERS),
        ("[[*w] for x in w]", None, NUMBERS),
        ("[w[1:] for x in w]", None, NUMBERS),
        ("[x for x in w if x in v]", [-1] * 1_000_000, NUMBERS),
        ("[v.count(x) for x in w]", [-1] * 1_000_000, NUMBERS),
        ("json.dumps(w, indent=v)", 10**6, NUMBERS),
        ("json.dumps(w, separators=(v, v))", LONG, NUMBERS),
        ("datetime.date(2024, 1, 1).strftime(v)", "%c" * 100_000, None),
        ("datetime.datetime.fromtimestamp(v)", 10**17, None),
        ("f'{datetime.date(2024, 1, 1):{v}}'", "%999999d" * 1000, None),
        ("v.rpartition(w)[0]", "a" * 600_000, f"b{'a' * 300_000}"),
        ("str.rindex(v, w)", "a" * 600_000, f"b{'a' * 300_000}"),
        ("v.lstrip(w)", "b" * 1_000_000, f"{'a' * 1_000_000}b"),
        ("v.encode(encoding=w)", "\u4e00\u4e01" * 20_000, "punycode"),
        ("v.translate(w)", "\1" * 100_000, ["", LONG]),
        ("v.translate({97: w})", LONG, LONG),
        ("v ** w", Decimal("1." + "3" * 20_000), Decimal("1." + "3" * 20_000)),
        ("10**20000 in w", None, [Decimal("1.5")] * 100_000),
        ("w.index(10**20000)", None, [Decimal("1.5")] * 100_000),
        ("(w + [10**20000]).sort()", None, [Decimal("1.5")] * 100_000),
        ("w.sort(key=v.find)", "a" * 1_000_000, [f"b{n}" for n in NUMBERS]),
        ("json.loads(w, parse_int=v.count)", [-1] * 1_000_000, str(NUMBERS)),
        ("json.JSONDecoder(parse_int=v.count).decode(w)", [-1] * 1_000_000, str(NUMBERS)),
        ("json.JSONEncoder(indent=v).encode(w)", LONG, NUMBERS),
    ],
)
def test_no_record_makes_an_expression_use_all_memory_or_time(
    expression: str, v: Any, w: Any
) -> None:
    started = time.process_time()
    with pytest.raises((MapExpressionError, TypeError, ValueError)):
        evaluated(expression, v=v, w=w)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    "expression",
    [
        "n * 3",
        "n ** 2",
        "2 ** -n",
        "n / 2",
        "n // 2",
        "n % 2",
        "text * 2",
        "text + '!'",
        "'%s is %s' % (text, nothing)",
        "'%(text)5s' % record",
        "f'{text:>5}|{price:.1f}|{nothing}'",
        "text.upper().center(9, '*')",
        "str.title(text)",
        "', '.join(names)",
        "text.replace('a', 'b')",
        "names[1:]",
        "'a' in names and n not in names",
        "[each.upper() for each in names if each != 'b']",
        "{each: n for each in names}",
        "record.get('names')",
        "_['n']",
        "int(price)",
        "md5(text)",
        "json.dumps(names, indent=2, separators=(',', ': '))",
        "json.loads('[1]')[0]",
        "datetime.datetime.strptime('2024-01-02', '%Y-%m-%d').strftime('%d.%m.')",
        "datetime.date(2024, 1, 2).replace(day=n)",
        "text if n > 2 else None",
        "text.translate(str.maketrans('', '', 'an'))",
        "text.translate({97: None, 98: 'BB', 110: 0x4e2d})",
        "text.translate(str.maketrans(text[:2], 'ab'))",
        "text.encode().translate(None, b'n').decode('utf-8')",
        "'%(Amount (EUR))s %(text)s' % {'Amount (EUR)': 5, 'text': text}",
        "'%(a(b)(c))s%%' % {'a(b)(c)': price}",
        "text.rpartition('n')[0].strip('ab').encode('latin-1')",
        "10**400 in [price, n]",
        "names.sort(key=str.lower) or names.sort(key={'a': 2, 'b': 1}.get) or names",
        "json.loads('[1.50]', parse_float=str)",
    ],
)
def test_an_expression_has_the_value_that_the_sdk_computes(expression: str) -> None:
    record = {"n": 3, "text": "banana", "price": Decimal("12.75"), "nothing": None}
    values = [
        evaluated(expression, mapper, **record, names=["a", "b"])
        for mapper in (StreamMapper, PluginMapper)
    ]
    assert values[0] == values[1]
    assert type(values[0]) is type(values[1])


@pytest.mark.parametrize(
    "expression", ["nothing(1)", "text.nothing()", "(lambda: 1)()", "text.format()"]
)
def test_an_unknown_function_is_an_error_of_the_expression(expression: str) -> None:
    with pytest.raises(MapExpressionError):
        evaluated(expression, text="a")


def test_long_texts_can_be_added() -> None:
    assert evaluated("text + text", text=LONG) == LONG * 2
