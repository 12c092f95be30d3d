"""Finding the records that a vendor refuses, so that the others are delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from singer_martech.delivery.batch_result import OUTCOME_UNKNOWN
from singer_martech.errors import MartechError
from singer_martech.http.errors import OutcomeUnknown, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.delivery.batch import Batch, Item
    from singer_martech.delivery.batch_result import Outcome

_ABOUT_THE_RECORDS = frozenset({400, 409, 413, 422})
"""Refusals that another set of records may not meet; 401, 403 or 404 would meet them all."""


class PartlyRefused(MartechError):
    """The vendor took some records of a request and refused others.

    Attributes:
        culprits: The reasons by place in the request, or None when they cannot be told.
        status: The HTTP status.
    """

    def __init__(
        self, message: str, culprits: Mapping[int, str] | None, status: int | None
    ) -> None:
        """Keep what is known of the culprits."""
        super().__init__(message)
        self.culprits = culprits
        self.status = status


class Post(Protocol):
    """Sends one request with these records."""

    def __call__(self, items: Sequence[Item], *, repeatable: bool) -> None:
        """Return when all were taken.

        Raises:
            Refused: None was taken.
            PartlyRefused: Some were taken.
            OutcomeUnknown: Nobody knows, and they must not be sent twice.
        """


def send_in_parts(batch: Batch, outcome: Outcome, post: Post) -> None:
    """Send a batch; where it is refused, halve it until the culprits are alone.

    The parts are sent one after the other, so records of one key stay in order.
    """
    parts: list[Sequence[Item]] = [list(batch)]
    while parts:
        parts.extend(reversed(_send(parts.pop(), outcome, post)))


def _send(items: Sequence[Item], outcome: Outcome, post: Post) -> list[Sequence[Item]]:
    """Send records; return the parts that are to be sent instead, in their order."""
    repeatable = all(item.repeatable for item in items)
    try:
        post(items, repeatable=repeatable)
    except PartlyRefused as refusal:
        if refusal.culprits is not None:
            return _reject_culprits(items, outcome, refusal)
        if repeatable:
            return _halves(items, outcome, refusal)
        return _leave_unknown(items, outcome, refusal)
    except OutcomeUnknown as error:
        return _leave_unknown(items, outcome, error)
    except Refused as refusal:
        if refusal.status not in _ABOUT_THE_RECORDS:
            raise
        return _halves(items, outcome, refusal)
    else:
        outcome.deliver(items)
    return []


def _halves(
    items: Sequence[Item], outcome: Outcome, refusal: Refused | PartlyRefused
) -> list[Sequence[Item]]:
    if len(items) == 1:
        return _reject(items[0], outcome, str(refusal), refusal.status)
    middle = len(items) // 2
    return [items[:middle], items[middle:]]


def _reject_culprits(
    items: Sequence[Item], outcome: Outcome, refusal: PartlyRefused
) -> list[Sequence[Item]]:
    culprits = refusal.culprits or {}
    outcome.deliver(item for place, item in enumerate(items) if place not in culprits)
    parts: list[Sequence[Item]] = []
    for place, reason in culprits.items():
        parts += _reject(items[place], outcome, reason, refusal.status)
    return parts


def _reject(item: Item, outcome: Outcome, reason: str, status: int | None) -> list[Sequence[Item]]:
    outcome.reject(item, reason, status)
    # its key keeps what the last acceptable record says
    return [] if item.superseded is None else [[item.superseded]]


def _leave_unknown(
    items: Sequence[Item], outcome: Outcome, error: PartlyRefused | OutcomeUnknown
) -> list[Sequence[Item]]:
    """Report what must not be sent twice; return the records beside it, to be sent again."""
    for item in items:
        if not item.repeatable:
            outcome.reject(item, f"{OUTCOME_UNKNOWN}: {error}", error.status)
    again = [item for item in items if item.repeatable]
    return [again] if again else []
