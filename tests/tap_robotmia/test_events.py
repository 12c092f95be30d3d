from __future__ import annotations

import json
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_robotmia.events import EventReader, properties_of
from tap_robotmia.lines import MAX_NESTING, read_object
from tap_robotmia.project_time import ProjectClock, time_zone

if TYPE_CHECKING:
    from tap_robotmia.events import Event

CLOCK = ProjectClock(time_zone("US/Pacific"))


def read(text: bytes, *, sanitize: bool = False) -> tuple[list[Event], list[tuple[bytes, str]]]:
    malformed: list[tuple[bytes, str]] = []
    reader = EventReader(
        CLOCK, lambda line, reason: malformed.append((line, reason)), sanitize=sanitize
    )
    return reader.read(BytesIO(text).readlines()), malformed


def read_one(text: bytes, *, sanitize: bool = False) -> Event:
    events, malformed = read(text, sanitize=sanitize)
    assert not malformed
    (event,) = events
    return event


def test_the_vendors_example_becomes_an_event() -> None:
    line = (
        b'{"event":"Viewed report","properties":{"distinct_id":"foo","time":1518314400,'
        b'"$os":"Linux","$insert_id":"abc"}}\n'
    )
    event = read_one(line)
    assert (event.event, event.time) == ("Viewed report", "2018-02-11T10:00:00.000000Z")
    assert (event.distinct_id, event.insert_id) == ("foo", "abc")
    assert bytes(event.properties) == line[len(b'{"event":"Viewed report","properties":') : -2]


@pytest.mark.parametrize(
    "properties",
    [
        b'{"time":1,"big":123456789012345678901234567890}',
        b'{"time":1,"f":1.10,"e":1E+2,"z":-0.0,"huge":1e400}',
        b'{"time":1,"null":null,"nested":{"a":[1,{"b":[]}]},"":{}}',
        '{"time":1,"City":"Zürich","city":"zürich","$city":"\\u00fc","\u2028":"\u2029\x85"}'.encode(),
        b'{"time":1,"event":"x","event_id":"y","properties":{},"time_":2}',
        b'{"time":1,"d":1,"d":2}',
        b'{ "time" : 1 , "a" : [ ] }',
        b'{"time":1,"digits":' + b"9" * 5000 + b"}",
    ],
)
def test_properties_are_what_was_received(properties: bytes) -> None:
    event = read_one(b'{"event":"e","properties":' + properties + b"}")
    assert bytes(event.properties) == properties


@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        (b'{"time":1,"a":"\\ud800"}', {"time": 1, "a": "\ud800"}),
        (b'{"time":1,"a":NaN,"b":-Infinity}', {"time": 1, "a": "NaN", "b": "-Infinity"}),
        (b'{"time":1,\r"a":"b"}', {"time": 1, "a": "b"}),
        (b'{"time":"1518314400"}', {"time": "1518314400"}),
        (b'{"time":"1518314400.5"}', {"time": "1518314400.5"}),
        (b'{"time":1,"distinct_id":17}', {"time": 1, "distinct_id": 17}),
        (b'{"time":1,"distinct_id":1.50}', {"time": 1, "distinct_id": 1.5}),
        (b'{"time":1,"$insert_id":17}', {"time": 1, "$insert_id": 17}),
        (b'{"time":1,"a":"\xed\xa0\x80"}', {"time": 1, "a": "\ud800"}),
    ],
)
def test_lines_that_only_the_tolerant_parser_reads_are_events(
    properties: bytes, kept: dict[str, object]
) -> None:
    event = read_one(b'{"event":"e","properties":' + properties + b"}")
    assert properties_of(event) == kept
    assert b"\r" not in bytes(event.properties)
    bytes(event.properties).decode()


def test_identifiers_that_are_numbers_become_text() -> None:
    event = read_one(b'{"event":"e","properties":{"time":1,"distinct_id":1.50,"$insert_id":7}}')
    assert (event.distinct_id, event.insert_id) == ("1.50", "7")


def test_a_numeric_distinct_id_equals_its_text() -> None:
    number, text = (
        read_one(b'{"event":"e","properties":{"time":1,"$insert_id":"i","distinct_id":%b}}' % each)
        for each in (b"17", b'"17"')
    )
    assert number.event_id == text.event_id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nope", "it is not JSON"),
        (b'{"event":"e","properties":{"time":1}}{"event":"e","properties":{"time":1}}', "not JSON"),
        (b'{"event":"e","properties":{"time":1', "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b'{"properties":{"time":1}}', "it has no event name"),
        (b'{"event":7,"properties":{"time":1}}', "it has no event name"),
        (b'{"event":"e"}', "it has no properties"),
        (b'{"event":"e","properties":{}}', "it has no time"),
        (b'{"event":"e","properties":{"time":null}}', "it has no time"),
        (b'{"event":"e","properties":{"time":true}}', "it has no time"),
        (b'{"event":"e","properties":{"time":"soon"}}', "it has no time"),
        (b'{"event":"e","properties":{"time":1e30}}', "outside the years 1 to 9999"),
        (b'{"event":"e","properties":{"time":1e400}}', "outside the years 1 to 9999"),
        (b'{"event":"\xff","properties":{"time":1}}', "it is not UTF-8"),
        (b'{"event":"e","properties":{"time":1,"a":"\xff"}}', "it is not UTF-8"),
        (b'{"event":"e","properties":{"time":1,"a":' + b"[" * 9999 + b"]" * 9999 + b"}}", "nested"),
        (b'{"error":"internal"}', "it reports: internal"),
        (b'{"errors":[{"message":"quota"}]}', 'it reports: [{"message":"quota"}]'),
        (b'{"success":false,"message":"quota"}', "it reports: quota"),
        (b'{"event":"e","properties":{"time":%b}}' % (b"9" * 4301), "outside the years 1 to 9999"),
        (b'{"event":"e","properties":{"time":"%b"}}' % (b"9" * 4301), "outside the years"),
        (b'{"event":"e","properties":{"time":1e999990}}', "outside the years 1 to 9999"),
        (b'{"event":"e","properties":{"time":"1e999990"}}', "it has no time"),
    ],
)
def test_a_line_that_is_not_an_event_is_kept_as_received_and_the_others_are_read(
    line: bytes, reason: str
) -> None:
    good = b'{"event":"good","properties":{"time":1}}'
    events, malformed = read(good + b"\n" + line + b"\n" + good + b"\n")
    assert [event.event for event in events] == ["good", "good"]
    ((kept, why),) = malformed
    assert kept == line
    assert reason in why


@pytest.mark.parametrize("text", [b"[%b]", b'{"a":%b}', b'["[[[{\\"[{",%b]', b"[1,[2],{},%b,[3]]"])
def test_nesting_is_counted_without_brackets_in_text_and_beside(text: bytes) -> None:
    def nested(levels: int) -> bytes:
        value = b"[" + b'"' + b"[{" * 500 + b'"]'
        for _ in range(levels - 3):
            value = text % value
        return b'{"event":"e","properties":{"time":1,"x":%b}}' % value

    assert read_one(nested(MAX_NESTING)).event == "e"
    events, malformed = read(nested(MAX_NESTING + 1))
    assert not events
    assert malformed[0][1] == "it is nested too deeply"


class BrokenClock(ProjectClock):
    """Fails on one time, as code with a mistake would."""

    def utc(self, raw: float) -> str | None:
        return super().utc(1 // (raw - 13) + raw)


def test_any_exception_for_a_line_counts_that_line_as_malformed() -> None:
    malformed: list[tuple[bytes, str]] = []
    reader = EventReader(
        BrokenClock(time_zone("UTC")), lambda line, reason: malformed.append((line, reason))
    )
    lines = [b'{"event":"e","properties":{"time":%d}}' % time for time in (12, 13, 14)]
    assert len(reader.read(lines)) == 2
    assert malformed == [(lines[1], "ZeroDivisionError: integer division or modulo by zero")]


def test_a_value_split_over_two_lines_is_two_malformed_lines() -> None:
    events, malformed = read(b'{"event":"e","properties":{"time":1,\n"a":2}}\n')
    assert not events
    assert len(malformed) == 2


def test_two_events_on_one_line_do_not_make_up_for_one_on_two_lines() -> None:
    line = b'{"event":"e","properties":{"time":1}}'
    events, malformed = read(line + line + b"\n" + line.replace(b",", b",\n") + b"\n")
    assert not events
    assert len(malformed) == 3


USUAL = b'{"event":"e","properties":{"time":%d,"distinct_id":"d","$insert_id":"i","n":[]}}'
ODD = st.sampled_from(
    [
        b"nope",
        b"",
        b'{"event":"e","properties":{}}',
        b'{"event":"e","properties":{"time":"7","a":"\\ud800"}}',
        b'{"event":"e","properties":{"time":5,"distinct_id":7,"$insert_id":"i"}}\r',
        b'{"event":"e","properties":{"time":5,"distinct_id":"d"},"more":1}',
        b'{"event":"e","properties":{"time":5,"distinct_id":7,"$insert_id":"i"}}',
        b'{"event":"e","properties":{"time":5,"a":' + b"[" * 401 + b"]" * 401 + b"}}",
        b'{"event":"e","properties":{"time":5,"$insert_id":"i","a":"\xff"}}',
        b'{"event":"ambiguous","properties":{"time":1541295000,"$insert_id":"i"}}',
        b'{"event":"e","properties":{"time":99999999999999999999,"$insert_id":"i"}}',
    ]
)


@given(
    lines=st.lists(ODD | st.integers(1, 9).map(lambda time: USUAL % time), max_size=20),
    is_last_ended=st.booleans(),
)
def test_lines_read_together_give_the_same_as_each_on_its_own(
    lines: list[bytes], is_last_ended: bool
) -> None:
    events, malformed = read(b"\n".join(lines) + b"\n" * is_last_ended)
    alone = [read(line + b"\n") for line in lines]
    assert events == [event for found, _ in alone for event in found]
    assert malformed == [each for _, rejected in alone for each in rejected]


def test_only_line_feeds_end_a_line() -> None:
    line = '{"event":"a\u2028b\u0085c","properties":{"time":1,"x":"\u2029"}}'
    event = read_one(f"\n\r\n  {line}\r\n\n".encode())
    assert event.event == "a\u2028b\u0085c"


def test_a_byte_order_mark_is_removed_from_the_first_line() -> None:
    assert read_one(b'\xef\xbb\xbf{"event":"e","properties":{"time":1}}').event == "e"


def test_an_empty_insert_id_identifies_nothing() -> None:
    line = b'{"event":"e","properties":{"time":1,"$insert_id":"","n":%d}}'
    assert read_one(line % 1).event_id != read_one(line % 2).event_id


def test_duplicates_in_one_export_share_their_id() -> None:
    events, _ = read(b'{"event":"e","properties":{"time":1,"n":1}}\n' * 2)
    assert events[0].event_id == events[1].event_id


def test_the_earliest_arrival_stamp_decides_an_ambiguous_time() -> None:
    line = (
        '{"event":"e","properties":{"time":1541295000,"mp_processing_time_ms":%d,'
        '"$mp_api_timestamp_ms":%d}}'
    )
    first, second = 1541320200000, 1541323800000
    early = read_one((line % (second + 1, first + 1)).encode())
    late = read_one((line % (second + 1, second)).encode())
    assert early.time == "2018-11-04T08:30:00.000000Z"
    assert late.time == "2018-11-04T09:30:00.000000Z"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@given(
    name=st.text(),
    properties=st.dictionaries(st.text(), json_values),
    time=st.integers(-(10**10), 10**10),
    ascii_only=st.booleans(),
)
def test_all_valid_json_is_kept(
    name: str, properties: dict[str, object], time: int, ascii_only: bool
) -> None:
    event = {"event": name, "properties": {**properties, "time": time}}
    line = json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = read_one(line)
    assert found.event == name
    assert json.loads(bytes(found.properties)) == event["properties"]
    assert b"\n" not in bytes(found.properties)


@given(lines=st.lists(st.binary(max_size=60), max_size=5))
def test_all_other_lines_are_counted_and_raise_nothing(lines: list[bytes]) -> None:
    text = b"\n".join(lines)
    events, malformed = read(text)
    blank = [line for line in text.split(b"\n") if not line.removeprefix(b"\xef\xbb\xbf").strip()]
    assert len(events) + len(malformed) == len(text.split(b"\n")) - len(blank)


def test_an_event_is_a_struct_that_writes_its_columns_in_order() -> None:
    event = read_one(b'{"event":"e","properties":{"time":1}}')
    assert list(json.loads(msgspec.json.encode(event))) == [
        "event_id",
        "event",
        "time",
        "distinct_id",
        "insert_id",
        "properties",
        "_extra",
    ]


@pytest.mark.parametrize("identity", [b"", b',"$insert_id":"i"', b',"x":"\\ud800"', b',\r"x":1'])
def test_other_keys_of_a_line_are_kept(identity: bytes) -> None:
    properties = b'{"time":1%b}' % identity
    extra = b'"labels":["a",1.10],"dataset":null,"n":123456789012345678901'
    line = b'{"labels":0,"event":"e",%b,"properties":%b}' % (extra, properties)
    event = read_one(line)
    assert event.extra is not None
    assert read_object(event.extra) == {
        "labels": ["a", Decimal("1.10")],
        "dataset": None,
        "n": 123456789012345678901,
    }
    without = read_one(b'{"event":"e","properties":%b}' % properties)
    assert without.extra is None
    assert without.event_id == event.event_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a\\ud800b"', "a\ufffdb"),
        ('"a\\u0000"', "a\ufffd"),
        ('"\\ud83d\\ude00 \\uDFFF"', "\U0001f600 \ufffd"),
        ('"\\\\ud800"', "\\ud800"),
        ('{"\\u0000":["\\uD800",1.10]}', {"\ufffd": ["\ufffd", Decimal("1.10")]}),
        ('{"\\u0000":1,"\\ud800":2,"\ufffd":3}', {"\ufffd" * 2: 1, "\ufffd" * 3: 2, "\ufffd": 3}),
    ],
)
def test_sanitized_text_holds_no_half_of_a_surrogate_pair_and_no_nul(
    text: str, expected: object
) -> None:
    line = f'{{"event":"e\\u0000","properties":{{"time":1,"distinct_id":"\\ud800","x":{text}}}}}'
    event = read_one(line.encode(), sanitize=True)
    assert (event.event, event.distinct_id) == ("e\ufffd", "\ufffd")
    assert properties_of(event)["x"] == expected
    assert event.event_id == read_one(line.encode()).event_id


def test_sanitizing_leaves_other_events_as_received() -> None:
    properties = '{"time":1,"a":"ü \\u00fc","n":1.10}'
    lines = [
        f'{{"event":"e","properties":{properties}}}',
        '{"event":"\\u0000","properties":{"time":1}}',
    ]
    events, malformed = read("\n".join(lines).encode(), sanitize=True)
    assert not malformed
    assert bytes(events[0].properties) == properties.encode()
