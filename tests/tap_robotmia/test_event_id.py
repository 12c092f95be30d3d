"""These values are the primary keys of all loaded data: they must never change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_robotmia.event_id import content_id, event_id, event_ids
from tests.kit.strategies import json_values


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("Viewed report", "foo", 1518314400, "abc"), "97dc0a3c6bc70e6648571e0bc417666e"),
        (("Viewed report", None, 1518314400, "abc"), "8c4203d3c5fda8001c461c76eb0c3556"),
        (("Zürich ☃ 😀", 'say "hi"\\', 1518314400.5, "a\nb"), "d6c6cbfdd3903b929ef866aaafb3043c"),
        (("Viewed report", "foo", 1518314400123, "\ud800"), "e5f2f78fcb2fceee23612b2a6b7274d3"),
    ],
)
def test_the_id_of_an_event_with_insert_id_is_frozen(
    parts: tuple[str, str | None, float, str], expected: str
) -> None:
    assert event_id(*parts) == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (b'{"time":1518314400,"$os":"Linux"}', "a3da56299aaef2b4d521a909fdd062ec"),
        (
            b'{"n":9007199254740993,"f":[0.1,1e16,1e22,5e-324,1.0,-0.0,1e-7,123456789.123]}',
            "2fe7497aa32aa000630ae28d336b165b",
        ),
        (
            b'{"big":123456789012345678901234567890,"huge":1e400,"long":0.10000000000000000001}',
            "ab9c5510d3e65150263c6b28d0d2dd56",
        ),
        (
            '{"text":"Zürich ☃ 😀\\u0000\\u001f\\u2028/","t":true,"z":null}'.encode(),
            "ea3c9e3e014766c9886bcd121d6b9e13",
        ),
        (b'{"half":"\\ud800","n":1.5}', "222677f2bd0e78527b2c5589a21783c7"),
    ],
)
def test_the_id_of_an_events_content_is_frozen(properties: bytes, expected: str) -> None:
    assert content_id("Viewed report", properties) == expected


def test_many_ids_at_once_equal_those_computed_alone() -> None:
    parts = [("a", "b\n", 1, "c"), ("Zürich", None, 2.5, 'say "hi"'), ("", "", -1, "")]
    assert event_ids(parts) == [event_id(*each) for each in parts]
    parts.append(("a", "b", 2**70, "c"))
    assert event_ids(parts) == [event_id(*each) for each in parts]


def test_each_part_of_the_vendors_key_changes_the_id() -> None:
    parts: list[tuple[str, str | None, int, str]]
    parts = [("a", "b", 1, "c"), ("x", "b", 1, "c"), ("a", "x", 1, "c"), ("a", "b", 2, "c")]
    parts += [("a", "b", 1, "x"), ("ab", "", 1, "c"), ("a", "bc", 1, ""), ("a", None, 1, "c")]
    assert len({event_id(*each) for each in parts}) == len(parts)


@given(properties=st.dictionaries(st.text(), json_values), data=st.data())
def test_key_order_and_json_formatting_do_not_change_the_id(
    properties: dict[str, object], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(list(properties)))
    shuffled = {name: properties[name] for name in names}
    spaced = json.dumps(shuffled, indent=1)
    compact = json.dumps(properties, separators=(",", ":"))
    assert content_id("e", spaced.encode()) == content_id("e", compact.encode())


def test_any_difference_in_content_changes_the_id() -> None:
    texts = [b'{"a":1}', b'{"a":2}', b'{"b":1}', b'{"a":"1"}', b'{"a":[1]}', b'{"a":null}', b"{}"]
    texts += [b'{"a":9007199254740992}', b'{"a":9007199254740993}', b'{"a":0.1}']
    texts += [b'{"a":0.10000000000000000001}']
    ids = {content_id("e", text) for text in texts} | {content_id("f", texts[0])}
    assert len(ids) == len(texts) + 1


def test_trailing_zeros_do_not_change_the_id() -> None:
    assert content_id("e", b'{"a":1.10}') == content_id("e", b'{"a":1.1}')
