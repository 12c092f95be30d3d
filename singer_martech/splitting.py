"""Finding the records that a vendor refuses, so that the others are delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from singer_martech.errors import MartechError
from singer_martech.http import OutcomeUnknown, Refused
from singer_martech.outcome import OUTCOME_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.batch import Batch, Item
    from singer_martech.outcome import Outcome

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
    _send(list(batch), outcome, post)


def _send(items: Sequence[Item], outcome: Outcome, post: Post) -> None:
    repeatable = all(item.repeatable for item in items)
    try:
        post(items, repeatable=repeatable)
    except PartlyRefused as refusal:
        if refusal.culprits is not None:
            _reject_culprits(items, outcome, post, refusal)
        elif repeatable:
            _halve(items, outcome, post, refusal)
        else:
            _leave_unknown(items, outcome, refusal)
    except OutcomeUnknown as error:
        _leave_unknown(items, outcome, error)
    except Refused as refusal:
        if refusal.status not in _ABOUT_THE_RECORDS:
            raise
        _halve(items, outcome, post, refusal)
    else:
        outcome.deliver(items)


def _halve(
    items: Sequence[Item], outcome: Outcome, post: Post, refusal: Refused | PartlyRefused
) -> None:
    if len(items) == 1:
        _reject(items[0], outcome, post, str(refusal), refusal.status)
        return
    middle = len(items) // 2
    _send(items[:middle], outcome, post)
    _send(items[middle:], outcome, post)


def _reject_culprits(
    items: Sequence[Item], outcome: Outcome, post: Post, refusal: PartlyRefused
) -> None:
    culprits = refusal.culprits or {}
    outcome.deliver(item for place, item in enumerate(items) if place not in culprits)
    for place, reason in culprits.items():
        _reject(items[place], outcome, post, reason, refusal.status)


def _reject(item: Item, outcome: Outcome, post: Post, reason: str, status: int | None) -> None:
    outcome.reject(item, reason, status)
    if item.superseded is not None:
        # its key keeps what the last acceptable record says
        _send([item.superseded], outcome, post)


def _leave_unknown(
    items: Sequence[Item], outcome: Outcome, error: PartlyRefused | OutcomeUnknown
) -> None:
    for item in items:
        outcome.reject(item, f"{OUTCOME_UNKNOWN}: {error}", error.status)
