"""Counts per stream, for the log and the summary."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class StreamMetrics:
    """The counts of one stream; ``read`` is the sum of the next five and the pending records.

    Attributes:
        stream: The stream's name, after stream maps.
        source: The stream's name before stream maps.
        read: Records received.
        delivered: Records that the vendor accepted.
        rejected: Records in the reject report.
        skipped_deletes: Deleted records left out by the ``deletes`` setting.
        superseded: Records replaced by a later one of their key in the same request.
        unchanged: Records that the vendor already has; None without a ledger.
        requests: Requests with records of the stream, including retries.
        retries: Attempts after the first one.
        bytes: Bytes of the request bodies sent.
        is_dry_run: Whether ``delivered`` counts what would have been delivered.
    """

    stream: str
    source: str = ""
    read: int = 0
    delivered: int = 0
    rejected: int = 0
    skipped_deletes: int = 0
    superseded: int = 0
    unchanged: int | None = None
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    is_dry_run: bool = False
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    def __post_init__(self) -> None:
        """Default ``source`` to the stream's name."""
        self.source = self.source or self.stream

    @property
    def pending(self) -> int:
        """The number of records that are not settled."""
        settled = self.delivered + self.rejected + self.skipped_deletes + self.superseded
        return self.read - settled - (self.unchanged or 0)

    def summary(self) -> dict[str, object]:
        """Return the counts by their names in the summary line."""
        ended_at = self.ended_at or time.monotonic()
        counts: dict[str, object] = {
            "stream": self.stream,
            "read": self.read,
            "would_deliver" if self.is_dry_run else "delivered": self.delivered,
            "rejected": self.rejected,
            "skipped_deletes": self.skipped_deletes,
            "superseded": self.superseded,
            **({} if self.unchanged is None else {"unchanged": self.unchanged}),
            "requests": self.requests,
            "retries": self.retries,
            "bytes": self.bytes,
            "seconds": round(ended_at - self.started_at, 3),
        }
        if self.pending:  # only after a run that failed
            counts["undelivered"] = self.pending
        return counts

    def progress(self, now: float) -> str:
        """Return a progress line, given the time on the monotonic clock."""
        delivered = "would be delivered" if self.is_dry_run else "delivered"
        line = f"stream '{self.stream}': {self.read:,} records read, {self.delivered:,} {delivered}"
        if self.unchanged is not None:
            line += f", {self.unchanged:,} unchanged"
        line += f", {self.rejected:,} rejected"
        settled = self.read - self.pending
        if settled:
            line += f", {settled / max(now - self.started_at, 0.001):,.0f} records/s"
        return line

    def line(self) -> str:
        """Return the summary line."""
        return f"summary: {json.dumps(self.summary())}"
