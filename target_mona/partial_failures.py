"""Find the messages of a request that Mona rejected, and the reasons.

The response to a partial rejection is ``{"failed": n, "failure_reasons": {...}}``. The keys are not
documented: indexes, context ids, both, and lists of either are understood. An ambiguous response
identifies no message.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_INDEX_DIGITS = 9
"""No request has more messages; Python does not convert thousands of digits to an integer."""


class _Message(msgspec.Struct):
    contextId: str | None = None  # noqa: N815 - the vendor's name


class _Entry(NamedTuple):
    """A rejected message, or several with one context id.

    Attributes:
        name: An index, a context id, or ``index:context id``.
        position: The index, where it is certain.
        context: The context id, where it is certain.
        reason: Why it was rejected.
    """

    name: str | None
    position: int | None
    context: str | None
    reason: str


def is_partial(content: Any) -> bool:
    """Whether a response says that some messages were rejected and others accepted."""
    return isinstance(content, dict) and bool(
        content.get("failed") or content.get("failure_reasons")
    )


def rejected_indexes(content: dict[str, Any], messages: Sequence[bytes]) -> dict[int, str] | None:
    """Identify the rejected messages.

    Returns:
        The reasons by index in the request, or None if the response does not identify them.
    """
    contexts = [_context_id(message) for message in messages]
    entries = list(_entries(content.get("failure_reasons"), contexts))
    failed = content.get("failed")
    count = failed if isinstance(failed, int) and not isinstance(failed, bool) else None
    known = _one_reading(entries, contexts, count)
    if known is None and (count == len(messages) or len(messages) == 1):
        general = "; ".join(dict.fromkeys(entry.reason for entry in entries))
        return dict.fromkeys(range(len(messages)), general or "rejected without a reason")
    return known


def _context_id(message: bytes) -> str | None:
    try:
        return msgspec.json.decode(message, type=_Message).contextId
    except msgspec.DecodeError:  # msgspec does not accept lone surrogates
        context_id: str | None = json.loads(message).get("contextId")
        return context_id


def _one_reading(
    entries: list[_Entry], contexts: list[str | None], count: int | None
) -> dict[int, str] | None:
    """Return the reasons by index, if only one interpretation of the entries is possible."""
    by_context = _by_context(entries, contexts)
    if (
        by_context
        and len(by_context) > len(entries)
        and (None in contexts or count != len(by_context))
    ):
        return None  # the context id of several messages may stand for any of them
    readings = [
        reading
        for reading in (_by_index(entries, contexts), by_context, _by_both(entries, contexts))
        if reading and count in {None, len(reading)}
    ]
    if not readings or any(reading.keys() != readings[0].keys() for reading in readings[1:]):
        return None
    return readings[0]


def _by_index(entries: list[_Entry], contexts: list[str | None]) -> dict[int, str] | None:
    result = {}
    for entry in entries:
        index = entry.position
        if index is None:
            digits, separator, context = (entry.name or "").partition(":")
            index = int(digits) if _is_index(digits) else None
            if index is None or index >= len(contexts):
                return None
            if separator and contexts[index] != context:
                return None
        elif not 0 <= index < len(contexts) or entry.context not in {None, contexts[index]}:
            return None
        result[index] = entry.reason
    return result


def _by_context(entries: list[_Entry], contexts: list[str | None]) -> dict[int, str] | None:
    indexes = _indexes_by_context(contexts)
    result = {}
    for entry in entries:
        found = indexes.get(entry.name if entry.context is None else entry.context)
        if found is None:
            return None
        result.update(dict.fromkeys(found, entry.reason))
    return result


def _by_both(entries: list[_Entry], contexts: list[str | None]) -> dict[int, str] | None:
    """Interpret the entries as two for each message, or one if it has no context id."""
    reasons = {entry.name: entry.reason for entry in entries if entry.name is not None}
    if len(reasons) != len(entries):
        return None
    result = {}
    used: set[str] = set()
    for index, context in enumerate(contexts):
        names = {str(index)} if context is None else {str(index), context}
        if names <= reasons.keys():
            result[index] = reasons[str(index)]
            used |= names
    return result if used == reasons.keys() else None


def _indexes_by_context(contexts: list[str | None]) -> dict[str | None, list[int]]:
    indexes: dict[str | None, list[int]] = defaultdict(list)
    for index, context in enumerate(contexts):
        if context is not None:
            indexes[context].append(index)
    return dict(indexes)


def _entries(reasons: Any, contexts: list[str | None]) -> Iterator[_Entry]:
    if isinstance(reasons, dict):
        known = set(contexts)
        for name, value in reasons.items():
            yield from _entries_of(name, value, known)
    elif isinstance(reasons, list):
        for value in reasons:
            yield _Entry(None, _index_in(value), _context_in(value), _text(value))
    elif isinstance(reasons, str) and reasons:
        yield _Entry(None, None, None, reasons)  # identifies no message


def _entries_of(name: str, value: Any, contexts: set[str | None]) -> Iterator[_Entry]:
    if _is_list_of(int, value):
        for index in value:
            yield _Entry(None, index, None, name)
    elif _is_list_of(str, value):
        if name not in contexts and contexts.issuperset(value):
            for context in value:
                yield _Entry(None, None, context, name)
        else:  # several reasons of one message
            yield _Entry(name, None, None, "; ".join(value))
    else:
        index, context = _index_in(value), _context_in(value)
        known = index is not None or context is not None
        yield _Entry(None if known else name, index, context, _text(value))


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(each, kind) for each in value)


def _is_index(text: str) -> bool:
    is_number = len(text) <= _MAX_INDEX_DIGITS and text.isascii() and text.isdecimal()
    return is_number and (text == "0" or text[0] != "0")


def _index_in(value: Any) -> int | None:
    if isinstance(value, dict):
        for name in ("index", "message_index", "position"):
            if isinstance(value.get(name), int):
                return int(value[name])
    return None


def _context_in(value: Any) -> str | None:
    if isinstance(value, dict):
        for name in ("contextId", "context_id"):
            if isinstance(value.get(name), str):
                return str(value[name])
    return None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        for name in ("reason", "error", "message"):
            if isinstance(value.get(name), str):
                return str(value[name])
    if isinstance(value, str):
        return value
    # unlike msgspec, it accepts lone surrogates
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
