"""Mask secrets and escape control characters in all output of the process."""

from __future__ import annotations

import base64
import logging
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from singer_martech._compat import override
from singer_martech.runtime.escapes import decodings, escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "[secret]"
_MIN_CHARACTERS = 4
"""Shorter secrets are parts of ordinary words: masking them would make every line unreadable."""

_MIN_BASE64_CHARACTERS = 8
_URL_SAFE = str.maketrans("+/", "-_")

_lock = threading.Lock()
_known: tuple[str, ...] = ()  # the longest first


def register_secret(text: str) -> None:
    """Mask ``text`` from now on, including its escaped forms and its base64."""
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
    forms = {form.strip() for form, _ in decodings(text)}
    if "\n" in text:  # each line of a PEM key is secret
        forms.update(line.strip() for line in text.splitlines())
    forms |= {" ".join(form.split()) for form in forms}  # as in a message of one line
    forms |= {form.replace(" ", "+") for form in forms}  # as in an HTML form
    forms |= {encoded for form in forms for encoded in _base64_forms(form)}
    return forms


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
    is_escaped = any(mark in text for mark in "\\%&")
    forms = decodings(text) if is_escaped else [(text, range(len(text) + 1))]
    if not any(secret in form for form, _ in forms for secret in known):
        return text  # common case; the pattern of a private key takes long to compile
    spans = [
        (starts[found.start()], starts[found.end()])
        for form, starts in forms
        for found in _pattern(known).finditer(form)
    ]
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += text[end:start], MASK
        end = max(end, stop)
    return "".join(parts) + text[end:]


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


def redact_logs() -> None:
    """Add the filter to every handler, including those of a logging configuration."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in (handler for logger in loggers for handler in logger.handlers):
        if not any(isinstance(each, RedactingFilter) for each in handler.filters):
            handler.addFilter(RedactingFilter())
