from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.http.errors import HttpError
from tests.target_monetate.conftest import (
    KEY,
    NUMBER,
    TEXT,
    record_message,
    schema_message,
    state_message,
)

if TYPE_CHECKING:
    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

VISITS = {"visit_id": KEY, "customer_id": KEY, "store": TEXT}


def test_a_missing_dataset_stops_the_run_before_anything_is_sent(
    load: Loader, monetate: Monetate
) -> None:
    monetate.page_size = 2
    good = schema_message("orders", {"order_id": KEY, "customer_id": KEY}, ["order_id"])
    with pytest.raises(MartechError) as caught:
        load(
            good,
            record_message("orders", order_id="1", customer_id="a"),
            state_message(1),
            schema_message("purchase_event", {"customer_id": KEY}),
        )
    line = str(caught.value)
    assert line.startswith("stream 'purchase_event': Monetate has no dataset 'purchase_event'")
    assert "did you mean 'purchase_events'" in line
    for name in ("customer_attributes", "orders", "store_visits", "privacy_requests"):
        assert f"'{name}'" in line
    assert [request.query for request in monetate.requests_to("/schema/$")] == [
        {},
        {"page": "2"},
        {"page": "3"},
    ]


def test_nothing_is_sent_for_a_stream_without_dataset(load: Loader, monetate: Monetate) -> None:
    with pytest.raises(MartechError):
        load(schema_message("nope", {"id": KEY}), record_message("nope", id="1"))
    assert not monetate.posts


@pytest.mark.parametrize(
    "following",
    ["https://elsewhere.example/schema/?page=2", "?page=1", "", None, 7],
)
def test_the_list_of_datasets_is_read_from_the_configured_url_only(
    load: Loader, monetate: Monetate, sandbox: Sandbox, following: Any
) -> None:
    body = {"meta": {"code": 200, "next": following}, "data": [{"name": "one"}]}
    sandbox.faults.add("monetate", "*/schema/", status=200, body=body, times=None)
    with pytest.raises(MartechError, match="there are: 'one';"):
        load(schema_message("nope", {"id": KEY}))
    assert len(monetate.requests_to("/schema/$")) <= 3


def test_a_dataset_without_unique_key_is_an_error(load: Loader, monetate: Monetate) -> None:
    with pytest.raises(MartechError, match=r"'purchase_events' has no unique key.*allow_append"):
        load.rows({"customer_id": "a"}, stream="purchase_events")
    assert not monetate.posts


@pytest.mark.parametrize("allowed", [True, "true"])
def test_a_dataset_without_unique_key_is_fed_when_the_mapping_allows_it(
    load: Loader, monetate: Monetate, allowed: Any
) -> None:
    rows = [{"customer_id": "a", "price": 1}, {"customer_id": "a", "price": 2}]
    mapping = {"purchase_events": {"allow_append": allowed}}
    load.rows(*rows, stream="purchase_events", streams=mapping)
    assert [row["price"] for row in monetate.rows("purchase_events")] == [1, 2]
    assert load.summaries()["purchase_events"]["delivered"] == 2


def test_a_privacy_dataset_is_always_an_error(load: Loader, monetate: Monetate) -> None:
    for mapping in ({}, {"privacy_requests": {"allow_append": True}}):
        with pytest.raises(MartechError, match=r"customer_data_privacy.*erase"):
            load.rows({"customer_id": "a"}, stream="privacy_requests", streams=mapping)
    assert not monetate.posts
    assert not monetate.erasures


def test_other_key_properties_than_the_unique_key_are_warned_about(load: Loader) -> None:
    schema = schema_message("store_visits", VISITS, ["customer_id"])
    load(schema, record_message("store_visits", visit_id="1", customer_id="a", store="x"))
    assert any(
        "its key is 'customer_id'" in line and "the unique key 'visit_id'" in line
        for line in load.lines("WARNING")
    )


def test_no_key_is_warned_about_where_the_mapping_makes_it_of_the_key_properties(
    load: Loader, monetate: Monetate
) -> None:
    schema = schema_message("visits", {"shop": KEY, "day": KEY, "person": KEY}, ["shop", "day"])
    row = {
        "visit_id": "{{ shop }}/{{ record.day }}",
        "customer_id": "{{ person }}",
        "store": "{{ shop }}",
    }
    streams = {"visits": {"schema": "store_visits", "row": row}}
    load(schema, record_message("visits", shop="s", day="d", person="p"), streams=streams)
    assert monetate.rows("store_visits") == [{"visit_id": "s/d", "customer_id": "p", "store": "s"}]
    assert not any("its key is" in line for line in load.lines("WARNING"))


def test_fields_left_out_are_warned_about_once(load: Loader, monetate: Monetate) -> None:
    monetate.add_dataset(
        "people",
        {
            "id": {"data_type": "STRING", "identifier": True, "unique_key": True},
            **dict.fromkeys(["name", "phone"], "STRING"),
            "visits": "NUMBER",
        },
    )
    schema = schema_message("people", {"id": KEY, "name": TEXT, "visits": NUMBER}, ["id"])
    records = [record_message("people", id=str(number), name="x") for number in range(5)]
    others = [record_message("people", id="b", visits=1), record_message("people", id="c")]
    load(schema, record_message("people", id="a", name="x", visits=None), *records, *others)
    said = [line for line in load.lines("WARNING") if "become null" in line]
    assert len(said) == 2
    assert "its rows do not have 'phone'" in said[0]
    assert "a row does not have 'visits'" in said[1]


def test_a_dataset_without_identifier_name_is_warned_about(
    load: Loader, monetate: Monetate
) -> None:
    for shown_as_null in (True, False):
        monetate.null_identifier = shown_as_null
        load.log.clear()
        row = {"visit_id": "1", "customer_id": "a", "store": "x"}
        load.rows(row, stream="store_visits")
        said = [line for line in load.lines("WARNING") if "no Identifier Name" in line]
        assert len(said) == 1
    assert len(monetate.rows("store_visits")) == 1


def test_warnings_are_not_repeated_when_a_schema_comes_again(load: Loader) -> None:
    row = record_message("store_visits", visit_id="1", customer_id="a", store="x")
    wider = {**VISITS, "more": TEXT}
    load(schema_message("store_visits", VISITS), row, schema_message("store_visits", wider), row)
    assert len([line for line in load.lines("WARNING") if "Identifier Name" in line]) == 1


def test_several_streams_may_feed_one_dataset(load: Loader, monetate: Monetate) -> None:
    streams = {"crm_*": {"schema": "orders"}}
    load(
        schema_message("crm_a", {"order_id": KEY, "customer_id": KEY}, ["order_id"]),
        schema_message("crm_b", {"order_id": KEY, "customer_id": KEY}, ["order_id"]),
        record_message("crm_a", order_id="1", customer_id="a"),
        record_message("crm_b", order_id="1", customer_id="b"),
        streams=streams,
    )
    assert [row["customer_id"] for row in monetate.rows("orders")] == ["b"]
    assert len(monetate.posts) == 1
    summaries = load.summaries()
    assert summaries["crm_a"]["superseded"] == 1
    assert summaries["crm_b"]["delivered"] == 1


def test_the_name_of_a_dataset_may_hold_the_streams(load: Loader, monetate: Monetate) -> None:
    row = {"order_id": "1", "customer_id": "a"}
    load.rows(row, stream="ord", streams={"*": {"schema": "{{ stream }}ers"}})
    assert len(monetate.rows("orders")) == 1


def test_numbers_of_money_stay_exact(load: Loader, monetate: Monetate) -> None:
    load(
        schema_message("orders", {"order_id": KEY, "customer_id": KEY, "amount": NUMBER}),
        '{"type": "RECORD", "stream": "orders", "record": {"order_id": "1", "customer_id": "a",'
        ' "amount": 12345678901234567890.10}}',
    )
    assert '"amount":12345678901234567890.10' in monetate.raw_rows("orders")[0].replace(" ", "")


@pytest.mark.parametrize("data", [[], {"fields": []}, {"fields": {"id": "STRING"}}, None])
def test_a_response_that_describes_no_dataset_is_named(
    load: Loader, sandbox: Sandbox, data: Any
) -> None:
    sandbox.faults.add("monetate", "/schema/orders/", status=200, body={"meta": {}, "data": data})
    with pytest.raises(
        HttpError, match=r"dataset 'orders': .*(cannot be used|.* is not Monetate's)"
    ):
        load(schema_message("orders", {"order_id": KEY}))


def test_a_value_of_an_undocumented_type_is_sent_as_given_with_a_warning(
    load: Loader, monetate: Monetate, sandbox: Sandbox
) -> None:
    fields = {
        "order_id": {"data_type": "STRING", "identifier": True, "unique_key": True},
        "amount": {"data_type": "MONEY"},
    }
    body = {"meta": {}, "data": {"type": "purchase", "fields": fields}}
    sandbox.faults.add("monetate", "/schema/orders/", status=200, body=body)
    with pytest.raises(MartechError):  # the sandbox's dataset requires more
        load(
            schema_message("orders", {"order_id": KEY, "amount": NUMBER}),
            record_message("orders", order_id="1", amount=3),
        )
    assert monetate.posts[0].json == {"schema_rows": [{"order_id": "1", "amount": 3}]}
    (warning,) = [line for line in load.lines("WARNING") if "MONEY" in line]
    assert warning.endswith("of the field 'amount' is not documented; its values are sent as given")


@pytest.mark.parametrize("setting", ["leave_out", "send"])
def test_a_field_that_the_dataset_does_not_have_is_left_out_or_sent_with_one_warning(
    load: Loader, monetate: Monetate, setting: str
) -> None:
    monetate.refuse_unknown_fields = setting == "leave_out"
    rows = [{"order_id": str(number), "customer_id": "a", "colour": "red"} for number in range(3)]
    load.rows(*rows, stream="orders", unknown_fields=setting)
    expected = ["red"] * 3 if setting == "send" else [None] * 3
    sent = [json.loads(text) for text in monetate.raw_rows("orders")]
    assert [row.get("colour") for row in sent] == expected
    (warning,) = [line for line in load.lines("WARNING") if "'colour'" in line]
    assert f"'unknown_fields' is {setting}" in warning


def test_a_row_field_that_the_dataset_does_not_have_is_warned_about_with_a_suggestion(
    load: Loader,
) -> None:
    streams = {"orders": {"row": {"order_id": "{{ id }}", "custmer_id": "{{ who }}"}}}
    load(schema_message("orders", {"id": KEY, "who": KEY}), streams=streams)
    assert [line for line in load.lines("WARNING") if "did you mean 'customer_id'?" in line]


def test_compact_offsets_and_dates_are_sent_with_colons(load: Loader, monetate: Monetate) -> None:
    monetate.refuse_compact_offsets = True
    times = ["2024-01-02T03:04:05+0200", "20240102T030405+02", "2024-W01-2T03:04:05+02:00"]
    rows = [
        {"order_id": str(number), "customer_id": "a", "ordered_at": time}
        for number, time in enumerate(times)
    ]
    load.rows(*rows, stream="orders")
    sent = {row["ordered_at"] for row in monetate.rows("orders")}
    assert sent == {"2024-01-02T03:04:05+02:00"}


def test_a_number_with_a_huge_exponent_rejects_its_record_alone(
    load: Loader, monetate: Monetate
) -> None:
    rows = [
        {"order_id": str(number), "customer_id": "a", "amount": amount}
        for number, amount in enumerate(["1e9999999999999999999", "12.50", "1e1000000"])
    ]
    load.rows(*rows, stream="orders", max_rejected_records=2)
    assert [row["amount"] for row in monetate.rows("orders")] == [12.5]
    reason = "field 'amount' (NUMBER): the text is not a number: an integer or a decimal number"
    assert [each["reason"].startswith(reason) for each in load.rejects()] == [True, True]
