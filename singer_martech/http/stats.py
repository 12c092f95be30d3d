"""Request statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RequestStats:
    """The number of attempts, the retries among them, and the bytes of request bodies."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0

    def add(self, other: RequestStats) -> None:
        """Add the counts of ``other``."""
        self.requests += other.requests
        self.retries += other.retries
        self.bytes += other.bytes
