from __future__ import annotations

import json

from hypothesis import example, given
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


def is_of_its_message(stream: str, record: bytes, line: bytes) -> bool:
    """Whether a record is no object, or the record of a RECORD message."""
    try:
        is_object = isinstance(json.loads(record), dict)
    except ValueError:
        is_object = False
    try:
        message = decode_message(line, decode_envelope(line), 1)
    except InvalidInput:
        message = {}
    seen = [message.get(name) for name in ("type", "stream", "raw")]
    return not is_object or seen == ["RECORD", stream, record]


@given(lines=st.lists(LINES, min_size=1, max_size=12))
def test_a_record_that_is_an_object_is_that_of_its_message(lines: list[bytes]) -> None:
    for index, (stream, record) in found_in(lines).items():
        assert is_of_its_message(stream, record, lines[index])


@given(
    start=st.sampled_from(STARTS[:3]),
    records=st.lists(st.sampled_from(RECORDS), min_size=1),
    end=st.sampled_from([ENDS[0], ENDS[2], ENDS[4], ENDS[5], ENDS[8], ENDS[11]]),
    other=st.none() | LINES,
    index=st.integers(0, 12),
)
@example(STARTS[0], ["{", "1}"], ENDS[0], b"[", 1)
@example(STARTS[0], ["{}"], ENDS[4], STARTS[0].encode() + b"{}}", 1)
@example(STARTS[0], ["{}"], ENDS[0], STARTS[6].encode() + b"{}}", 0)
@example(STARTS[0], ["{}"], ENDS[0], STARTS[0].encode() + b"{} }", 0)
def test_a_block_is_split_if_its_lines_are_alike(
    start: str, records: list[str], end: str, other: bytes | None, index: int
) -> None:
    lines = [f"{start}{record}{end}".encode() for record in records]
    record_lines = RecordLines()
    assert record_lines.is_record(lines[0])
    record_lines.records([f"{start}{{}}{end}".encode()], 0)
    record_lines.are_alike = True
    lines[index:index] = [] if other is None else [other]
    found = record_lines.split(b"\n".join(lines))
    are_usual = other is None and all(record.endswith("}") for record in records)
    assert found is not None or not are_usual
    if found is not None:
        assert [record_lines.line_of(found, index) for index in range(len(found))] == lines
        stream = json.loads(f"{start}null}}")["stream"]
        for record, line in zip(found, lines, strict=True):
            assert is_of_its_message(stream, record, line)


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
