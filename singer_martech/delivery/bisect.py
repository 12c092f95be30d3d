"""Find the records that a vendor rejects, so that the others are delivered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from singer_martech.delivery.batch_result import OUTCOME_UNKNOWN, BisectStopped
from singer_martech.errors import MartechError
from singer_martech.http.errors import BodyRejected, Conflict, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.delivery.batch import Batch, PendingRecord
    from singer_martech.delivery.batch_result import BatchResult, UnidentifiedRejects

    Parts = list[Sequence[PendingRecord]]

_INITIAL_REJECTIONS = 8
"""After this many single records rejected in a row at the start, suspect a wrong setting."""
_IDENTIFIERS = re.compile(r"(?<![\w-])[\w-]*[0-9][\w-]*")
"""Numbers and ids, which differ between otherwise equal reasons."""


class PartialRejection(MartechError):
    """The vendor accepted some records of a request and rejected others.

    Attributes:
        rejected_indexes: The reasons by index in the request, or None if unknown.
        status: The HTTP status.
        unidentified: The number of rejected records that are not identified, in addition to
            ``rejected_indexes``. The request is not repeated to find them.
    """

    def __init__(
        self,
        message: str,
        rejected_indexes: Mapping[int, str] | None,
        status: int | None,
        unidentified: UnidentifiedRejects | None = None,
    ) -> None:
        super().__init__(message)
        self.rejected_indexes = rejected_indexes
        self.status = status
        self.unidentified = unidentified


class AllRejected(MartechError):
    """The vendor rejects every record for the same reason; probably a setting is wrong."""


class Post(Protocol):
    """Sends the given records in one request."""

    def __call__(self, records: Sequence[PendingRecord], *, idempotent: bool) -> None:
        """Return when all were accepted.

        Raises:
            BodyRejected: None was accepted.
            PartialRejection: Some were accepted.
            OutcomeUnknown: The outcome is unknown, and they must not be sent twice.
        """


class Bisector:
    """Sends batches to one destination, and splits a rejected batch to find the rejected records.

    Args:
        settings_hint: The settings to name in the error when everything is rejected.
    """

    def __init__(self, settings_hint: str) -> None:
        self._settings_hint = settings_hint
        self._acceptances = 0  # threads count without a lock: only 0 is exact

    def send(self, batch: Batch, batch_result: BatchResult, post: Post) -> None:
        """Send a batch, in parts if it is rejected.

        Parts are sent one after the other, which keeps records of one key in order.

        Raises:
            AllRejected: No record was ever accepted, and samples from the whole batch are
                rejected for the same reason.
            BisectStopped: More records are rejected than the run allows.
            MartechError: The run cannot continue.
        """
        parts: Parts = [batch.records()]
        while parts:
            parts.extend(reversed(self._send(parts.pop(), batch_result, post)))
            rejected = len(batch_result.rejections)
            is_large = len(batch) > _INITIAL_REJECTIONS
            if is_large and rejected == _INITIAL_REJECTIONS and self._acceptances == 0:
                parts = self._probe(parts, batch_result, post)
            is_decided = self._acceptances > 0 or rejected > _INITIAL_REJECTIONS
            if batch_result.rejects_exceeded and is_decided and parts:
                raise BisectStopped

    def _send(
        self, records: Sequence[PendingRecord], batch_result: BatchResult, post: Post
    ) -> Parts:
        """Send records; return the parts to send next, in order."""
        is_whole = len(records) == len(batch_result.batch)
        idempotent = batch_result.batch.idempotent if is_whole else _are_idempotent(records)
        try:
            post(records, idempotent=idempotent)
        except PartialRejection as rejection:
            self._acceptances += 1
            return _reject_in_part(records, batch_result, rejection, idempotent=idempotent)
        except OutcomeUnknown as error:
            return _report_unknown(records, batch_result, error)
        except (BodyRejected, Conflict) as rejection:
            return _split(records, batch_result, rejection)
        self._acceptances += 1
        if not is_whole:
            batch_result.mark_delivered(records)
        return []

    def _probe(self, parts: Parts, batch_result: BatchResult, post: Post) -> Parts:
        """Send the last record of each remaining part; return the parts still to send."""
        remaining = []
        for part in parts:
            if self._acceptances == 0:
                again = self._send(part[-1:], batch_result, post)
                # send an accepted record again with its part, to keep the order of records
                is_sent_again = self._acceptances > 0 and part[-1].idempotent
                part = part if is_sent_again else part[:-1]  # noqa: PLW2901 - what remains of it
                remaining += again
            remaining.append(part)
        reasons = {_IDENTIFIERS.sub("", each.reason) for each in batch_result.rejections}
        if self._acceptances == 0 and len(reasons) == 1:
            reason = batch_result.rejections[0].reason
            batch_result.rejections.clear()
            raise AllRejected(f"{reason}; nothing was accepted so far: check {self._settings_hint}")
        return [part for part in remaining if part]


def _are_idempotent(records: Sequence[PendingRecord]) -> bool:
    return all(record.idempotent for record in records)


def _split(
    records: Sequence[PendingRecord],
    batch_result: BatchResult,
    rejection: BodyRejected | Conflict | PartialRejection,
) -> Parts:
    if len(records) == 1:
        return _reject(records[0], batch_result, str(rejection), rejection.status)
    middle = len(records) // 2
    return [records[:middle], records[middle:]]


# Not within Bisector._send: an error handler beyond 256 units of code may loop forever without
# memory (CPython issue 132508).
def _reject_in_part(
    records: Sequence[PendingRecord],
    batch_result: BatchResult,
    rejection: PartialRejection,
    *,
    idempotent: bool,
) -> Parts:
    if rejection.rejected_indexes is not None:
        return _reject_indexes(records, batch_result, rejection)
    if idempotent:
        return _split(records, batch_result, rejection)
    return _report_unknown(records, batch_result, rejection)


def _reject_indexes(
    records: Sequence[PendingRecord], batch_result: BatchResult, rejection: PartialRejection
) -> Parts:
    rejected = rejection.rejected_indexes or {}
    if rejection.unidentified is None:
        batch_result.mark_delivered(
            record for index, record in enumerate(records) if index not in rejected
        )
    else:
        batch_result.unidentified.append(rejection.unidentified)
    parts: Parts = []
    for index, reason in rejected.items():
        parts += _reject(records[index], batch_result, reason, rejection.status)
    return parts


def _reject(
    record: PendingRecord, batch_result: BatchResult, reason: str, status: int | None
) -> Parts:
    batch_result.reject(record, reason, status)
    # then send the record that it replaced, so that the vendor has the last valid one
    return [] if record.superseded is None else [[record.superseded]]


def _report_unknown(
    records: Sequence[PendingRecord],
    batch_result: BatchResult,
    error: PartialRejection | OutcomeUnknown,
) -> Parts:
    """Reject records that must not be sent twice; return the others to send again."""
    for record in records:
        if not record.idempotent:
            batch_result.reject(record, f"{OUTCOME_UNKNOWN}: {error}", error.status)
    again = [record for record in records if record.idempotent]
    return [again] if again else []
