"""Keeping secrets out of every line that leaves the process."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import threading
from urllib.parse import quote, quote_plus

from singer_martech._compat import override
from singer_martech.runtime.escapes import escape_controls

MASK = "[secret]"
_MIN_CHARACTERS = 4
"""Shorter texts stand in ordinary words; hiding them would make every line unreadable."""

_PERCENT = re.compile("%[0-9A-F]{2}")

_lock = threading.Lock()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def register_secret(text: str) -> None:
    """Hide ``text`` from now on, also where it is escaped for a URL, JSON, HTML or Python."""
    quoted = {quote(text), quote(text, safe=""), quote_plus(text)}
    lower = {_PERCENT.sub(lambda found: found[0].lower(), form) for form in quoted}
    in_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    slashes = {form.replace("/", "\\/") for form in in_json}  # as PHP writes them
    forms = {text, text.strip(), " ".join(text.split()), *quoted, *lower, *in_json, *slashes}
    forms |= {repr(text)[1:-1], html.escape(text), html.escape(text, quote=False)}
    if "\n" in text:  # of a PEM key, every line is a part of the secret
        forms.update(line.strip() for line in text.splitlines())
    with _lock:
        before = len(_known)
        _known.update(form for form in forms if len(form) >= _MIN_CHARACTERS)
        if len(_known) != before:
            _compile()


def register_basic_auth(username: str, password: str = "") -> None:
    """Hide a user name, its password and the header that carries both."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    for text in (username, password, pair):
        if text:
            register_secret(text)


def _compile() -> None:
    global _pattern  # noqa: PLW0603 - one compiled pattern for the whole process
    longest_first = sorted(_known, key=len, reverse=True)
    _pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """Return ``text`` with every registered secret replaced by a mask."""
    return text if _pattern is None else _pattern.sub(MASK, text)


class RedactingFilter(logging.Filter):
    """Masks secrets in log records and tracebacks; escapes control characters in messages."""

    _formatter = logging.Formatter()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        shown = escape_controls(redact(message.rstrip()))
        if shown != message:
            record.msg, record.args = shown, None
        if _pattern is None:
            return True
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text and redact(record.exc_text) != record.exc_text:
            # formatters that ignore exc_text would format the exception anew
            record.exc_text, record.exc_info = redact(record.exc_text), None
        return True


def redact_logs() -> None:
    """Put the filter on every handler, also those that a logging configuration added."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in (handler for logger in loggers for handler in logger.handlers):
        if not any(isinstance(each, RedactingFilter) for each in handler.filters):
            handler.addFilter(RedactingFilter())
