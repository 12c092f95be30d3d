"""Why records were not taken, counted, with one example each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_REASONS = 100
_LONGEST_VALUE = 200


@dataclass
class Reason:
    """One reason in one stream.

    Attributes:
        stream: The stream, under the name by which its records come.
        reason: The words of the reject report.
        status: The HTTP status of the vendor's refusal, or None.
        example: The key properties of the first such record; empty where there are none.
        count: How many records met it.
    """

    stream: str
    reason: str
    status: int | None
    example: dict[str, Any]
    count: int = 0


@dataclass
class Reasons:
    """The reasons of a run; of a flood of different ones, the first hundred by name.

    Attributes:
        others: How many records met a reason that is not among them.
    """

    others: int = 0
    _known: dict[tuple[str, str, int | None], Reason] = field(default_factory=dict)

    def note(
        self, stream: str, reason: str, status: int | None, key: Mapping[str, Any], count: int = 1
    ) -> None:
        """Count records that were rejected for a reason.

        Args:
            stream: Their stream.
            reason: Why, without secrets.
            status: The HTTP status of the refusal, or None.
            key: The key properties of one of them.
            count: How many they are.
        """
        known = self._known.get((stream, reason, status))
        if known is None:
            if len(self._known) >= _MOST_REASONS:
                self.others += count
                return
            example = {name: _short(value) for name, value in key.items()}
            known = self._known[stream, reason, status] = Reason(stream, reason, status, example)
        known.count += count

    def most_common(self) -> list[Reason]:
        """Return the reasons, the most frequent first."""
        return sorted(self._known.values(), key=lambda reason: -reason.count)


def _short(value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
