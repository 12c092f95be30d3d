"""The mapping of records to Mona messages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from target_mona.rules import RULES
from tests.kit.singer import record, records, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mona import Mona
    from tests.target_mona.conftest import Target


def test_an_unmapped_stream_is_loaded_with_the_defaults(target: Target, mona: Mona) -> None:
    run = target(schema("orders", ["id"]), record("orders", id=5, note=None, tags=["a"]))
    assert run.status == 0
    (message,) = mona.messages()
    del message["request"]
    assert message == {
        "arc_class": "orders",
        "context_id": "5",
        "given": 1,
        "action": "OVERWRITE",
        "export_timestamp": None,
        "message": {"id": 5, "note": None, "tags": ["a"]},
    }


def test_an_action_is_sent_only_when_it_is_mapped(target: Target, mona: Mona) -> None:
    mapping = {"a": {}, "b": {"action": "NEW"}, "c": {"action": "{{ how }}"}}
    target(
        *(line for stream in "abc" for line in (schema(stream), record(stream, id=1, how="ADD"))),
        record("c", id=2),
        streams=mapping,
    )
    sent = [message for export in mona.exports for message in export.json["messages"]]
    assert sorted((each["arcClass"], each.get("action")) for each in sent if "action" in each) == [
        ("b", "NEW"),
        ("c", "ADD"),
    ]


def test_a_mapping_makes_arc_class_context_timestamp_and_message(
    target: Target, mona: Mona
) -> None:
    mapping = {
        "arc_class": "shop.{{ kind }}",
        "context_id": "{{ stream }}-{{ id }}",
        "export_timestamp": "at",
        "message": {"price": "{{ price }}", "gone": "{{ nothing }}", "fixed": [1, None]},
    }
    run = target(
        schema("orders"),
        record("orders", id=5, kind="sale", at="2024-05-01T10:00:00Z", price=1.5),
        streams={"ord*": mapping},
    )
    assert run.status == 0
    (message,) = mona.messages()
    assert message["arc_class"] == "shop.sale"
    assert message["context_id"] == "orders-5"
    assert message["export_timestamp"] == '"2024-05-01T10:00:00Z"'
    assert message["message"] == {"price": 1.5, "fixed": [1, None]}


def test_a_context_id_may_be_a_field_or_a_list_of_fields(target: Target, mona: Mona) -> None:
    mapping = {"a": {"context_id": "b.c"}, "b": {"context_id": ["x", "y"]}, "c": {}}
    target(
        schema("a"),
        record("a", id=1, **{"b.c": "field"}),
        schema("b"),
        record("b", id=1, x="1|2", y=None),
        schema("c", ["id", "y"]),
        record("c", id=1, y="z"),
        schema("d", []),
        record("d", id=1),
        streams=mapping,
    )
    ids = {each["arc_class"]: each["context_id"] for each in mona.messages() if each["given"]}
    assert ids == {"a": "field", "b": "1%7C2|%00", "c": "1|z"}
    assert [each["arc_class"] for each in mona.messages() if not each["given"]] == ["d"]


def test_a_context_id_with_more_dots_than_the_arc_class_is_escaped(
    target: Target, mona: Mona
) -> None:
    run = target(
        schema(),
        *(record(id=text) for text in ("a.b", "a%2Eb", "a_b")),
        schema("sub.orders"),
        record("sub.orders", id="a.b"),
    )
    assert run.status == 0
    assert [(each["arc_class"], each["context_id"]) for each in mona.messages()] == [
        ("orders", "a%2Eb"),
        ("orders", "a%252Eb"),
        ("orders", "a_b"),
        ("sub.orders", "a.b"),
    ]


@pytest.mark.parametrize(
    ("stream", "arc_class"),
    [("public-orders.lines", "public-orders.lines"), ("my orders/é", "my_orders__"), ("..", "_")],
)
def test_the_name_of_a_stream_becomes_an_arc_class_that_is_allowed(
    target: Target, mona: Mona, stream: str, arc_class: str
) -> None:
    assert target(schema(stream), record(stream, id=1)).status == 0
    assert mona.messages()[0]["arc_class"] == arc_class


def test_the_time_of_export_is_sent_as_given(target: Target, mona: Mona) -> None:
    forms: list[Any] = [
        1714557600.0,
        1714557600,
        1714557600.5,
        1714557600123,
        "1714557600",
        "1714557600123",
        "2024-05-01T10:00:00Z",
        "2024-05-01T12:00:00.5+02:00",
        "2024-05-01 10:00:00",
        "2024-05-01",
        "1999-12-31T23:59:59Z",
        None,
    ]
    lines = [record(id=number, at=form) for number, form in enumerate(forms)]
    run = target(
        schema(),
        *lines,
        record(id=99),
        streams={"orders": {"export_timestamp": "{{ at }}"}},
        parallel_requests=1,
    )
    assert run.status == 0
    sent = [each["export_timestamp"] for each in mona.messages()]
    assert [None if text is None else json.loads(text) for text in sent] == [*forms, None]
    assert "does not document" not in run.log


@pytest.mark.parametrize("form", ["20240501T100000Z", "2024-W18-3", "2024-122", "1714557600.25"])
def test_an_unusual_time_of_export_is_sent_as_given_with_one_warning(
    target: Target, mona: Mona, form: str
) -> None:
    mapping = {"orders": {"export_timestamp": "at"}}
    target(schema(), *records(3, at=form), streams=mapping, max_rejected_records=3)
    sent = [item["exportTimestamp"] for item in mona.exports[0].json["messages"]]
    assert sent == [form] * 3


def test_an_unusual_time_of_export_is_warned_about_once_a_stream(target: Target) -> None:
    mapping = {"orders": {"export_timestamp": "at"}}
    run = target(schema(), *records(3, at="20240501T100000Z"), streams=mapping)
    assert run.log.count("does not document export timestamps such as '20240501T100000Z'") == 1


def test_a_record_without_a_value_for_its_context_id_is_sent_without_one(
    target: Target, mona: Mona
) -> None:
    run = target(schema(), record(id=None), record(id=""), record(id=3))
    assert run.status == 0
    assert [each["given"] for each in mona.messages()] == [0, 0, 1]
    assert run.log.count("a record has no value in id, so it is sent without context id") == 1


def test_a_key_that_became_a_float_gives_the_context_id_of_the_integer(
    target: Target, mona: Mona
) -> None:
    line = '{"type":"RECORD","stream":"orders","record":{"id":208045946.0}}'
    target(schema(), line)
    assert mona.messages()[0]["context_id"] == "208045946"
    assert b'"message":{"id":208045946.0}' in (mona.exports[0].body or b"")


@pytest.mark.parametrize(("first", "second"), [("web orders", "web_orders"), ("日本", "中国")])
def test_two_streams_with_one_arc_class_by_replaced_characters_are_an_error(
    target: Target, mona: Mona, first: str, second: str
) -> None:
    lines = [schema(first), schema(second), record(second, id=1)]
    run = target(*lines)
    assert run.status == 1
    assert f"the streams '{first}' and '{second}' would both have the arc class" in run.reason
    assert "set the key 'arc_class'" in run.reason
    assert mona.messages() == []
    assert target(*lines, streams={"*": {"arc_class": "both"}}).status == 0
    assert target(*lines, streams={first: {"arc_class": "other"}}).status == 0


def test_every_rule_names_its_page() -> None:
    assert len(RULES) == 5
    for rule in RULES:
        assert rule.requirement
        assert rule.source


def test_reserved_names_are_renamed_as_the_vendors_client_does(target: Target, mona: Mona) -> None:
    run = target(
        schema(),
        '{"type":"RECORD","stream":"orders","record":{"id":1,"\\u004dONA_x":2,"in":{"MONA_y":3}}}',
    )
    assert mona.messages()[0]["message"] == {"id": 1, "MY_MONA_x": 2, "in": {"MONA_y": 3}}
    assert "names that start with MONA_ are reserved" in run.log


@pytest.mark.parametrize(
    ("mapping", "fields", "reason"),
    [
        ({"message": {"x": "{{ no }}"}}, {}, "its message would be empty"),
        ({"message": "{{ no }}"}, {}, "its message would be empty"),
        ({"message": "{{ id }}"}, {}, "its message would be empty"),
        ({"arc_class": "{{ kind }}"}, {"kind": "a b"}, "its arcClass would be 'a b'"),
        ({"arc_class": "{{ kind }}"}, {"kind": "a."}, "its arcClass would be 'a.'"),
        ({"arc_class": "{{ kind }}"}, {}, "its arcClass would be ''"),
        ({"action": "{{ kind }}"}, {"kind": "DELETE"}, "its action would be 'DELETE'"),
        ({"export_timestamp": "kind"}, {"kind": "soon"}, "its exportTimestamp is not a point"),
        ({"export_timestamp": "kind"}, {"kind": "20240501"}, "its exportTimestamp is not a point"),
        ({"export_timestamp": "kind"}, {"kind": 171455760}, "its exportTimestamp is not a point"),
        ({"export_timestamp": "kind"}, {"kind": 1714557600123456}, "its exportTimestamp is not a"),
        (
            {"export_timestamp": "kind"},
            {"kind": "2024-13-45"},
            "its exportTimestamp is not a point",
        ),
        ({"export_timestamp": "kind"}, {"kind": -1714557600}, "its exportTimestamp is not a point"),
        ({"export_timestamp": "kind"}, {"kind": True}, "its exportTimestamp is not a point"),
        ({"message": {"x": "{{ id + 'a' }}"}}, {}, "x: TypeError"),
        ({}, {"MONA_a": 1, "MY_MONA_a": 2}, "it has both MONA_a"),
    ],
)
def test_a_record_that_cannot_be_mapped_is_rejected_with_its_reason(
    target: Target, mona: Mona, mapping: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    run = target(
        schema(), record(id=1, **fields), streams={"orders": mapping}, max_rejected_records=1
    )
    assert run.status == 0
    assert mona.exports == []
    (reject,) = run.rejects
    assert reject["reason"].startswith(reason)
    assert reject["record"] == {"id": 1, **fields}
    assert reject["status"] is None


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"mesage": {}}, "the mapping of 'orders' has the unknown key 'mesage'; did you mean"),
        ({"message": {"a": "{{ x"}}, "stream 'orders', key 'message': a: "),
        ({"message": "text"}, "stream 'orders', key 'message': must be an object, or a templ"),
        ({"message": []}, "stream 'orders', key 'message': must be an object, or a template"),
        ({"context_id": "{{ x | nope }}"}, "stream 'orders', key 'context_id': No filter named"),
        ({"context_id": []}, "stream 'orders', key 'context_id': must be a list of fields"),
        ({"context_id": ["{{ id }}", "x"]}, "stream 'orders', key 'context_id': must be a list"),
        ({"arc_class": "a b"}, "stream 'orders', key 'arc_class': may hold letters"),
        ({"arc_class": "a."}, "stream 'orders', key 'arc_class': may hold letters"),
        ({"arc_class": 5}, "stream 'orders', key 'arc_class': must be text"),
        ({"action": "DELETE"}, "stream 'orders', key 'action': must be one of OVERWRITE, ADD, NEW"),
        ({"export_timestamp": "{{ x y }}"}, "stream 'orders', key 'export_timestamp': "),
    ],
)
def test_a_wrong_mapping_fails_at_the_start_and_names_stream_and_key(
    target: Target, mona: Mona, mapping: dict[str, Any], reason: str
) -> None:
    run = target(schema(), record(id=1), streams={"orders": mapping})
    assert run.status == 1
    assert run.reason.startswith("setting 'streams': ")
    assert reason in run.reason
    assert "Traceback" not in run.log
    assert mona.requests == []


def test_numbers_arrive_to_the_digit(target: Target, mona: Mona) -> None:
    numbers = b'{"id":1,"a":1.10,"b":123456789012345678901234567890,"c":1e400,"d":0.1,"e":-0.0}'
    line = b'{"type":"RECORD","stream":"orders","record":%s}' % numbers
    mapping = {"message": {name: f"{{{{ {name} }}}}" for name in "abcde"}}
    target(
        schema(),
        line,
        schema("mapped"),
        line.replace(b'"orders"', b'"mapped"'),
        streams={"mapped": mapping},
    )
    bodies = b"".join(export.body or b"" for export in mona.exports)
    assert b'"message":%s' % numbers in bodies
    assert b'{"a":1.10,"b":123456789012345678901234567890,"c":1E+400,"d":0.1,"e":-0.0}' in bodies


def test_half_a_surrogate_pair_arrives_unchanged(target: Target, mona: Mona) -> None:
    line = '{"type":"RECORD","stream":"orders","record":{"id":1,"a":"\\ud800"}}'
    run = target(
        schema(), line, streams={"orders": {"message": {"x": "{{ a }}", "y": "{{ a ~ 1 }}"}}}
    )
    assert run.status == 0
    assert mona.messages()[0]["message"] == {"x": "\ud800", "y": "\ud8001"}


def test_fields_of_any_name_can_be_mapped(target: Target, mona: Mona) -> None:
    fields = {"items": 1, "range": "2", "record": [3], "stream": None, "self": True, "a b": 5}
    mapping = {
        "message": {
            "items": "{{ items }}",
            "range": "{{ range }}",
            "record": "{{ record.record }}",
            "stream": "{{ record.stream }}",
            "self": "{{ self }}",
            "space": "{{ record['a b'] }}",
            "name": "{{ stream }}",
        }
    }
    target(schema(), record(id=1, **fields), streams={"orders": mapping})
    assert mona.messages()[0]["message"] == {
        "items": 1,
        "range": "2",
        "record": [3],
        "stream": None,
        "self": True,
        "space": 5,
        "name": "orders",
    }


def test_a_hundred_records_become_a_hundred_messages(
    target: Target, messages: Callable[[], list[dict[str, Any]]]
) -> None:
    run = target(schema(), *records(100), max_request_rows=7)
    assert run.status == 0
    assert sorted(each["id"] for each in messages()) == list(range(1, 101))
    assert json.loads(json.dumps(run.summary()))["requests"] == 15


def test_the_example_of_the_documentation_works(target: Target, mona: Mona) -> None:
    page = (Path(__file__).parents[2] / "docs" / "target-mona.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (plugin,) = yaml.safe_load(blocks[0])["plugins"]["loaders"]
    order = {
        "order_id": "A-17.2",
        "ordered_at": "2024-05-01T12:00:00Z",
        "total": 19.99,
        "shipping": {"country": None},
    }
    run = target(schema(keys=["order_id"]), record(**order), streams=plugin["config"]["streams"])
    assert run.status == 0
    (message,) = mona.messages()
    assert (message["arc_class"], message["context_id"]) == ("SHOP_ORDER", "A-17%2E2")
    assert message["export_timestamp"] == '"2024-05-01T12:00:00Z"'
    assert message["message"] == {"total": 19.99, "country": "unknown", "hour": 12}
    (listed,) = yaml.safe_load(blocks[1])["streams"]
    assert set(listed) == {"stream", "arc_class"}
    assert target(schema("public.orders"), streams=[listed]).status == 0


def test_the_metadata_of_the_sdk_is_added_if_configured(target: Target, mona: Mona) -> None:
    run = target(schema(id={"type": "integer"}), record(id=1), add_record_metadata=True)
    assert run.status == 0
    assert {"id", "_sdc_received_at", "_sdc_deleted_at"} <= set(mona.messages()[0]["message"])


@pytest.mark.parametrize("number", ["1e999990", "-1e999990", "1e400", "9" * 4301])
def test_a_huge_export_timestamp_rejects_its_record_at_once(
    target: Target, mona: Mona, number: str
) -> None:
    line = '{"type":"RECORD","stream":"orders","record":{"id":1,"at":AT}}'
    lines = [line.replace("AT", number), line.replace("AT", f'"{number}"')]
    mapping = {"orders": {"export_timestamp": "at"}}
    run = target(schema(), *lines, record(id=2), streams=mapping, max_rejected_records=2)
    assert run.status == 0
    assert [each["message"]["id"] for each in mona.messages()] == [2]
    assert run.summary()["rejected"] == 2


def test_the_page_lists_every_rule_with_the_vendors_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "target-mona.md").read_text(encoding="utf-8")
    table = page.partition("## What is rejected")[2].partition("These are sent")[0]
    sources = re.findall(r"^\| .* \| ([^|]+) \|$", table, re.MULTILINE)[1:]
    assert sorted(sources) == sorted(rule.source for rule in RULES)
