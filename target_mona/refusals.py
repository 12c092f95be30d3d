"""Which messages of a request Mona refused.

The vendor's page shows ``{"failed": n, "failure_reasons": {...}}`` and leaves open what
the keys are. Places, context ids and both are understood; what remains ambiguous is not
guessed at.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class _Message(msgspec.Struct):
    contextId: str | None = None  # noqa: N815 - the vendor's name


def culprits(content: dict[str, Any], messages: Sequence[bytes]) -> dict[int, str] | None:
    """Tell the refused messages.

    Args:
        content: The answer.
        messages: The messages of the request.

    Returns:
        The reasons by place in the request, or None when the answer does not tell.
    """
    entries = list(_entries(content.get("failure_reasons")))
    failed = content.get("failed")
    count = failed if isinstance(failed, int) else len(entries)
    if count == len(messages):
        general = "; ".join(dict.fromkeys(reason for _, _, reason in entries)) or "refused"
        known = _one_reading(entries, messages, count)
        return known or dict.fromkeys(range(count), general)
    return _one_reading(entries, messages, count)


def _one_reading(
    entries: list[tuple[str, str | None, str]], messages: Sequence[bytes], count: int
) -> dict[int, str] | None:
    """Return what the entries say, if only one way of reading them makes sense."""
    places = _context_places(messages)
    readings = [
        reading
        for reading in (_by_place(entries, messages), _by_context(entries, places))
        if reading is not None and len(reading) == count
    ]
    if not readings or any(reading != readings[0] for reading in readings[1:]):
        return None
    return readings[0]


def _entries(reasons: Any) -> Iterator[tuple[str, str | None, str]]:
    """Yield key, context id where it is given beside, and reason."""
    if isinstance(reasons, dict):
        for key, value in reasons.items():
            yield _place_of(value, key), _context_of(value), _text(value)
    elif isinstance(reasons, list):
        for value in reasons:
            yield _place_of(value, ""), _context_of(value), _text(value)


def _by_place(
    entries: list[tuple[str, str | None, str]], messages: Sequence[bytes]
) -> dict[int, str] | None:
    result = {}
    for key, _, reason in entries:
        digits, separator, _rest = key.partition(":")
        if not digits.isdecimal() or int(digits) >= len(messages):
            return None
        if separator and _context(messages[int(digits)]) != _rest:
            return None
        result[int(digits)] = reason
    return result


def _by_context(
    entries: list[tuple[str, str | None, str]], places: dict[str, list[int]]
) -> dict[int, str] | None:
    result = {}
    for key, context, reason in entries:
        found = places.get(context if context is not None else key)
        if found is None:
            return None
        result.update(dict.fromkeys(found, reason))
    return result


def _context_places(messages: Sequence[bytes]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, message in enumerate(messages):
        context = _context(message)
        if context is not None:
            places[context].append(place)
    return dict(places)


def _context(message: bytes) -> str | None:
    return msgspec.json.decode(message, type=_Message).contextId


def _place_of(value: Any, key: str) -> str:
    if isinstance(value, dict):
        for name in ("index", "message_index", "position"):
            if isinstance(value.get(name), int):
                return str(value[name])
    return key


def _context_of(value: Any) -> str | None:
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
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
