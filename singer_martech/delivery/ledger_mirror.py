"""Delete the keys of a stream that a full read did not contain."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from singer_martech.delivery.metrics import StreamMetrics
from singer_martech.errors import MartechError

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.destination import Destination
    from singer_martech.delivery.ledger import Ledger, StreamLedger

logger = logging.getLogger(__name__)

_EXAMPLES = 10
_MAX_VERSION = 2**63
"""The database stores smaller ones."""


class TooManyDeletes(MartechError):
    """More keys would be deleted than ``mirror_max_deletes`` allows."""


class Mirror:
    """The mirror of one stream.

    A table was read in full if the stream's last message is an ACTIVATE_VERSION with the
    version of the stream's records in this run.

    Args:
        ledger: The ledger of the run.
        stream: The stream's part of it.
        max_deletes: The setting ``mirror_max_deletes``: below 1 a share of the keys, else a number.
        deletion_of: Returns the record that deletes a key, given the identifiers in the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        stream: StreamLedger,
        *,
        max_deletes: float,
        deletion_of: Callable[[bytes], PendingRecord],
    ) -> None:
        self._ledger = ledger
        self._stream = stream
        self._max_deletes = max_deletes
        self._deletion_of = deletion_of
        self._versions: set[int | None] = set()
        self._activated: int | None = None
        self._deleted = StreamMetrics(stream.metrics.stream, stream.metrics.source)

    def read(self, given: object) -> None:
        """Store the version of a record, before the record is loaded."""
        version = _valid(given)
        self._activated = None
        self._versions.add(version)
        self._stream.set_version(version)

    def activate(self, given: object) -> None:
        """Store an ACTIVATE_VERSION message."""
        self._activated = _valid(given)

    def delete_unseen(self, destination: Destination, sequence: int) -> None:
        """Submit the deletions, if the table was read in full; called at the end of the input.

        Raises:
            TooManyDeletes: There are more than allowed; none is submitted.
            MartechError: The run cannot continue.
        """
        version, label = self._activated, f"stream '{self._stream.metrics.stream}'"
        reason = self._reason_against(version)
        if reason is not None or version is None:
            logger.warning("%s: the mirror deletes nothing, because %s", label, reason)
            return
        self._ledger.flush()
        store, scope = self._ledger.store, self._stream.scope
        total = store.count(scope) + store.count_added(scope)
        unseen, unnamed = store.count_unseen(scope, version)
        # a product would be rounded: 0.29 * 100 is less than 29
        share_or_number = unseen / max(total, 1) if self._max_deletes < 1 else unseen
        if share_or_number > self._max_deletes:
            raise TooManyDeletes(
                f"{label}: the mirror would delete {unseen:,} of {total:,} keys, which is more "
                f"than mirror_max_deletes ({self._max_deletes:g}) allows, so it deletes nothing; "
                "check the source, or raise the key 'mirror_max_deletes' in 'streams'"
            )
        if unnamed:
            logger.warning(
                "%s: the mirror cannot delete %d key(s), because they were loaded before the "
                "stream had a mirror",
                label,
                unnamed,
            )
        if self._ledger.is_dry_run:
            logger.info(
                "dry run: %s: the mirror would delete %d of %d keys",
                label,
                unseen - unnamed,
                total,
            )
            for example in itertools.islice(store.unseen(scope, version), _EXAMPLES):
                logger.info("dry run: %s: for example %s", label, example.decode())
            return
        deletions = self._ledger.stream(scope, self._deleted, self._stream.keys_of)
        for identifiers in store.unseen(scope, version):
            record = self._deletion_of(identifiers)
            record.metrics, record.sequence, record.raw = self._deleted, sequence, identifiers
            self._deleted.read += 1
            deletions.submit(destination, record)

    def log(self) -> None:
        """Log how many keys were deleted, when all is settled."""
        if self._deleted.read:
            logger.info(
                "stream '%s': the mirror deleted %d key(s) that the full read did not contain",
                self._deleted.stream,
                self._deleted.delivered,
            )

    def _reason_against(self, version: int | None) -> str | None:
        if self._ledger.is_reset:
            return "'ledger_reset' removes its keys from the ledger"
        if version is None:
            return "the stream does not end with an ACTIVATE_VERSION message"
        if not self._versions:
            return "the stream has no records"
        if self._versions != {version}:
            return f"its records do not have the version {version} of its ACTIVATE_VERSION message"
        rejected = self._stream.metrics.rejected
        if rejected:
            return f"{rejected} record(s) were rejected, so their keys may be unknown"
        return None


def _valid(version: object) -> int | None:
    """Return a version if it is an integer, as taps write it."""
    return version if type(version) is int and abs(version) < _MAX_VERSION else None
