from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from singer_martech.errors import InvalidInput
from singer_martech.singer.message_decoder import decode_envelope, decode_message
from singer_martech.singer.record_lines import RecordLines

STARTS = (
    '{"type":"RECORD","stream":"a","record":',
    '{"type": "RECORD", "stream": "a", "record": ',
    '{"type": "RECORD", "stream": "b", "record": ',
    '{"type":"RECORD","stream":"\\u0061","record":',
    '{"type":"RECORD","stream":"é","record":',
    '{"type":"STATE","stream":"a","record":',
    '{"stream":"a","type":"RECORD","record":',
    '{"type":"RECORD","stream":"a","version":1,"record":',
)
RECORDS = (
    *("{}", '{"a":1}', '{"a":{"b":[{}]}}', '{"a":"}}"}', '{"a":"\\"}"}', '{"é":"é"}', '{"a":NaN}'),
    *('{"a":1},"record":{"b":2}', '{"a":1},"type":"STATE","x":{}', "[]", "null", "1", "{"),
)
ENDS = (
    *("}", " }", "}\r", "}}", ',"version":1}', ',"version":null}', ',"version":01}', ',"x":1}'),
    *(',"time_extracted":"2026-03-10T12:00:00Z"}', ', "time_extracted": null }', ',"version":1.5}'),
    *(',"version":1,"time_extracted":"2026"}', ',"time_extracted":"\\""}', ',"stream":"b"}', ","),
    *(',"time_extracted":"é"}', ',"time_extracted":5}', ',"version":{}}', ""),
)
LINES = st.builds(
    lambda *parts: "".join(parts).encode(),
    st.sampled_from(STARTS),
    st.sampled_from(RECORDS),
    st.sampled_from(ENDS),
)


def found_in(lines: list[bytes]) -> dict[int, tuple[str, bytes]]:
    """Return the stream and the record of each line in which one is found."""
    record_lines = RecordLines()
    found = {}
    index = 0
    while index < len(lines):
        records = record_lines.records(lines, index) if record_lines.is_record(lines[index]) else []
        for number, record in enumerate(records, index):
            found[number] = record_lines.stream, record
        index += len(records) or 1
    return found


@given(lines=st.lists(LINES, min_size=1, max_size=12))
def test_a_record_that_is_an_object_is_that_of_its_message(lines: list[bytes]) -> None:
    for index, (stream, record) in found_in(lines).items():
        try:
            is_object = isinstance(json.loads(record), dict)
        except ValueError:
            is_object = False
        line = lines[index]
        try:
            message = decode_message(line, decode_envelope(line), 1)
        except InvalidInput:
            message = {}
        expected = (stream, record) if is_object else None
        seen = (message.get("stream"), message.get("raw"))
        assert expected is None or (message["type"] == "RECORD" and seen == expected)


@given(
    start=st.sampled_from(STARTS[:3]),
    record=st.sampled_from(RECORDS[:7]),
    end=st.sampled_from([ENDS[0], ENDS[2], ENDS[4], ENDS[5], ENDS[8], ENDS[11]]),
    count=st.integers(1, 5),
)
def test_the_records_of_usual_lines_are_found(
    start: str, record: str, end: str, count: int
) -> None:
    lines = [f"{start}{record}{end}".encode()] * count
    stream = json.loads(f"{start}null}}")["stream"]
    assert found_in(lines) == dict.fromkeys(range(count), (stream, record.encode()))


def test_the_time_of_each_line_may_be_another() -> None:
    line = '{"type":"RECORD","stream":"a","record":{"n":%d},"time_extracted":"%d"}'
    lines = [(line % (number, 10**number)).encode() for number in range(5)]
    assert [record for _, record in found_in(lines).values()] == [b'{"n":%d}' % n for n in range(5)]
