from __future__ import annotations

import gzip
import itertools
import time
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.errors import MartechError
from singer_martech.http.errors import IncompleteBody
from singer_martech.http.response import Response
from tap_robotmia import body as body_module
from tap_robotmia.body import Body, BodyTooLarge, TextCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

EVENT = b'{"event":"e","properties":{"time":1,"pad":"%s"}}' % (b"x" * 100)
TEXT = (EVENT + b"\n") * 16_000


def received(
    pieces: Iterable[bytes], encoding: str = "gzip", content_type: str = "text/plain"
) -> Body:
    body = Body("the export of 2024-01-01")
    try:
        body.seek(0)
        body.truncate()
        for piece in pieces:
            body.write(piece)
        body.flush()
        headers = {"Content-Encoding": encoding, "Content-Type": content_type}
        body.check(Response("export", 200, headers))
    except BaseException:
        body.close()
        raise
    return body


def text_of(body: Body) -> bytes:
    blocks = list(body.blocks())
    body.close()
    lines = [line for block in blocks for line in block]
    assert all(line.find(b"\n") == len(line) - 1 for line in lines[:-1])
    return b"".join(lines)


@pytest.mark.parametrize(
    "sent",
    [
        gzip.compress(TEXT),
        TEXT,
        TEXT.rstrip(b"\n"),
        gzip.compress(TEXT[:100_000]) + gzip.compress(TEXT[100_000:]),
        gzip.compress(TEXT) + b"\0" * 512,
        gzip.compress(TEXT[:100_000]) + b"\0" * 512 + gzip.compress(TEXT[100_000:]),
        gzip.compress(TEXT, 0),
        gzip.compress(TEXT + b"\n \n\n"),
    ],
    ids=[
        "gzip",
        "plain",
        "no last line feed",
        "two members",
        "padded",
        "padded within",
        "stored",
        "blank end",
    ],
)
def test_a_complete_body_is_read_as_sent(sent: bytes) -> None:
    body = received([sent])
    assert text_of(body).rstrip() == TEXT.rstrip()


@pytest.mark.parametrize(
    "sent",
    [b"", b"\n", gzip.compress(b""), gzip.compress(b"\n\n"), b"\xef\xbb\xbf\n"],
    ids=["nothing", "blank", "gzip of nothing", "gzip of blanks", "byte order mark"],
)
def test_an_empty_body_is_complete(sent: bytes) -> None:
    assert text_of(received([sent])).removeprefix(b"\xef\xbb\xbf").strip() == b""


def test_a_byte_order_mark_before_the_only_line_is_accepted() -> None:
    assert text_of(received([b"\xef\xbb\xbf" + EVENT])) == b"\xef\xbb\xbf" + EVENT
    with pytest.raises(IncompleteBody, match="terminated early"):
        received([b"\xef\xbb\xbfterminated early"])


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 500])
def test_a_gzip_stream_without_its_trailer_is_broken(missing: int) -> None:
    with pytest.raises(IncompleteBody, match="without its trailer"):
        received([gzip.compress(TEXT)[:-missing]])


def test_a_second_member_without_its_trailer_is_broken() -> None:
    with pytest.raises(IncompleteBody, match="without its trailer"):
        received([gzip.compress(TEXT) + gzip.compress(TEXT)[:-8]])


def test_a_wrong_checksum_is_broken() -> None:
    sent = bytearray(gzip.compress(TEXT))
    sent[-5] ^= 1
    with pytest.raises(IncompleteBody, match="damaged"):
        received([bytes(sent)])


def test_a_wrong_length_in_the_trailer_is_broken() -> None:
    sent = bytearray(gzip.compress(TEXT))
    sent[-1] ^= 1
    with pytest.raises(IncompleteBody, match="damaged"):
        received([bytes(sent)])


@pytest.mark.parametrize(
    "line",
    [
        b"terminated early",
        b"export terminated early",
        b"terminated early\n",
        b"Export Terminated Early.\n",
        b'"terminated early"\n',
        b'{"event":"e","properties":{"terminated early',
    ],
)
@pytest.mark.parametrize("before", [b"", TEXT])
def test_an_export_that_was_terminated_early_is_broken(before: bytes, line: bytes) -> None:
    for sent in (before + line, gzip.compress(before + line)):
        with pytest.raises(IncompleteBody, match="terminated early"):
            received([sent])


def test_an_event_that_mentions_termination_is_complete() -> None:
    sent = TEXT + b'{"event":"terminated early","properties":{"time":1,"x":"terminated early"}}\n'
    assert text_of(received([gzip.compress(sent)])) == sent


@pytest.mark.parametrize(
    "sent",
    [
        TEXT[:-10],
        TEXT + b'{"event":"e"',
        TEXT + b'{"error":"timeout"}',
        TEXT + b"<html>",
        b"null",
    ],
)
def test_a_last_line_that_is_cut_is_broken(sent: bytes) -> None:
    with pytest.raises(IncompleteBody, match="last line"):
        received([gzip.compress(sent)])


@pytest.mark.parametrize("line", [b"nope", b'{"error":"timeout"}', b"null", b'{"event":"e"'])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n \n"])
def test_a_last_line_that_ends_with_a_line_feed_is_left_to_the_reader(
    line: bytes, end: bytes
) -> None:
    assert text_of(received([gzip.compress(TEXT + line + end)])) == TEXT + line + end


@pytest.mark.parametrize(
    "page",
    [b"<!DOCTYPE html>\n<html>\n</html>\n", b"\xef\xbb\xbf \n<HTML></HTML>\n", b"<!-- x -->\n"],
)
def test_an_html_page_is_not_an_export(page: bytes) -> None:
    for sent in (page, gzip.compress(page), page + TEXT):
        with pytest.raises(IncompleteBody, match="HTML page"):
            received([sent])


def test_an_empty_html_page_is_not_an_export() -> None:
    with pytest.raises(IncompleteBody, match="HTML page"):
        received([b""], content_type="text/html; charset=utf-8")


@pytest.mark.parametrize(
    "error", [b'{"error":"down"}\n', b'{\n "error": "down"\n}\n', b'{"errors":["down"]}\n']
)
def test_a_body_that_is_an_error_is_not_an_export(error: bytes) -> None:
    with pytest.raises(IncompleteBody, match=r"an error instead of an export: .*down"):
        received([error])


def test_a_long_last_line_in_small_pieces_is_checked_in_linear_time() -> None:
    line = b'{"event":"e","properties":{"time":1,"pad":"%s"}}' % (b"x" * 8 * 1024 * 1024)
    check = TextCheck()
    began = time.process_time()
    for start in range(0, len(line), 64):
        check.feed(line[start : start + 64])
    check.raise_if_incomplete()
    assert time.process_time() - began < 5


@given(cuts=st.lists(st.integers(0, 700), max_size=30), compress=st.booleans())
def test_the_chunks_of_a_body_make_no_difference(cuts: list[int], compress: bool) -> None:
    text = TEXT[:300] + b"\n \n" + EVENT + b"\n\n  " + EVENT + b"\n \n"
    text = text[text.index(b"\n") + 1 :]
    sent = gzip.compress(text) if compress else text
    edges = [0, *sorted(cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert text_of(received(pieces)) == text


@given(cut=st.integers(0, 1000))
def test_a_gzip_body_cut_anywhere_is_broken(cut: int) -> None:
    sent = gzip.compress(
        b"".join(b'{"event":"e","properties":{"time":%d}}\n' % n for n in range(200))
    )
    cut = 1 + cut % (len(sent) - 1)
    with pytest.raises(IncompleteBody):
        received([sent[:cut]])


def test_a_new_attempt_discards_the_previous_one() -> None:
    body = Body("export")
    body.write(gzip.compress(TEXT)[:1000])
    body.seek(0)
    body.truncate()
    body.write(gzip.compress(EVENT))
    body.check(Response("export", 200, {}))
    assert text_of(body) == EVENT


def test_a_body_can_be_read_twice() -> None:
    body = received([gzip.compress(TEXT)])
    assert b"".join(itertools.chain.from_iterable(body.blocks())) == TEXT
    assert text_of(body) == TEXT


def test_an_encoding_that_was_not_requested_ends_the_run() -> None:
    with pytest.raises(MartechError, match="encoded as 'br'"):
        received([b"whatever"], encoding="br")


def test_a_line_of_a_gigabyte_is_rejected_at_the_limit() -> None:
    squeezer = zlib.compressobj(wbits=31)
    pieces = (squeezer.compress(b"x" * 1024 * 1024) for _ in range(1024))
    with pytest.raises(BodyTooLarge, match="a line of more than"):
        received(pieces)


def test_endless_blank_lines_are_rejected_at_the_limit() -> None:
    squeezer = zlib.compressobj(wbits=31)
    pieces = (squeezer.compress(b"\n" * 1024 * 1024) for _ in range(1024))
    with pytest.raises(BodyTooLarge, match="a line of more than"):
        received(pieces)


def test_a_body_that_inflates_without_bounds_is_rejected_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body_module, "MAX_UNCHECKED_BYTES", 10_000_000)
    with pytest.raises(BodyTooLarge, match="inflates from"):
        received([gzip.compress(b'{"event":"e","properties":{"time":1}}\n' * 2_000_000)])


def test_half_a_gigabyte_of_equal_events_is_accepted() -> None:
    squeezer = zlib.compressobj(wbits=31)
    pieces = [squeezer.compress(TEXT) for _ in range(700)]
    received([*pieces, squeezer.flush()]).close()
