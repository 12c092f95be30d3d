"""An execution: one run of an export or of a document import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singer_martech.mediarithmics.client import id_text
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_ID_DIGITS = 100
"""Python does not convert thousands of digits to an integer."""

_END_OF_MILLISECONDS = 10**14
"""The year 5138. Larger numbers are not dates."""

_TASKS = range(10**12)
_TASK_STATES = ("num", "completed", "erroneous")

_SUCCEEDED = frozenset({"SUCCEEDED", "SUCCESS"})
_FAILED = frozenset({"FAILED", "CANCELED", "CANCELLED"})
_UNDER_WAY = frozenset({"PENDING", "RUNNING", "SCHEDULED", "WAITING_DEPENDENT_JOB"})


@dataclass(frozen=True)
class Execution:
    """One run of an export or of a document import.

    Attributes:
        created: When it was created, in epoch milliseconds.
        fields: All fields, as received.
    """

    id: str
    status: str
    created: int
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Execution:
        """Create it from the vendor's fields.

        Raises:
            LookupError: It has no id or date.
            ArithmeticError: Its date is infinite.
            TypeError: Its id or date is something else.
            ValueError: One of its fields cannot be used.
        """
        execution = cls(
            id=id_text(fields["id"]),
            status=str(fields.get("status") or ""),
            created=int(fields["creation_date"]),
            fields=fields,
        )
        if not 0 <= execution.created < _END_OF_MILLISECONDS:
            raise ValueError("its date is out of range")
        if any((execution.tasks(which) or 0) not in _TASKS for which in _TASK_STATES):
            raise ValueError("its number of tasks is out of range")
        if not all(name.isprintable() for name in execution.output_files):
            raise ValueError("the name of a file has control characters or lone surrogates")
        return execution

    def __str__(self) -> str:
        """Name it for messages."""
        return f"execution {self.id}"

    @property
    def position(self) -> tuple[int, int, str]:
        """Sort key from old to new; executions of one millisecond by id."""
        return (self.created, *id_order(self.id))

    @property
    def succeeded(self) -> bool:
        """Whether it ended with success."""
        return self.status in _SUCCEEDED

    @property
    def failed(self) -> bool:
        """Whether it ended without success."""
        return self.status in _FAILED

    @property
    def has_ended(self) -> bool:
        """Whether it ended. Unknown and internal statuses have not ended."""
        return self.succeeded or self.failed

    @property
    def is_running(self) -> bool:
        """Whether it is pending or running."""
        return self.status in _UNDER_WAY

    @property
    def error(self) -> str:
        """The vendor's reason with its ``error_id`` on one line, or nothing.

        The vendor sends null, a text, or an object with a message.
        """
        error = self.fields.get("error")
        error_id = self.fields.get("error_id")
        if isinstance(error, dict):
            error_id = error_id or error.get("error_id")
            error = error.get("message") or error
        parts = [" ".join(str(error).split())] if error else []
        if error_id:
            parts.append(f"error_id {error_id}")
        return redact(", ".join(parts))

    @property
    def progress(self) -> str:
        """Its status and how many of its tasks are done, for the log."""
        tasks = self.tasks("num")
        done = f", {self.tasks('completed') or 0} of {tasks} tasks done" if tasks else ""
        return f"{self.status or 'no status'}{done}"

    @property
    def output_files(self) -> list[str]:
        """Names of the files of the result; ``export`` if it names none."""
        result = self.fields.get("result")
        names = result.get("output_files") if isinstance(result, dict) else None
        if not isinstance(names, list):
            return ["export"]
        return [name for name in names if isinstance(name, str) and name] or ["export"]

    def tasks(self, which: str) -> int | None:
        """Number of ``num``, ``completed`` or ``erroneous`` tasks, or None if unknown."""
        count = self.fields.get(f"{which}_tasks")
        return count if isinstance(count, int) and not isinstance(count, bool) else None


def id_order(identifier: str) -> tuple[int, str]:
    """Return a sort key for an id: by number if it is one, else by text."""
    is_number = len(identifier) < _MAX_ID_DIGITS and identifier.isascii() and identifier.isdigit()
    return (int(identifier) if is_number else -1, identifier)
