from __future__ import annotations

import html
import io
import json
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from singer_martech.runtime.redaction import (
    MASK,
    RedactingFilter,
    redact,
    redact_logs,
    register_basic_auth,
    register_secret,
)

if TYPE_CHECKING:
    from collections.abc import Callable

secrets = st.text("abcXYZ0123456789+/=%$&\"'\\ ö-_.", min_size=8, max_size=20)


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
    ]
    for form in forms:
        assert form(secret).strip() not in redact(f"<{form(secret)}>").replace(MASK, "")


def test_the_header_of_basic_authentication_is_hidden() -> None:
    register_basic_auth("the-api-secret")
    assert redact("Basic dGhlLWFwaS1zZWNyZXQ6") == f"Basic {MASK}"


def test_short_texts_are_left_alone() -> None:
    register_secret("ab")
    assert redact("about") == "about"


def test_a_log_record_is_masked_in_its_arguments_and_its_traceback() -> None:
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


def test_a_handler_that_a_log_configuration_gave_to_one_logger_masks_too() -> None:
    register_secret("handler-secret-123")
    written = io.StringIO()
    logger = logging.getLogger("tests.of_one_handler")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(written))
    redact_logs()
    logger.warning("refused: %s", "handler-secret-123")
    assert written.getvalue() == f"refused: {MASK}\n"
