"""The document types that are known here, and the rules of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from target_mediarithmics import conversions as to
from target_mediarithmics import identifiers, rules
from target_mediarithmics.activities import activity
from target_mediarithmics.documents import DocumentType
from target_mediarithmics.identifiers import IDENTIFIERS, given
from target_mediarithmics.plain import Minutes, Plain, Text
from target_mediarithmics.rules import Page, Rule

if TYPE_CHECKING:
    from target_mediarithmics.conversions import Conversion

USER_SEGMENT = "USER_SEGMENT"
"""The only type that the vendor accepts as CSV (vendor page: Segments import)."""

_UPSERT = ("UPSERT", "DELETE")
_UPDATE = ("UPDATE", "DELETE")
_STRATEGIES = ("PARTIAL_UPDATE", "PARTIAL_DELETE", "FORCE_REPLACE")
_PLAIN_USER = dict.fromkeys((*IDENTIFIERS, "compartment_id"), Text)
_THREE_KINDS = ("USER_ACCOUNT", "USER_EMAIL", "USER_AGENT")


def _command_conversions(*optional: str) -> tuple[Conversion, ...]:
    """Return the conversions of a command; its empty ``optional`` fields are removed."""
    user = (*IDENTIFIERS, "compartment_id")
    return to.without_empty(*user, *optional), to.fields(to.to_text, *user)


def _profile() -> DocumentType:
    page = Page.PROFILES_IMPORT
    return DocumentType(
        operations=_UPSERT,
        conversions=_command_conversions("update_strategy"),
        rejected=(
            *rules.command(page, _UPSERT),
            rules.one_of("update_strategy", _STRATEGIES, page, optional=True),
            Rule(
                "user_profile",
                "must be an object, for UPSERT",
                page,
                lambda document: (
                    rules.is_upsert(document) and not isinstance(document.get("user_profile"), dict)
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
        plain=Plain(
            required={
                "operation": Literal[_UPSERT],
                "update_strategy": Literal[_STRATEGIES],
                "user_profile": dict,
            },
            optional=_PLAIN_USER,
            exactly_one=(IDENTIFIERS,),
        ),
        complete=to.complete_profile,
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
                lambda document: not isinstance(document.get("user_choice"), dict),
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
        plain=Plain(
            required={"operation": Literal[_UPDATE], "expiration_duration": Minutes},
            optional={**_PLAIN_USER, **dict.fromkeys(segments, Text), "expiration_ts": int},
            exactly_one=(IDENTIFIERS, segments),
            absent=("data_bag",),
        ),
        identify=identifiers.of_command,
    )


def _list_of_resources() -> DocumentType:
    page = Page.ASSOCIATION
    entries = [rules.within("identifiers", rule) for rule in rules.resource(page, _THREE_KINDS)]
    return DocumentType(
        conversions=(
            to.nested("identifiers", to.without_empty_text("compartment_id")),
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


def _resource(page: Page, kinds: tuple[str, ...], *rejected: Rule) -> DocumentType:
    return DocumentType(
        conversions=(
            to.without_empty_text("compartment_id"),
            to.resource,
            to.fields(to.to_whole, "compartment_id"),
        ),
        rejected=(*rules.resource(page, kinds), *rejected),
        unusual=(_several_fields(page),),
        identify=identifiers.of_resource,
    )


def _no_device_point(page: Page) -> Rule:
    """Return a rule; according to the page, breaking it rejects the whole job."""
    return Rule(
        "user_agent_id",
        "must not be a device point (udp:…); another document type deletes device points",
        page,
        lambda document: (
            document["type"] == "USER_AGENT" and document["user_agent_id"].startswith("udp:")
        ),
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
    "USER_ACTIVITY": activity(),
    "USER_PROFILE": _profile(),
    "USER_CHOICE": _choice(),
    USER_SEGMENT: _segment(),
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS": _list_of_resources(),
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS": _list_of_resources(),
    "USER_IDENTIFIERS_DELETION": _resource(
        Page.IDENTIFIERS_DELETION, _THREE_KINDS, _no_device_point(Page.IDENTIFIERS_DELETION)
    ),
    "USER_POINTS_DELETION": _resource(Page.POINTS_DELETION, tuple(identifiers.RESOURCE_FIELDS)),
}
"""The types that are known here, by their names at the vendor."""
