"""What became of each stream's records, for the log and for the summary."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class StreamMetrics:
    """The counts of one stream; ``read`` is the sum of the four that follow it.

    Attributes:
        stream: Its name, after stream maps.
        source: The name under which its records come, before stream maps.
        read: Records received.
        delivered: Records that the vendor took.
        rejected: Records that stand in the reject report.
        skipped_deletes: Deleted records that were left out by the ``deletes`` policy.
        superseded: Records that a later one of their key replaced in the same request.
        requests: Requests that carried records of the stream.
        retries: Those of them that were tries after the first.
        bytes: Bytes of the bodies sent for it.
    """

    stream: str
    source: str = ""
    read: int = 0
    delivered: int = 0
    rejected: int = 0
    skipped_deletes: int = 0
    superseded: int = 0
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    def __post_init__(self) -> None:
        """Assume that no stream map renames the stream."""
        self.source = self.source or self.stream

    @property
    def pending(self) -> int:
        """Records whose fate is not known."""
        settled = self.delivered + self.rejected + self.skipped_deletes + self.superseded
        return self.read - settled

    def summary(self) -> dict[str, object]:
        """Return the counts under the names of the summary line."""
        ended_at = self.ended_at or time.monotonic()
        counts: dict[str, object] = {
            "stream": self.stream,
            "read": self.read,
            "delivered": self.delivered,
            "rejected": self.rejected,
            "skipped_deletes": self.skipped_deletes,
            "superseded": self.superseded,
            "requests": self.requests,
            "retries": self.retries,
            "bytes": self.bytes,
            "seconds": round(ended_at - self.started_at, 3),
        }
        if self.pending:  # only after a run that failed
            counts["undelivered"] = self.pending
        return counts

    def line(self) -> str:
        """Return the summary line."""
        return f"summary: {json.dumps(self.summary())}"
