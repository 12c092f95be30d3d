from __future__ import annotations

import base64
import html
import io
import json
import logging
import quopri
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.runtime.redaction import (
    HEAD_BYTES,
    MASK,
    RedactingFilter,
    redact,
    redact_logs,
    redacted_head,
    register_basic_auth,
    register_secret,
)

if TYPE_CHECKING:
    from collections.abc import Callable

secrets = st.text("abcXYZ0123456789+/=%$&\"'\\ ö-_.", min_size=8, max_size=20)


def quoted_printable(text: str) -> str:
    return quopri.encodestring(text.encode(), quotetabs=True).decode()


def five_levels_of_json(text: str) -> str:
    for _ in range(5):
        text = json.dumps(text)
    return text[1:-1]


@given(secret=secrets)
def test_a_secret_is_hidden_in_every_form_in_which_it_may_be_written(secret: str) -> None:
    register_secret(secret)
    forms: list[Callable[[str], str]] = [
        str,
        quote,
        html.escape,
        lambda text: " ".join(text.split()),  # as a message of one line has it
        lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
        lambda text: repr(text)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        lambda text: "".join(f"\\u{ord(each):04X}" for each in text),  # such as \u003d
        lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
        lambda text: "".join(f"\\x{each:02x}" for each in text.encode()),
        lambda text: repr(text.encode())[2:-1],
        lambda text: "".join(f"&#{ord(each)};" for each in text),  # such as &#39;
        lambda text: "".join(f"&#x{ord(each):x};" for each in text),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: json.dumps(json.dumps(json.dumps(text)))[1:-1],
        quote_plus,
        lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
        lambda text: base64.b64encode(quote(text, safe="").encode()).decode().rstrip("="),
        lambda text: base64.b64encode(json.dumps(text)[1:-1].encode()).decode().rstrip("="),
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex().upper(),
        lambda text: "".join(f"&#x{ord(each):08x};" for each in text),
        lambda text: "".join(f"&#{ord(each):010};" for each in text),
        lambda text: "".join(f"&#{ord(each)}" for each in text),
        lambda text: "".join(f"\\u{{{ord(each):x}}}" for each in text),
        lambda text: "".join(f"\\{ord(each):03o}" for each in text),
        lambda text: "".join(f"%u{ord(each):04x}" for each in text),
        lambda text: "".join(f"={each:02X}" for each in text.encode()),
        quoted_printable,
        five_levels_of_json,
    ]
    for form in forms:
        assert form(secret).strip() not in redact(f"<{form(secret)}>").replace(MASK, "")


def test_the_header_of_basic_authentication_is_hidden() -> None:
    register_basic_auth("the-api-secret")
    assert redact("Basic dGhlLWFwaS1zZWNyZXQ6") == f"Basic {MASK}"


def test_short_texts_are_left_alone() -> None:
    register_secret("ab")
    assert redact("about") == "about"


def test_a_log_record_is_redacted_in_arguments_and_traceback() -> None:
    register_secret("log-secret-123")
    try:
        int("log-secret-123")
    except ValueError as error:
        record = logging.LogRecord(
            "name",
            logging.ERROR,
            "path",
            1,
            "%s and %s",
            ("log-secret-123", 5),
            (type(error), error, error.__traceback__),
        )
    assert RedactingFilter().filter(record)
    text = logging.Formatter().format(record)
    assert "log-secret-123" not in text
    assert f"{MASK} and 5" in text
    assert f"'{MASK}'" in text


def test_handlers_of_single_loggers_redact_too() -> None:
    register_secret("handler-secret-123")
    written = io.StringIO()
    logger = logging.getLogger("tests.of_one_handler")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(written))
    redact_logs()
    logger.warning("refused: %s", "handler-secret-123")
    assert written.getvalue() == f"refused: {MASK}\n"


def test_only_the_secret_is_hidden_beside_other_escapes() -> None:
    register_secret("k=y&s/t'x")
    line = r"""100% \"a\u00e9\" k\u003dy\u0026s\/t&#39;x &amp; 50%25"""
    assert redact(line) == rf"""100% \"a\u00e9\" {MASK} &amp; 50%25"""


def test_a_secret_within_a_longer_base64_text_is_hidden() -> None:
    register_secret("inner-secret-of-a-header")
    for before in ("", "a", "ab", "user:"):
        header = base64.b64encode(f"{before}inner-secret-of-a-header:after".encode()).decode()
        assert MASK in redact(f"Basic {header}")
        assert len(redact(header).replace(MASK, "")) < 20


@pytest.mark.parametrize("line_end", ["\n", "\r\n", " ", "\\n", "\\r\\n"])
@pytest.mark.parametrize("before", [30, 50, 57, 60])
def test_a_secret_within_base64_of_several_lines_is_hidden(line_end: str, before: int) -> None:
    register_secret("secret-in-an-email")
    lines = base64.encodebytes(b"\0" * before + b"secret-in-an-email" + b"\xff" * 60).decode()
    shown = redact(lines.strip().replace("\n", line_end))
    assert re.fullmatch(rf"A+B?{re.escape(MASK)}.+", shown.replace(line_end, "", 1), re.DOTALL)


@pytest.mark.parametrize("form", [str, str.encode, quote, json.dumps])
@pytest.mark.parametrize("shown", [8, 20, 21, 27, 28, 100])
def test_the_beginning_of_a_text_ends_with_no_part_of_a_secret(
    form: Callable[[str], str | bytes], shown: int
) -> None:
    register_secret("secret at the limit")
    head = redacted_head(form("before it\n  secret at the limit\n after it"), shown)
    assert "secret at" not in head
    assert len(head) <= shown + 1


@pytest.mark.parametrize("form", [str, str.encode])
@pytest.mark.parametrize("filling", [" ", "filled-secret "])
@pytest.mark.parametrize("part", range(1, 20, 3))
def test_a_secret_at_the_end_of_what_is_read_is_not_shown(
    form: Callable[[str], str | bytes], filling: str, part: int
) -> None:
    register_secret("filled-secret")
    register_secret("0123456789-0123456789")
    before = (filling * HEAD_BYTES)[: HEAD_BYTES - part]
    head = redacted_head(form(f"{before}0123456789-0123456789"), HEAD_BYTES)
    assert not re.search("[0-9]", head)


def test_a_long_text_without_secrets_is_shown() -> None:
    register_secret("not-in-the-text")
    assert redacted_head("a  b\n" * HEAD_BYTES, 5) == "a b a…"
    assert redacted_head("a  b\n", 3) == "a b"


def test_ordinary_text_is_left_alone() -> None:
    register_secret("p=ss'w&rd+/x\"9<Zq")
    text = (
        "GET /a?b=ABcd&lt=5&copy=1 C:\\12\\temp 100%u1234 =20=\nsha256 " + "0f" * 32 + " ends\nhere"
    )
    assert redact(text) == text


def test_many_escapes_are_processed_in_linear_time() -> None:
    register_secret("a-secret-among-escapes")
    worst = ["\\" * 200_000, "%25" * 100_000, "&amp;" * 60_000, "\\u005c" * 50_000, "%C3" * 100_000]
    worst += ["\\7" * 100_000, "=3D" * 100_000, "&#38" * 100_000, ("a" * 60 + " ") * 5_000]
    worst += ["&#" + "0" * 400_000, "\\u{" * 100_000, "a b " * 100_000, "&" + "a" * 400_000]
    began = time.process_time()
    for text in worst:
        assert redact(text) == text
    assert time.process_time() - began < 5


def test_control_characters_are_shown_escaped_in_a_log_line() -> None:
    written = io.StringIO()
    logger = logging.getLogger("tests.of_control_characters")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(written))
    redact_logs()
    logger.warning("stream %s", "a\nERROR b\x1b[31m\u202e\u2028\x85\ud800 \N{SNOWMAN}")
    assert written.getvalue() == (
        "stream a\\nERROR b\\x1b[31m\\u202e\\u2028\\x85\\ud800 \N{SNOWMAN}\n"
    )
    try:
        int("a\rb")
    except ValueError as error:
        error.args = ("a\rb",)
        logger.exception("failed")
    assert "ValueError: a\\rb\n" in written.getvalue()
    assert "Traceback (most recent call last):\n" in written.getvalue()
