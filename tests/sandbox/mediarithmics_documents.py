"""The documents of the mediarithmics imports: what one line of each type must be."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

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

#: Epoch milliseconds of 1990 and of 2100: a time in seconds or in microseconds lies outside.
_EARLIEST_MS = 631_152_000_000
_LATEST_MS = 4_102_444_800_000

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)

_DECLARED_IDENTIFIERS = {
    "USER_EMAIL": "hash",
    "USER_AGENT": "user_agent_id",
    "USER_ACCOUNT": "user_account_id",
    "USER_POINT": "user_point_id",
}

Document = dict[str, Any]


class LineError(Exception):
    """Why a line is not taken."""


def parse_lines(file: IO[bytes], mime_type: str) -> Iterator[tuple[int, str, Any]]:
    """Yield number, text and content of every line that holds something.

    The content is a LineError for a line that cannot be parsed. Numbers count from 1; in CSV
    they count the rows below the header.
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
            document = json.loads(text, parse_constant=_refuse_constant)
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
    header = next(rows, [])
    number = 0
    try:
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


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)


def check_document(document_type: str, document: Document, mime_type: str) -> None:
    """Check one line against the rules of its type; a type that is not known takes any object.

    Raises:
        LineError: The line breaks a rule; the message names the field.
    """
    check = _CHECKS.get(document_type)
    if check:
        check(document, mime_type == "TEXT_CSV")


def identifier_of(document: Document, prefix: str = "") -> str:
    """Return the identifier of a line as text, such as `email_hash=5d41…`.

    Args:
        document: The line.
        prefix: `$` in activities, whose names all begin so.

    Raises:
        LineError: The line has no identifier, or more than one.
    """
    found = []
    account = document.get(f"{prefix}user_account_id")
    compartment = document.get(f"{prefix}compartment_id")
    if account is not None:
        where = f"compartment_id={compartment}," if compartment is not None else ""
        found.append(where + f"user_account_id={_identifier(account, 'user_account_id')}")
    elif compartment is not None:
        raise LineError(f"{prefix}compartment_id needs {prefix}user_account_id")
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
    return value


def _activity(document: Document, _: bool) -> None:
    identifier_of(document, "$")
    if "operation" in document:
        raise LineError("operation: an activity has none")
    _one_of(document, "$type", ACTIVITY_TYPES)
    _one_of(document, "$session_status", SESSION_STATUSES)
    _milliseconds(document.get("$ts"), "$ts")
    unique_key = document.get("$unique_key")
    if unique_key is not None and not (isinstance(unique_key, str) and _UUID.match(unique_key)):
        raise LineError("$unique_key must be a UUID")
    events = document.get("$events")
    if not isinstance(events, list):
        raise LineError("$events must be a list")
    for event in events:
        if not isinstance(event, dict):
            raise LineError("$events: an event is an object")
        _identifier(event.get("$event_name"), "$event_name")
        _milliseconds(event.get("$ts"), "$events.$ts")
        if not isinstance(event.get("$properties", {}), dict):
            raise LineError("$events.$properties must be an object")


def _profile(document: Document, _: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPSERT", "DELETE"})
    if document["operation"] == "DELETE":
        return
    if "update_strategy" in document:
        _one_of(document, "update_strategy", UPDATE_STRATEGIES)
    profile = document.get("user_profile")
    if not isinstance(profile, dict):
        raise LineError("user_profile must be an object")
    for name in ("user_account_id", "compartment_id"):
        if name in document and profile.get(f"${name}") != document[name]:
            raise LineError(f"user_profile must repeat ${name}")


def _segment(document: Document, text: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPDATE", "DELETE"})
    segments = [name for name in ("segment_id", "segment_technical_name") if name in document]
    if len(segments) != 1:
        raise LineError("segment_id or segment_technical_name is needed, and not both")
    _identifier(document[segments[0]], segments[0])
    duration = document.get("expiration_duration")
    if text and isinstance(duration, str) and duration.isdigit():
        duration = int(duration)
    if duration is None and document["operation"] == "DELETE":
        return
    if not isinstance(duration, int) or isinstance(duration, bool) or duration < 0:
        raise LineError("expiration_duration must be a number of minutes")


def _choice(document: Document, _: bool) -> None:
    identifier_of(document)
    _one_of(document, "operation", {"UPSERT", "DELETE"})
    choice = document.get("user_choice")
    if not isinstance(choice, dict):
        raise LineError("user_choice must be an object")
    _identifier(choice.get("$processing_id"), "user_choice.$processing_id")
    if document["operation"] == "UPSERT":
        _milliseconds(choice.get("$choice_ts"), "user_choice.$choice_ts")


def _association(document: Document, _: bool) -> None:
    _declared_list(document, at_least=2)


def _dissociation(document: Document, _: bool) -> None:
    _declared_list(document, at_least=1)


def _declared_list(document: Document, at_least: int) -> None:
    identifiers = document.get("identifiers")
    if not isinstance(identifiers, list) or len(identifiers) < at_least:
        raise LineError(f"identifiers must be a list of {at_least} or more")
    for identifier in identifiers:
        if not isinstance(identifier, dict):
            raise LineError("identifiers: each is an object")
        _declared(identifier, {"USER_EMAIL", "USER_AGENT", "USER_ACCOUNT"})


def _identifier_deletion(document: Document, _: bool) -> None:
    _declared(document, {"USER_EMAIL", "USER_AGENT", "USER_ACCOUNT"})


def _point_deletion(document: Document, _: bool) -> None:
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


_CHECKS: dict[str, Callable[[Document, bool], None]] = {
    "USER_ACTIVITY": _activity,
    "USER_PROFILE": _profile,
    "USER_SEGMENT": _segment,
    "USER_CHOICE": _choice,
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS": _association,
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS": _dissociation,
    "USER_IDENTIFIERS_DELETION": _identifier_deletion,
    "USER_POINTS_DELETION": _point_deletion,
}


def error_line(shape: str, number: int, text: str, reason: str) -> str:
    """Return a line of an error file, in one of the shapes that a client has to live with.

    Shapes: `line_number` (`Line 3: reason`), `echo` (the line as it was sent), `json` (number,
    reason and the line as text) and `json_echo` (reason and document, no number). The fourth
    kind, `free_text`, has no lines of its own.
    """
    if shape == "line_number":
        return f"Line {number}: {reason}"
    if shape == "echo":
        return text
    if shape == "json":
        return json.dumps({"line": number, "error": reason, "input": text})
    if shape == "json_echo":
        try:
            document: Any = json.loads(text)
        except ValueError:
            document = text
        return json.dumps({"error": reason, "document": document}, ensure_ascii=False)
    if shape == "free_text":
        return "Some documents could not be imported. Please check your file."
    message = f"No shape of error lines is called {shape!r}"
    raise ValueError(message)
