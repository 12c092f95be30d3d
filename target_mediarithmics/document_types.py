"""The document types that are known here, and the rules of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_mediarithmics import conversions as to
from target_mediarithmics import identifiers, rules
from target_mediarithmics.documents import DocumentType
from target_mediarithmics.identifiers import ACTIVITY_IDENTIFIERS, IDENTIFIERS, given, is_empty
from target_mediarithmics.rules import Page, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_mediarithmics.conversions import Conversion

USER_SEGMENT = "USER_SEGMENT"
"""The one type that the vendor takes as CSV (vendor page: Segments import)."""

_ACTIVITY_TYPES = (
    *("SITE_VISIT", "APP_VISIT", "DISPLAY_AD", "EMAIL", "TOUCH", "RECOMMENDER"),
    *("USER_SCENARIO_START", "USER_SCENARIO_STOP"),
    *("USER_SCENARIO_NODE_ENTER", "USER_SCENARIO_NODE_EXIT"),
)
_SESSION_STATUSES = ("NO_SESSION", "IN_SESSION", "CLOSED_SESSION", "SESSION_SNAPSHOT")
_UPSERT = ("UPSERT", "DELETE")
_UPDATE = ("UPDATE", "DELETE")
_STRATEGIES = ("PARTIAL_UPDATE", "PARTIAL_DELETE", "FORCE_REPLACE")
_THREE_KINDS = ("USER_ACCOUNT", "USER_EMAIL", "USER_AGENT")


def _command_conversions(*optional: str) -> tuple[Conversion, ...]:
    """Return the conversions of a command.

    Args:
        optional: Its optional fields beside the identifiers; empty ones are left out.
    """
    user = (*IDENTIFIERS, "compartment_id")
    return to.without_empty(*user, *optional), to.fields(to.to_text, *user)


def _activity() -> DocumentType:
    page = Page.ACTIVITIES
    return DocumentType(
        conversions=(
            to.fields(to.to_text, "$user_account_id", "$user_agent_id"),
            to.fields(to.to_whole, "$compartment_id"),
            to.fields(to.to_integer, "$ts"),
            to.nested("$events", to.fields(to.to_integer, "$ts")),
        ),
        rejected=(
            rules.text("$user_account_id", page),
            rules.text("$user_agent_id", page),
            rules.milliseconds("$ts", page),
            rules.list_of_objects("$events", page, optional=True),
            rules.within("$events", rules.milliseconds("$ts", page)),
        ),
        unusual=tuple(_unusual_activity()),
        identify=identifiers.of_activity,
    )


def _unusual_activity() -> Iterator[Rule]:
    page = Page.ACTIVITIES
    yield Rule(
        "$user_account_id",
        "the activity has no user identifier",
        Page.BULK,
        lambda activity: _count_identifiers(activity) == 0,
    )
    yield Rule(
        ", ".join(ACTIVITY_IDENTIFIERS),
        "the activity has several identifiers",
        Page.BULK,
        lambda activity: _count_identifiers(activity) > 1,
    )
    yield rules.list_of_objects("$user_identifiers", page, optional=True)
    yield rules.one_of("$type", _ACTIVITY_TYPES, page)
    yield rules.one_of("$session_status", _SESSION_STATUSES, page, optional=True)
    yield Rule(
        "$unique_key",
        "is no UUID of version 1; in the mapping, {{ … | uuid1 }} makes one",
        page,
        lambda document: (
            not is_empty(document.get("$unique_key"))
            and not rules.is_uuid_1(document["$unique_key"])
        ),
    )
    yield rules.within("$events", rules.non_empty_text("$event_name", page))
    yield rules.within(
        "$events",
        Rule(
            "$properties",
            "should be an object",
            page,
            lambda event: not isinstance(event.get("$properties", {}), (dict, type(None))),
        ),
    )
    yield Rule("operation", "an activity has none", page, lambda document: "operation" in document)


def _count_identifiers(activity: Mapping[str, Any]) -> int:
    return sum(1 for name in ACTIVITY_IDENTIFIERS if activity.get(name))


def _profile() -> DocumentType:
    page = Page.PROFILES_IMPORT
    return DocumentType(
        operations=_UPSERT,
        conversions=(*_command_conversions("update_strategy"), to.complete_profile),
        rejected=(
            *rules.command(page, _UPSERT),
            rules.one_of("update_strategy", _STRATEGIES, page, optional=True),
            Rule(
                "user_profile",
                "must be an object, for UPSERT",
                page,
                lambda document: (
                    rules.is_upsert(document) and not rules.is_object(document.get("user_profile"))
                ),
            ),
        ),
        unusual=(
            Rule(
                "user_profile.$user_account_id",
                "is missing without an update_strategy, and the profile stays anonymous",
                Page.PROFILES,
                lambda document: (
                    rules.is_upsert(document)
                    and "update_strategy" not in document
                    and to.lacks_account(document, document["user_profile"])
                ),
            ),
        ),
        identify=identifiers.of_command,
    )


def _choice() -> DocumentType:
    page = Page.CHOICES_IMPORT
    return DocumentType(
        operations=_UPSERT,
        deletion_fields=("user_choice.$processing_id",),
        conversions=(
            *_command_conversions(),
            to.nested("user_choice", to.fields(to.to_text, "$processing_id")),
            to.nested("user_choice", to.fields(to.to_integer, "$choice_ts")),
        ),
        rejected=(
            *rules.command(page, _UPSERT),
            Rule(
                "force_replace",
                "must be true or false, for UPSERT",
                page,
                lambda document: (
                    rules.is_upsert(document)
                    and not isinstance(document.get("force_replace"), bool)
                ),
            ),
            Rule(
                "user_choice",
                "must be an object",
                page,
                lambda document: not rules.is_object(document.get("user_choice")),
            ),
            rules.within("user_choice", rules.non_empty_text("$processing_id", page)),
            Rule(
                "user_choice.$choice_ts",
                rules.NOT_MILLISECONDS,
                page,
                lambda document: (
                    rules.is_upsert(document)
                    and not rules.is_milliseconds(document["user_choice"].get("$choice_ts"))
                ),
            ),
        ),
        identify=identifiers.of_command,
    )


def _segment() -> DocumentType:
    page = Page.SEGMENTS_IMPORT
    segments = ("segment_id", "segment_technical_name")
    expiration = ("expiration_duration", "expiration_ts")
    return DocumentType(
        operations=_UPDATE,
        deletion_fields=(*segments, "expiration_duration"),
        conversions=(
            *_command_conversions(*segments, "data_bag", *expiration),
            to.fields(to.to_text, *segments),
            to.fields(to.to_integer, *expiration),
            to.fields(to.json_text, "data_bag"),
        ),
        rejected=(
            *rules.command(page, _UPDATE),
            *(rules.text(name, page) for name in segments),
            Rule(
                "expiration_duration",
                "must be a whole number of minutes; 0 means that it never ends",
                page,
                lambda document: (
                    type(document.get("expiration_duration")) is not int
                    and (
                        document["operation"] == "UPDATE"
                        or document.get("expiration_duration") is not None
                    )
                ),
            ),
            Rule(
                "data_bag",
                "must be an object, or text that holds JSON",
                page,
                lambda document: (
                    "data_bag" in document and not rules.is_json_text(document["data_bag"])
                ),
            ),
        ),
        unusual=(
            Rule(
                "segment_id",
                "the document names no segment",
                page,
                lambda document: not given(document, segments),
            ),
            Rule(
                "expiration_duration",
                "is negative",
                page,
                lambda document: (document.get("expiration_duration") or 0) < 0,
            ),
        ),
        identify=identifiers.of_command,
    )


def _list_of_resources() -> DocumentType:
    page = Page.ASSOCIATION
    entries = [rules.within("identifiers", rule) for rule in rules.resource(page, _THREE_KINDS)]
    return DocumentType(
        conversions=(
            to.nested("identifiers", to.resource),
            to.nested("identifiers", to.fields(to.to_text, "compartment_id")),
        ),
        rejected=(rules.list_of_objects("identifiers", page), *entries),
        unusual=(
            Rule(
                "identifiers",
                "the list is empty",
                page,
                lambda document: not document["identifiers"],
            ),
            rules.within("identifiers", _several_fields(page)),
        ),
        identify=identifiers.of_resources,
    )


def _resource(page: Page, kinds: tuple[str, ...]) -> DocumentType:
    return DocumentType(
        conversions=(to.resource, to.fields(to.to_whole, "compartment_id")),
        rejected=tuple(rules.resource(page, kinds)),
        unusual=(_several_fields(page),),
        identify=identifiers.of_resource,
    )


def _several_fields(page: Page) -> Rule:
    return Rule(
        "type",
        "there are identifiers of other types, too",
        page,
        rules.has_several_identifiers,
    )


ANY_OBJECT = DocumentType()
"""A type that is not known here."""

DOCUMENT_TYPES = {
    "USER_ACTIVITY": _activity(),
    "USER_PROFILE": _profile(),
    "USER_CHOICE": _choice(),
    USER_SEGMENT: _segment(),
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS": _list_of_resources(),
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS": _list_of_resources(),
    "USER_IDENTIFIERS_DELETION": _resource(Page.IDENTIFIERS_DELETION, _THREE_KINDS),
    "USER_POINTS_DELETION": _resource(Page.POINTS_DELETION, tuple(identifiers.RESOURCE_FIELDS)),
}
"""The types that are known here, by their names at the vendor."""
