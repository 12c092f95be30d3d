"""The result of a document import's execution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_martech.mediarithmics.executions import Execution

_MAX_DIGITS = 12
MAX_COUNT = 1_000_000_000_000
"""More lines than an upload can have."""


@dataclass(frozen=True)
class ImportResult:
    """Counts and error file of an execution.

    Attributes:
        success: Number of accepted lines, or None if not reported.
        failure: Number of failed lines, or None if not reported.
        error_file_uri: URI of the error file, or None if there is none that can be requested.
        suspicious: Whether the vendor reports an identifier on too many lines.
        top_identifiers: The most frequent identifiers, as the vendor sends them.
    """

    success: int | None
    failure: int | None
    error_file_uri: str | None
    suspicious: bool
    top_identifiers: Any

    @classmethod
    def of(cls, execution: Execution) -> ImportResult:
        """Read the result of an execution."""
        result = execution.fields.get("result")
        fields: Mapping[str, Any] = result if isinstance(result, dict) else {}
        uri = fields.get("error_file_uri")
        return cls(
            success=count_of(fields.get("total_success")),
            failure=count_of(fields.get("total_failure")),
            error_file_uri=uri if isinstance(uri, str) and uri and uri.isprintable() else None,
            suspicious=bool(fields.get("possible_issue_on_identifiers")),
            top_identifiers=fields.get("top_identifiers"),
        )


def count_of(value: object) -> int | None:
    """Return a count, which may be text, or None. ``MAX_COUNT`` stands for larger counts."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) <= _MAX_DIGITS else MAX_COUNT
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, MAX_COUNT)
