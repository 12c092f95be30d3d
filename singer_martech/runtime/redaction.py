"""Mask secrets and escape control characters in all output of the process."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from singer_martech._compat import override
from singer_martech.runtime.escapes import decodings, escape_controls, starts

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "[secret]"
_MIN_CHARACTERS = 4
"""Shorter secrets are parts of ordinary words: masking them would make every line unreadable."""

_MIN_BASE64_CHARACTERS = 8
_MAX_ESCAPED = 8
"""The usual escapes of a character have fewer characters."""

HEAD_BYTES = 64 * 1024
"""How much of a text ``redacted_head`` reads."""

_URL_SAFE = str.maketrans("+/", "-_")

_lock = threading.Lock()
_known: tuple[str, ...] = ()  # the longest first


def register_secret(text: str) -> None:
    """Mask ``text`` from now on, including its escaped forms, its base64 and its hexadecimal."""
    global _known  # noqa: PLW0603 - replaced, since other threads read it
    forms = {form for form in _forms(text) if len(form) >= _MIN_CHARACTERS}
    with _lock:
        _known = tuple(sorted({*_known, *forms}, key=len, reverse=True))


def register_basic_auth(username: str, password: str = "") -> None:
    """Mask a user name, its password, and the header that contains both."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    for text in (username, password, pair):
        if text:
            register_secret(text)


def _forms(text: str) -> set[str]:
    forms = {form.strip() for form in decodings(text)}
    if "\n" in text:  # each line of a PEM key is secret
        forms.update(line.strip() for line in text.splitlines())
    # the last characters may become an escape together with those that follow
    forms |= {form.rstrip("\\%&=") for form in forms}
    forms |= {" ".join(form.split()) for form in forms}  # as in a message of one line
    forms |= {form.replace(" ", "+") for form in forms}  # as in an HTML form
    written = {quote(text, safe=""), json.dumps(text)[1:-1]}  # within base64
    forms |= {encoded for form in forms | written for encoded in _base64_forms(form)}
    digits = text.encode("utf-8", "surrogatepass").hex()
    return forms | {digits, digits.upper()} if len(text) >= _MIN_CHARACTERS else forms


def _base64_forms(text: str) -> Iterator[str]:
    """Yield the base64 of a text, alone and within a longer one."""
    content = text.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content).decode()
        # the characters at both ends also depend on the adjacent text
        first = -(-before * 8 // 6)
        last = (before + len(content)) * 8 // 6
        inner = encoded[first:last]
        if len(inner) >= _MIN_BASE64_CHARACTERS:
            yield from (inner, inner.translate(_URL_SAFE))


@lru_cache(maxsize=1)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, secrets)))


def redact(text: str) -> str:
    """Return ``text`` with every registered secret replaced by a mask."""
    known = _known
    forms = decodings(text)
    if not any(secret in form for form in forms for secret in known):
        return text  # common case; the pattern of a private key takes long to compile
    spans = [
        (indexes[found.start()], indexes[found.end()])
        for form, indexes in zip(forms, starts(forms), strict=True)
        for found in _pattern(known).finditer(form)
    ]
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += text[end:start], MASK
        end = max(end, stop)
    return "".join(parts) + text[end:]


def redacted_head(text: str | bytes, max_characters: int) -> str:
    """Return the beginning of a text on one line, redacted and then cut.

    A text that was cut before may end with a part of a secret, which would not be recognized.
    A text of ``HEAD_BYTES`` or more counts as cut: what may be such a part is left out.
    """
    head = text[:HEAD_BYTES]
    line = redact(head.decode("utf-8", "replace") if isinstance(head, bytes) else head)
    line = redact(" ".join(line.split()))
    if len(head) == HEAD_BYTES and _known:
        line = line[: -_MAX_ESCAPED * len(_known[0])]
    return line if len(line) <= max_characters else f"{line[:max_characters]}…"


class RedactingFilter(logging.Filter):
    """Masks secrets and escapes control characters in log records and their tracebacks."""

    _formatter = logging.Formatter()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        shown = escape_controls(redact(message.rstrip()))
        if shown != message:
            record.msg, record.args = shown, None
        record.name = escape_controls(record.name)  # a sink's logger has the name of its stream
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            text = "\n".join(map(escape_controls, redact(record.exc_text).split("\n")))
            if text != record.exc_text:
                # formatters that ignore exc_text would format the exception again
                record.exc_text, record.exc_info = text, None
        return True


def log_handlers() -> Iterator[logging.Handler]:
    """Yield every handler, including those of a logging configuration."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for logger in loggers:
        yield from logger.handlers


def redact_logs() -> None:
    """Add the filter to every handler."""
    for handler in log_handlers():
        if not any(isinstance(each, RedactingFilter) for each in handler.filters):
            handler.addFilter(RedactingFilter())
