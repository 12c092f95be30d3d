from __future__ import annotations

import json
from typing import Any

import pytest

from singer_martech.errors import SettingError
from singer_martech.mapping.stream_mappings import StreamMappings, compiled

KEYS = ("message", "context_id")


def mappings(value: Any) -> StreamMappings:
    return StreamMappings(value, KEYS)


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        ("orders", "exact"),
        ("orders_2024", "long glob"),
        ("orders-x", "short glob"),
        ("shop.orders", "any"),
        ("Orders", "any"),
    ],
)
def test_the_most_specific_name_wins(stream: str, found: str) -> None:
    value = {
        "*": {"message": "any"},
        "orders*": {"message": "short glob"},
        "orders": {"message": "exact"},
        "orders_*": {"message": "long glob"},
    }
    for order in (value, dict(reversed(value.items()))):
        assert mappings(order).find(stream) == {"message": found}


def test_a_stream_without_a_match_has_no_mapping() -> None:
    assert mappings({"a*": {}}).find("b") is None
    assert mappings({"A": {}}).find("a") is None


def test_white_space_at_the_ends_of_one_line_texts_is_stripped() -> None:
    given = {"context_id": " id\n", "message": {"a": " b "}}
    expected = {"context_id": "id", "message": {"a": " b "}}
    for value in ({"a": given}, [{"stream": "a\n", **given}]):
        assert mappings(value).find("a") == expected


def test_an_object_an_array_and_json_text_are_equivalent() -> None:
    by_name = {"a.b": {"message": {"x": 1}}}
    listed = [{"stream": "a.b", "message": {"x": 1}}]
    for value in (by_name, listed, json.dumps(by_name), json.dumps(listed)):
        assert mappings(value).find("a.b") == {"message": {"x": 1}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"orders": {"mesage": {}}}, "'orders' has the unknown key 'mesage'; did you mean 'mess"),
        ([{"stream": "orders", "nope": 1}], "'orders' has the unknown key 'nope'; known are mess"),
        ({"public": {"orders": {"message": {}}}}, "'public.orders', whose dot Meltano turns"),
        ({"orders": 5}, "the mapping of 'orders' must be an object"),
        ([{"stream": "a"}, {"stream": "a"}], "stream 'a' is mapped twice"),
        ([{"message": {}}], r"setting 'streams\[0\]' must be an object with a key 'stream'"),
        (["orders"], r"streams\[0\]"),
        (5, "must be an object or an array"),
        ("{", "setting 'streams' is not valid JSON"),
    ],
)
def test_an_invalid_mapping_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        mappings(value)


def test_a_template_that_cannot_compile_is_named_with_stream_and_key() -> None:
    with pytest.raises(SettingError, match=r"stream 'orders', key 'message': a\.b: "):
        compiled({"a": {"b": "{{ x"}}, "orders", "message")


def test_keys_that_matched_no_stream_are_listed_with_the_closest_stream() -> None:
    mapped = mappings({"ordres": {}, "people": {}, "shop_*": {}, "shop_x": {}, "zzz": {}})
    assert mapped.unused_keys().keys() == {"ordres", "people", "shop_*", "shop_x", "zzz"}
    for stream in ("orders", "people", "shop_x", "orders"):
        mapped.find(stream)
    assert mapped.unused_keys() == {"ordres": "; did you mean 'orders'?", "zzz": ""}


def test_without_any_mapping_no_key_is_unused() -> None:
    mapped = mappings({})
    assert mapped.find("orders") is None
    assert not mapped
    assert mapped.misspelt_key("orders") is None
    assert mapped.unused_keys() == {}


@pytest.mark.parametrize(
    ("key", "stream"),
    [
        ("ordres", "orders"),
        ("custommers", "customers"),
        ("Orders", "orders"),
        ("order-items", "orderItems"),
        ("public-custmers", "public-customers"),
        ("event_prodct_viewed", "event_product_viewed"),
    ],
)
def test_a_key_with_a_typing_error_is_taken_for_a_misspelling(key: str, stream: str) -> None:
    assert mappings({key: {}}).misspelt_key(stream) == key


@pytest.mark.parametrize(
    ("key", "stream"),
    [
        ("event_a", "event_b"),
        ("orders_2024", "orders_2025"),
        ("shard_10001", "shard_10002"),
        ("orders", "order_items"),
        ("event_signed_up", "event_signed_in"),
        ("public-customers", "archive-customers"),
        ("customers_*", "customers"),
        ("people", "orders"),
    ],
)
def test_a_key_that_names_another_thing_is_no_misspelling(key: str, stream: str) -> None:
    assert mappings({key: {}}).misspelt_key(stream) is None


def test_a_key_that_matched_a_stream_is_no_misspelling_of_another() -> None:
    mapped = mappings({"order": {}})
    mapped.find("order")
    assert mapped.misspelt_key("orders") is None
