from __future__ import annotations

import contextlib
import os
import signal
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import InvalidInput, MartechError, Stopped
from singer_martech.runtime.shutdown import ShutdownSignal
from singer_martech.singer.message_decoder import NOT_JSON
from singer_martech.singer.reader import MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DEEP = b"[" * 90_000 + b"]" * 90_000
TYPES = ("SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION", "BATCH")


@pytest.fixture
def reader() -> MessageReader:
    reader = MessageReader()
    reader.shutdown = ShutdownSignal()
    reader.tick = lambda: None
    reader.guard = contextlib.nullcontext
    return reader


@pytest.fixture
def pipe() -> Iterator[tuple[Any, Any]]:
    """A pipe to read from, and the end to write to."""
    read, write = os.pipe()
    with open(read, "rb") as output, open(write, "wb", buffering=0) as given:  # noqa: PTH123
        yield output, given


def read(reader: MessageReader, path: Path, *lines: bytes) -> list[dict[str, Any]]:
    path.write_bytes(b"\n".join(lines))
    messages: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        reader.process_lines(file, dict.fromkeys(TYPES, messages.append))
    return messages


def test_records_and_states_keep_their_json_as_received(
    reader: MessageReader, tmp_path: Path
) -> None:
    record = b'{ "a" : 1.10, "b":"\\u00e9", "c":[1e400, 123456789012345678901234567890] }'
    state = '{"bookmarks" : {"é": 1.50}}'.encode()
    messages = read(
        reader,
        tmp_path / "input",
        b'{"type":"RECORD","stream":"s","record":%s,"version":5}' % record,
        b'{"value":%s,"type":"STATE"}' % state,
    )
    assert messages[0]["raw"] == record
    assert messages[0]["record"] == {
        "a": Decimal("1.10"),
        "b": "é",
        "c": [Decimal("1E+400"), 123456789012345678901234567890],
    }
    assert str(messages[0]["record"]["a"]) == "1.10"
    assert messages[1]["raw"] == state


def test_lines_of_any_length_and_ending_are_read(reader: MessageReader, tmp_path: Path) -> None:
    long = b'{"type":"RECORD","stream":"s","record":{"a":"%s"}}' % (b"x" * 3_000_000)
    short = b'{"type":"RECORD","stream":"s","record":{"a":"y"}}'
    lines = (b"", short + b"\r", b"  ", long, b"", short, long, short)
    lengths = [len(each["record"]["a"]) for each in read(reader, tmp_path / "input", *lines)]
    assert lengths == [1, 3_000_000, 1, 3_000_000, 1]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            b'{"a":NaN, "b":[-Infinity],"c":1.10}',
            "holds -Infinity, NaN, which JSON cannot represent",
        ),
        (b'{"a":1e99999999999999999999}', "holds a number out of range"),
        (b'{"a":%s}' % (b"9" * 5000), "holds a number out of range"),
        (
            b'{"a":"\\"]\xc3\xa9", "b":%s1.10%s}' % (b'[{"x" : ' * 9000, b"} , {}, []]" * 9000),
            "is nested too deep",
        ),
    ],
    ids=["constants", "exponent", "digits", "depth"],
)
def test_a_record_that_json_cannot_represent_is_marked_for_rejection_as_received(
    reader: MessageReader, tmp_path: Path, record: bytes, reason: str
) -> None:
    line = b' { "stream":"s","record": %s , "type": "RECORD" } ' % record
    (message,) = read(reader, tmp_path / "input", line)
    assert reason in message[NOT_JSON]
    assert message["raw"] == record
    assert (message["type"], message["stream"]) == ("RECORD", "s")


def test_byte_order_marks_before_lines_are_skipped(reader: MessageReader, tmp_path: Path) -> None:
    line = b'\xef\xbb\xbf{"type":"RECORD","stream":"s","record":{"a":1}}'
    # of the input, of a file that was appended to another, and of an empty file
    messages = read(reader, tmp_path / "input", line, line, b"\xef\xbb\xbf")
    assert [message["record"] for message in messages] == [{"a": 1}, {"a": 1}]


def test_a_state_that_is_null_is_not_passed_on(reader: MessageReader, tmp_path: Path) -> None:
    lines = b'{"type":"STATE","value":null}', b'{"type":"STATE","value":{}}'
    (message,) = read(reader, tmp_path / "input", *lines)
    assert message["value"] == {}


def test_an_error_that_a_message_causes_names_its_line(
    reader: MessageReader, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b'\n{"type":"STATE"}\n')

    def check(message: dict[str, Any]) -> None:
        reader.assert_line_requires(message, {"value"})

    with path.open() as file, pytest.raises(InvalidInput) as caught:
        reader.process_lines(file, {"STATE": check})
    assert str(caught.value) == "line 2 of the input: a STATE lacks value"


def test_lone_surrogates_are_kept(reader: MessageReader, tmp_path: Path) -> None:
    (message,) = read(
        reader,
        tmp_path / "input",
        b' {"record" : {"a":"\\ud800","b":"\\udfff", "c": 1.10 } , "type":"RECORD","stream":"s"} ',
    )
    assert message["record"] == {"a": "\ud800", "b": "\udfff", "c": Decimal("1.10")}
    assert message["raw"] == b'{"a":"\\ud800","b":"\\udfff", "c": 1.10 }'
    assert NOT_JSON not in message


def test_a_state_that_is_not_strict_json_keeps_its_bytes(
    reader: MessageReader, tmp_path: Path
) -> None:
    (message,) = read(
        reader, tmp_path / "input", b'{"type": "STATE", "value": {"a": NaN, "b":"\\ud800"}}'
    )
    assert message["raw"] == b'{"a": NaN, "b":"\\ud800"}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello", "line 2 of the input is not JSON"),
        (b'{"type":"RECORD"', "line 2 of the input is not JSON .column 17: Expecting"),
        (b'{"type":"STATE","value":{}}{}', "line 2 of the input is not JSON"),
        (b"\xef\xbb\xbf{}", "line 2 of the input is not a Singer message"),
        (b'{"type":"STATE","value":"\xff"}', "line 2 of the input is not UTF-8"),
        (b'{"type":"RECORD","stream":"s","record":{"a":"\xff"}}', "line 2 .* is not UTF-8"),
        (b'{"type":"RECORD","stream":"s","record":{"\xff":1}}', "line 2 .* is not UTF-8"),
        (b'{"type":"STATE","value":%s}' % DEEP, "line 2 of the input is nested too deep"),
        (b'{"type":"RECORD","stream":"s","record":%s}' % DEEP, "line 2 .* is nested too deep"),
        (b'{"type":"RECORD","record":{"a":%s}}' % DEEP, "line 2 .*: a RECORD without a stream"),
        (b'{"type":"RECORD","stream":"s","record":{"a":%s}' % DEEP, "line 2 .* nested too deep"),
        (b"[]", "line 2 of the input is not a Singer message"),
        (b"5", "line 2 of the input is not a Singer message"),
        (b"{}", "line 2 of the input is not a Singer message"),
        (b'{"type":5}', "line 2 of the input is not a Singer message"),
        (b'{"type":"NEWS"}', "line 2 of the input: unknown message type 'NEWS'"),
        (b'{"type":"RECORD","record":{}}', "line 2 of the input: a RECORD without a stream"),
        (b'{"type":"RECORD","stream":5,"record":{}}', "a RECORD without a stream"),
        (b'{"type":"RECORD","stream":"s"}', "line 2 of .*'s': a RECORD without a record"),
        (b'{"type":"RECORD","stream":"s","record":[1]}', "a RECORD without a record object"),
        (
            b'{"type":"RECORD","stream":"s","record":null}',
            "stream 's': a RECORD without a record object",
        ),
    ],
)
def test_an_invalid_line_is_named_by_its_number(
    reader: MessageReader, tmp_path: Path, line: bytes, reason: str
) -> None:
    with pytest.raises(MartechError, match=reason):
        read(reader, tmp_path / "input", b"", line)


def test_an_endless_line_is_an_error_in_bounded_memory(
    reader: MessageReader, tmp_path: Path
) -> None:
    with (tmp_path / "input").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with (
        (tmp_path / "input").open(encoding="utf-8") as source,
        pytest.raises(MartechError, match="a line of more than 268435456 bytes"),
    ):
        reader.process_lines(source, {})


def test_tick_is_called_while_the_input_is_idle(
    reader: MessageReader, pipe: tuple[Any, Any]
) -> None:
    output, given = pipe
    ticks: list[None] = []
    reader.pause_seconds = 0.01

    def tick() -> None:
        ticks.append(None)
        if len(ticks) == 5:
            given.close()

    reader.tick = tick
    reader.process_lines(output, {})
    assert len(ticks) >= 5


def test_another_thread_can_end_the_wait(reader: MessageReader, pipe: tuple[Any, Any]) -> None:
    output, given = pipe
    reader.pause_seconds = 60.0
    ticked = threading.Event()
    reader.tick = ticked.set
    thread = threading.Thread(target=reader.process_lines, args=(output, {}))
    thread.start()
    given.write(b"\n")
    assert ticked.wait(20)
    ticked.clear()
    reader.wake()
    assert ticked.wait(20)
    given.close()
    thread.join(20)
    assert not thread.is_alive()


def test_a_signal_ends_the_wait(reader: MessageReader, pipe: tuple[Any, Any]) -> None:
    output, _given = pipe
    reader.pause_seconds = 60.0
    reader.shutdown.on_request(reader.wake)
    thread = threading.Timer(0.01, reader.shutdown.request, (signal.SIGINT,))
    thread.start()
    with pytest.raises(Stopped) as caught:
        reader.process_lines(output, {})
    thread.join()
    assert caught.value.signum == signal.SIGINT


@pytest.mark.parametrize("state_every", [30_000, 7_000])
def test_a_fast_handler_gets_each_record_once_and_its_message_on_request(
    reader: MessageReader, tmp_path: Path, state_every: int
) -> None:
    expected = [b'{"id":%d}' % number for number in range(30_000)]  # several blocks
    lines = [b'{"type":"RECORD","stream":"s","record":%s}' % record for record in expected]
    for index in range(len(lines), 0, -state_every):
        lines.insert(index, b'{"type":"STATE","value":{}}')
    seen: list[bytes] = []

    def handle(records: Sequence[bytes], load_message: Callable[[int], None]) -> None:
        seen.extend(records)
        load_message(len(records) - 1)

    reader.fast_handlers["s"] = handle
    messages = read(reader, tmp_path / "input", *lines)
    assert seen == expected
    loaded = [each["raw"] for each in messages if each["type"] == "RECORD"]
    assert loaded == sorted(set(loaded), key=expected.index)
    assert loaded[-1] == expected[-1]
    assert len(messages) - len(loaded) == len(range(len(expected), 0, -state_every))


def test_an_error_in_a_block_of_records_names_its_line(
    reader: MessageReader, tmp_path: Path
) -> None:
    lines = [b'{"type":"RECORD","stream":"s","record":{"id":%d}}' % n for n in range(20_000)]
    lines[15_000] = b'{"type":"RECORD","stream":"s","record":{"id":,}}'

    def handle(records: Sequence[bytes], load_message: Callable[[int], None]) -> None:
        for index, record in enumerate(records):
            if b":," in record:
                load_message(index)

    reader.fast_handlers["s"] = handle
    with pytest.raises(InvalidInput, match="line 15001 "):
        read(reader, tmp_path / "input", *lines)
