"""User activities: the rules of the document type USER_ACTIVITY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from target_mediarithmics import conversions as to
from target_mediarithmics import identifiers, rules
from target_mediarithmics.documents import DocumentType
from target_mediarithmics.identifiers import ACTIVITY_IDENTIFIERS, is_empty
from target_mediarithmics.plain import Milliseconds, Plain, Text, shape
from target_mediarithmics.rules import Page, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACTIVITY_TYPES = (
    *("SITE_VISIT", "APP_VISIT", "DISPLAY_AD", "EMAIL", "TOUCH", "RECOMMENDER"),
    *("USER_SCENARIO_START", "USER_SCENARIO_STOP"),
    *("USER_SCENARIO_NODE_ENTER", "USER_SCENARIO_NODE_EXIT"),
)
_SESSION_STATUSES = ("NO_SESSION", "IN_SESSION", "CLOSED_SESSION", "SESSION_SNAPSHOT")
_PLAIN_EVENT: Any = shape({"$event_name": Text}, {"$ts": Milliseconds, "$properties": dict})


def activity() -> DocumentType:
    """Return the document type USER_ACTIVITY."""
    page = Page.ACTIVITIES
    return DocumentType(
        conversions=(
            to.without_empty_text("$session_status", "$ts", "$ttl", "$events"),
            to.nested("$events", to.without_empty_text("$ts", "$properties")),
            to.fields(to.to_text, "$user_account_id", "$user_agent_id"),
            to.fields(to.to_whole, "$compartment_id"),
            to.fields(to.to_integer, "$ts", "$ttl"),
            to.nested("$events", to.fields(to.to_integer, "$ts")),
        ),
        rejected=(
            rules.text("$user_account_id", page),
            rules.text("$user_agent_id", page),
            rules.milliseconds("$ts", page),
            rules.list_of_objects("$events", page, optional=True),
            rules.within("$events", rules.milliseconds("$ts", page)),
        ),
        unusual=_unusual_activity(),
        recommended=(
            Rule(
                "$unique_key",
                "is not a UUID of version 1; in the mapping, {{ … | uuid1 }} makes one",
                page,
                lambda document: (
                    not is_empty(document.get("$unique_key"))
                    and not rules.is_uuid_1(document["$unique_key"])
                ),
            ),
        ),
        plain=Plain(
            required={"$type": Literal[_ACTIVITY_TYPES]},
            optional={
                "$session_status": Literal[_SESSION_STATUSES],
                "$ts": Milliseconds,
                "$ttl": int,
                "$user_account_id": Text,
                "$user_agent_id": Text,
                "$compartment_id": Text,
                "$events": list[_PLAIN_EVENT],
            },
            exactly_one=(ACTIVITY_IDENTIFIERS,),
            absent=("operation", "$user_identifiers"),
        ),
        unique_field="$unique_key",
        identify=identifiers.of_activity,
    )


def _unusual_activity() -> tuple[Rule, ...]:
    page = Page.ACTIVITIES
    return (
        Rule(
            "$user_account_id",
            "the activity has no user identifier",
            Page.BULK,
            lambda activity: _count_identifiers(activity) == 0,
        ),
        Rule(
            ", ".join(ACTIVITY_IDENTIFIERS),
            "the activity has several identifiers",
            Page.BULK,
            lambda activity: _count_identifiers(activity) > 1,
        ),
        rules.list_of_objects("$user_identifiers", page, optional=True),
        rules.one_of("$type", _ACTIVITY_TYPES, page),
        rules.one_of("$session_status", _SESSION_STATUSES, page, optional=True),
        rules.within("$events", rules.non_empty_text("$event_name", page)),
        rules.within(
            "$events",
            Rule(
                "$properties",
                "should be an object",
                page,
                lambda event: (
                    not is_empty(event.get("$properties"))
                    and not isinstance(event["$properties"], dict)
                ),
            ),
        ),
        Rule("operation", "an activity has none", page, lambda document: "operation" in document),
    )


def _count_identifiers(activity: Mapping[str, Any]) -> int:
    return sum(1 for name in ACTIVITY_IDENTIFIERS if activity.get(name))
