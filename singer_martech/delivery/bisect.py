"""Finding the records that a vendor refuses, so that the others are delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from singer_martech.delivery.batch_result import OUTCOME_UNKNOWN
from singer_martech.errors import MartechError
from singer_martech.http.errors import BodyRejected, Conflict, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult, UnidentifiedRejects


class PartialRejection(MartechError):
    """The vendor took some records of a request and refused others.

    Attributes:
        rejected_indexes: The reasons by index in the request, or None when they are unknown.
        status: The HTTP status.
        unidentified: Rejections beside ``rejected_indexes`` of which only the number is known.
            The request is not repeated to find them.
    """

    def __init__(
        self,
        message: str,
        rejected_indexes: Mapping[int, str] | None,
        status: int | None,
        unidentified: UnidentifiedRejects | None = None,
    ) -> None:
        """Keep what is known of the rejected records."""
        super().__init__(message)
        self.rejected_indexes = rejected_indexes
        self.status = status
        self.unidentified = unidentified


class Post(Protocol):
    """Sends one request with these records."""

    def __call__(self, records: Sequence[PendingRecord], *, idempotent: bool) -> None:
        """Return when all were taken.

        Raises:
            RequestRejected: None was taken.
            PartialRejection: Some were taken.
            OutcomeUnknown: Nobody knows, and they must not be sent twice.
        """


def send_bisecting(batch: Batch, batch_result: BatchResult, post: Post) -> None:
    """Send a batch; where it is refused, halve it until the culprits are alone.

    The parts are sent one after the other, so records of one key stay in order.
    """
    parts: list[Sequence[PendingRecord]] = [batch.records()]
    while parts:
        parts.extend(reversed(_send(parts.pop(), batch_result, post)))


def _send(
    records: Sequence[PendingRecord], batch_result: BatchResult, post: Post
) -> list[Sequence[PendingRecord]]:
    """Send records; return the parts that are to be sent instead, in their order."""
    idempotent = all(record.idempotent for record in records)
    try:
        post(records, idempotent=idempotent)
    except PartialRejection as rejection:
        if rejection.rejected_indexes is not None:
            return _reject_indexes(records, batch_result, rejection)
        if idempotent:
            return _split(records, batch_result, rejection)
        return _report_unknown(records, batch_result, rejection)
    except OutcomeUnknown as error:
        return _report_unknown(records, batch_result, error)
    except (BodyRejected, Conflict) as rejection:
        return _split(records, batch_result, rejection)
    if len(records) < len(batch_result.batch):
        batch_result.mark_delivered(records)
    return []


def _split(
    records: Sequence[PendingRecord],
    batch_result: BatchResult,
    rejection: BodyRejected | Conflict | PartialRejection,
) -> list[Sequence[PendingRecord]]:
    if len(records) == 1:
        return _reject(records[0], batch_result, str(rejection), rejection.status)
    middle = len(records) // 2
    return [records[:middle], records[middle:]]


def _reject_indexes(
    records: Sequence[PendingRecord], batch_result: BatchResult, rejection: PartialRejection
) -> list[Sequence[PendingRecord]]:
    rejected_indexes = rejection.rejected_indexes or {}
    if rejection.unidentified is None:
        batch_result.mark_delivered(
            record for index, record in enumerate(records) if index not in rejected_indexes
        )
    else:
        batch_result.unidentified.append(rejection.unidentified)
    parts: list[Sequence[PendingRecord]] = []
    for index, reason in rejected_indexes.items():
        parts += _reject(records[index], batch_result, reason, rejection.status)
    return parts


def _reject(
    record: PendingRecord, batch_result: BatchResult, reason: str, status: int | None
) -> list[Sequence[PendingRecord]]:
    batch_result.reject(record, reason, status)
    # its key keeps what the last acceptable record says
    return [] if record.superseded is None else [[record.superseded]]


def _report_unknown(
    records: Sequence[PendingRecord],
    batch_result: BatchResult,
    error: PartialRejection | OutcomeUnknown,
) -> list[Sequence[PendingRecord]]:
    """Report what must not be sent twice; return the records beside it, to be sent again."""
    for record in records:
        if not record.idempotent:
            batch_result.reject(record, f"{OUTCOME_UNKNOWN}: {error}", error.status)
    again = [record for record in records if record.idempotent]
    return [again] if again else []
