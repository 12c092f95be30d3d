"""Count rejected records by reason, with one example each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_martech.runtime.redaction import redacted_head

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_REASONS = 100
_VALUE_CHARACTERS = 200


@dataclass
class RejectReason:
    """One reason in one stream.

    Attributes:
        stream: The stream's name before stream maps.
        reason: The reason as in the reject report.
        status: The HTTP status of the vendor's response, or None.
        example: The key properties of the first such record; empty if it has none.
        count: The number of records.
    """

    stream: str
    reason: str
    status: int | None
    example: dict[str, Any]
    count: int = 0


@dataclass
class RejectReasons:
    """The reasons of a run; after the first hundred, further reasons are only counted.

    Attributes:
        others: The number of records with further reasons.
    """

    others: int = 0
    _by_cause: dict[tuple[str, str, int | None], RejectReason] = field(default_factory=dict)

    def add(
        self, stream: str, reason: str, status: int | None, key: Mapping[str, Any], count: int = 1
    ) -> None:
        """Count records that were rejected for a reason, given the key of one of them."""
        known = self._by_cause.get((stream, reason, status))
        if known is None:
            if len(self._by_cause) >= _MAX_REASONS:
                self.others += count
                return
            example = {name: _short(value) for name, value in key.items()}
            known = self._by_cause[stream, reason, status] = RejectReason(
                stream, reason, status, example
            )
        known.count += count

    def most_common(self) -> list[RejectReason]:
        """Return the reasons, most frequent first."""
        return sorted(self._by_cause.values(), key=lambda reason: -reason.count)


def _short(value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _VALUE_CHARACTERS else redacted_head(text, _VALUE_CHARACTERS)
