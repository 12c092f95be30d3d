"""The records that Mona builds from accepted messages: one per arc class and context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.store import Store

#: The merge key of Mona: arc class and context id.
Key = tuple[str, str]


def merge(messages: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """Return the records of the messages, in order of arrival.

    OVERWRITE replaces fields of the record, and null removes its field. ADD appends to each
    field's list, which the first value starts. NEW replaces the record with the message.
    """
    records: dict[Key, dict[str, Any]] = {}
    for item in messages:
        record = records.setdefault((item["arc_class"], item["context_id"]), {})
        if item["action"] == "NEW":
            record.clear()
        for name, value in item["message"].items():
            if item["action"] == "ADD":
                record[name] = _appended(record.get(name), value)
            elif value is None:
                record.pop(name, None)
            else:
                record[name] = value
    return records


def _appended(known: Any, value: Any) -> list[Any]:
    values = known if isinstance(known, list) else [] if known is None else [known]
    return [*values, *(value if isinstance(value, list) else [value])]


def read_messages(store: Store) -> list[dict[str, Any]]:
    """Return every accepted message as dictionaries, in order of arrival."""
    return [
        {**row, "message": json.loads(row["message"])}
        for row in store.rows(
            "SELECT request, arc_class, context_id, given, action, export_timestamp, message"
            " FROM mona_messages ORDER BY number",
        )
    ]


def overlaps(
    requests: list[RecordedRequest],
) -> list[tuple[Key, RecordedRequest, RecordedRequest]]:
    """Return the pairs of concurrent requests that had the same key."""
    found = []
    last: dict[Key, RecordedRequest] = {}
    for request in sorted(requests, key=lambda item: item.started):
        for key in request.notes.get("keys", ()):
            earlier = last.get(key)
            if earlier is not None and _ended(earlier) > request.started:
                found.append((key, earlier, request))
            if earlier is None or _ended(request) > _ended(earlier):
                last[key] = request
    return found


def _ended(request: RecordedRequest) -> float:
    return float("inf") if request.ended is None else request.ended
