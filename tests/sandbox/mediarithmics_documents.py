"""The documents of the mediarithmics imports: the rules for a line of each type."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.sandbox.json_text import is_unicode, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    Check = Callable[["Document", "Rules", bool], None]

CONTENT_TYPES = {
    "APPLICATION_X_NDJSON": "application/x-ndjson",
    "TEXT_CSV": "text/csv",
}

PRIORITIES = frozenset({"HIGH", "MEDIUM", "LOW"})

ACTIVITY_TYPES = frozenset(
    {
        "SITE_VISIT",
        "APP_VISIT",
        "DISPLAY_AD",
        "EMAIL",
        "RECOMMENDER",
        "TOUCH",
        "USER_SCENARIO_START",
        "USER_SCENARIO_STOP",
        "USER_SCENARIO_NODE_ENTER",
        "USER_SCENARIO_NODE_EXIT",
    },
)

SESSION_STATUSES = frozenset(
    {"NO_SESSION", "IN_SESSION", "CLOSED_SESSION", "SESSION_SNAPSHOT"},
)

UPDATE_STRATEGIES = frozenset({"PARTIAL_UPDATE", "PARTIAL_DELETE", "FORCE_REPLACE"})

#: Epoch milliseconds of 1990 and 2100: times in seconds or microseconds are outside.
_EARLIEST_MS = 631_152_000_000
_LATEST_MS = 4_102_444_800_000

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,18}")
_MAX_DURATION = 2**31 - 1

#: The optional identifiers of an activity.
_ACTIVITY_IDENTIFIERS = (
    "$user_account_id",
    "$user_agent_id",
    "$email_hash",
    "$user_identifiers",
)

_DECLARED_IDENTIFIERS = {
    "USER_EMAIL": "hash",
    "USER_AGENT": "user_agent_id",
    "USER_ACCOUNT": "user_account_id",
    "USER_POINT": "user_point_id",
}

Document = dict[str, Any]


class LineError(Exception):
    """The reason why a line is rejected."""


@dataclass
class Rules:
    """The rules of the vendor's pages to enforce; a test may switch each.

    Attributes:
        force_replace: A USER_CHOICE with UPSERT needs `force_replace`, according to the page on
            user choices.
        json_data_bag: The `data_bag` of a USER_SEGMENT is JSON text, according to the page on
            user segments.
        uuid1_keys: A `$unique_key` is a version 1 UUID, according to the page on activities.
            Without this rule any version is accepted.
        csv_for_segments_only: TEXT_CSV is for USER_SEGMENT; the pages of the other types allow
            ndjson only. Without this rule it is rejected for USER_ACTIVITY only.
    """

    force_replace: bool = True
    json_data_bag: bool = True
    uuid1_keys: bool = True
    csv_for_segments_only: bool = True


def parse_lines(file: IO[bytes], mime_type: str) -> Iterator[tuple[int, str, Any]]:
    """Yield number, text and content of every line that is not empty.

    The content is a LineError if the line cannot be parsed. Numbers start at 1; in CSV they
    count the rows below the header.
    """
    if mime_type == "TEXT_CSV":
        yield from _parse_csv(file)
        return
    for number, raw in enumerate(file, start=1):
        if not raw.strip():
            continue
        try:
            text = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            yield number, raw.decode(errors="replace").rstrip("\r\n"), LineError("not UTF-8")
            continue
        try:
            document = read_json(text)
        except ValueError:
            yield number, text, LineError("not a JSON document")
            continue
        if isinstance(document, dict):
            yield number, text, document
        else:
            yield number, text, LineError("a line holds one JSON object")


def _parse_csv(file: IO[bytes]) -> Iterator[tuple[int, str, Any]]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.reader(text, strict=True)
    number = 0
    try:
        header = next(rows, [])
        for number, row in enumerate(rows, start=1):
            if not row:
                continue
            line = _csv_line(row)
            if len(row) != len(header):
                yield number, line, LineError(f"{len(row)} cells under {len(header)} columns")
                continue
            document = {name: cell for name, cell in zip(header, row, strict=True) if cell != ""}
            yield number, line, document
    except (csv.Error, UnicodeDecodeError) as error:
        yield number + 1, "", LineError(f"not a CSV row: {error}")
    finally:
        text.detach()


def _csv_line(row: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(row)
    return out.getvalue()


def check_document(
    document_type: str,
    document: Document,
    mime_type: str,
    rules: Rules,
) -> None:
    """Check one line against the rules of its type; an unknown type accepts any object.

    Args:
        document_type: The type.
        document: The line.
        mime_type: In CSV every value is text.
        rules: The rules to enforce.

    Raises:
        LineError: The line breaks a rule; the message names the field.
    """
    check = _CHECKS.get(document_type)
    if check:
        check(document, rules, mime_type == "TEXT_CSV")


def identifier_of(document: Document, prefix: str = "") -> str:
    """Return the identifier of a line as text, such as `email_hash=5d41…`.

    A compartment beside an e-mail address identifies nothing.

    Args:
        document: The line.
        prefix: `$` in activities, whose names all start with it.

    Raises:
        LineError: The line has no identifier, or more than one.
    """
    found = []
    account = document.get(f"{prefix}user_account_id")
    compartment = document.get(f"{prefix}compartment_id")
    if account is not None:
        where = "" if compartment is None else f"compartment_id={compartment},"
        _unicode(where, "compartment_id")
        found.append(where + f"user_account_id={_identifier(account, 'user_account_id')}")
    agent = document.get(f"{prefix}user_agent_id")
    if agent is not None:
        found.append(f"user_agent_id={_identifier(agent, 'user_agent_id')}")
    email = document.get(f"{prefix}email_hash")
    if email is not None:
        found.append(f"email_hash={_email(email, hashed=not prefix)}")
    if not found:
        raise LineError("no user identifier")
    if len(found) > 1:
        raise LineError("only one user identifier is allowed per line")
    return found[0]


def _email(value: object, *, hashed: bool) -> str:
    if not hashed and isinstance(value, dict):
        value = value.get("$hash") or value.get("$email")
    return _identifier(value, "email_hash")


def _identifier(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"{name} must be a text that is not empty")
    return _unicode(value, name)


def _unicode(text: str, name: str) -> str:
    if not is_unicode(text):
        raise LineError(f"{name} must be valid Unicode text")
    return text


def _activity(document: Document, rules: Rules, _: bool) -> None:
    _activity_identifiers(document)
    if "operation" in document:
        raise LineError("operation: an activity has none")
    _one_of(document, "$type", ACTIVITY_TYPES)
    if document.get("$session_status") is not None:
        _one_of(document, "$session_status", SESSION_STATUSES)
    if document.get("$ts") is not None:
        _milliseconds(document["$ts"], "$ts")
    _unique_key(document.get("$unique_key"), rules)
    events = document.get("$events")
    if not isinstance(events, list | None):
        raise LineError("$events must be a list")
    for event in events or ():
        if not isinstance(event, dict):
            raise LineError("$events: an event is an object")
        _identifier(event.get("$event_name"), "$event_name")
        if event.get("$ts") is not None:
            _milliseconds(event["$ts"], "$events.$ts")
        if not isinstance(event.get("$properties"), dict | None):
            raise LineError("$events.$properties must be an object")


def _activity_identifiers(document: Document) -> None:
    """Check that there is an identifier and that all identifiers are valid.

    Each is optional and may be null or empty beside another.
    """
    found = [name for name in _ACTIVITY_IDENTIFIERS if document.get(name) not in (None, "", [])]
    if not found:
        raise LineError("no user identifier")
    for name in found:
        value = document[name]
        if name == "$user_identifiers":
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                raise LineError("$user_identifiers must be a list of objects")
        elif name == "$email_hash":
            _email(value, hashed=False)
        else:
            _identifier(value, name)


def _unique_key(value: object, rules: Rules) -> None:
    if value is None or value == "":
        return
    if not (isinstance(value, str) and _UUID.match(value)):
        raise LineError("$unique_key must be a UUID")
    if rules.uuid1_keys and uuid.UUID(value).version != 1:
        raise LineError("$unique_key must be a UUID of version 1")


def _profile(document: Document, _: Rules, __: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPSERT", "DELETE"})
    if document["operation"] == "DELETE":
        return
    if "update_strategy" in document:
        _one_of(document, "update_strategy", UPDATE_STRATEGIES)
    if not isinstance(document.get("user_profile"), dict):
        raise LineError("user_profile must be an object")


def _segment(document: Document, rules: Rules, text: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPDATE", "DELETE"})
    names = ("segment_id", "segment_technical_name")
    segments = [name for name in names if document.get(name) is not None]
    if not segments:
        raise LineError("segment_id or segment_technical_name is needed")
    for name in segments:
        _identifier(document[name], name)
    if rules.json_data_bag:
        _data_bag(document.get("data_bag"))
    duration = document.get("expiration_duration")
    if text and isinstance(duration, str) and _DIGITS.fullmatch(duration):
        duration = int(duration)
    if duration is None and document["operation"] == "DELETE":
        return
    if not isinstance(duration, int) or isinstance(duration, bool):
        duration = -1
    if not 0 <= duration <= _MAX_DURATION:
        raise LineError("expiration_duration must be a number of minutes")


def _data_bag(value: object) -> None:
    if value is None:
        return
    try:
        read_json(value if isinstance(value, str) else "")
    except ValueError:
        raise LineError("data_bag must be text that holds JSON") from None


def _choice(document: Document, rules: Rules, _: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPSERT", "DELETE"})
    choice = document.get("user_choice")
    if not isinstance(choice, dict):
        raise LineError("user_choice must be an object")
    _identifier(choice.get("$processing_id"), "user_choice.$processing_id")
    if document["operation"] == "DELETE":
        return
    moment = choice.get("$choice_ts")
    if isinstance(moment, str) and _DIGITS.fullmatch(moment):
        moment = int(moment)  # text in the page's example
    _milliseconds(moment, "user_choice.$choice_ts")
    if rules.force_replace and not isinstance(document.get("force_replace"), bool):
        raise LineError("force_replace is mandatory for UPSERT")


def _declarations(document: Document, _: Rules, __: bool) -> None:
    # The vendor's own tests associate a single identifier, which creates its user point.
    identifiers = document.get("identifiers")
    if not isinstance(identifiers, list) or not identifiers:
        raise LineError("identifiers must be a list of one or more")
    for identifier in identifiers:
        if not isinstance(identifier, dict):
            raise LineError("identifiers: each is an object")
        _declared(identifier, {"USER_EMAIL", "USER_AGENT", "USER_ACCOUNT"})


def _identifier_deletion(document: Document, _: Rules, __: bool) -> None:
    _declared(document, {"USER_EMAIL", "USER_AGENT", "USER_ACCOUNT"})
    if document["type"] == "USER_AGENT" and document["user_agent_id"].startswith("udp:"):
        raise LineError("user_agent_id must not be a device point")


def _point_deletion(document: Document, _: Rules, __: bool) -> None:
    _declared(document, set(_DECLARED_IDENTIFIERS))


def _declared(identifier: Document, allowed: set[str]) -> None:
    _one_of(identifier, "type", allowed)
    name = _DECLARED_IDENTIFIERS[identifier["type"]]
    _identifier(identifier.get(name), name)


def _one_of(document: Document, name: str, allowed: frozenset[str] | set[str]) -> None:
    value = document.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise LineError(f"{name} must be one of {', '.join(sorted(allowed))}")


def _milliseconds(value: object, name: str) -> None:
    right = isinstance(value, int) and not isinstance(value, bool)
    if not right or not isinstance(value, int) or not _EARLIEST_MS <= value <= _LATEST_MS:
        raise LineError(f"{name} must be epoch milliseconds")


_CHECKS: dict[str, Check] = {
    "USER_ACTIVITY": _activity,
    "USER_PROFILE": _profile,
    "USER_SEGMENT": _segment,
    "USER_CHOICE": _choice,
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS": _declarations,
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS": _declarations,
    "USER_IDENTIFIERS_DELETION": _identifier_deletion,
    "USER_POINTS_DELETION": _point_deletion,
}


def error_line(shape: str, number: int, text: str, reason: str) -> str:
    """Return a line of an error file, in one of the shapes that clients must support.

    Shapes: `line_number` (`Line 3: reason`), `echo` (the line as sent), `json` (number, reason
    and the line as text) and `json_echo` (reason and document, no number). The fourth kind,
    `free_text`, has no lines.
    """
    if shape == "line_number":
        return f"Line {number}: {reason}"
    if shape == "echo":
        return text
    if shape == "json":
        return json.dumps({"line": number, "error": reason, "input": text})
    if shape == "json_echo":
        try:
            document: Any = read_json(text)
        except ValueError:
            document = text
        return json.dumps({"error": reason, "document": document}, ensure_ascii=False)
    if shape == "free_text":
        return "Some documents could not be imported. Please check your file."
    message = f"No shape of error lines is called {shape!r}"
    raise ValueError(message)
