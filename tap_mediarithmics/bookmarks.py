"""What a stream's STATE says: the execution read last, and the largest replication value.

A bookmark looks like this::

    {
        "replication_key": "ts",
        "replication_key_value": "2026-01-31T12:00:00.000Z",
        "execution": {"id": "879", "creation_date": 1769860800000},
    }
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from tap_mediarithmics import timestamps
from tap_mediarithmics.modes import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from singer_martech.mediarithmics.executions import Execution

EXECUTION_DATE = "_execution_creation_date"
_UNSAFE = re.compile(r"[\"'\\{}\x00-\x1f]")
_TEXT_FORMATS = {"date": "date", "string": "iso"}
"""How {start} is written for columns that hold text; all others hold epoch milliseconds."""


def after_execution(
    state: Mapping[str, Any], start: int | None, key: str = EXECUTION_DATE
) -> Cursor:
    """Read which execution was read last.

    Args:
        state: The stream's bookmark.
        start: ``start_date`` in epoch milliseconds.
        key: The column of which an older STATE may hold the value alone.
    """
    execution = state.get("execution")
    if isinstance(execution, dict):
        created, identifier = execution.get("creation_date"), execution.get("id")
        if isinstance(created, int) and isinstance(identifier, str):
            return Cursor(created, identifier, start)
    value = state.get("replication_key_value")
    if state.get("replication_key") == key and isinstance(value, str):
        instant = timestamps.parse(value)
        if instant is not None:
            return Cursor(timestamps.milliseconds(instant), None, start)
    return Cursor(start=start)


def execution_entry(execution: Execution) -> dict[str, Any]:
    """Return how a bookmark names an execution."""
    return {"id": execution.id, "creation_date": execution.created}


class MaxValue:
    """The largest value of a column, compared by the column's type; nulls do not count.

    Args:
        stream: The stream's name, for messages.
        key: The column.
        kind: Its type, as :func:`tap_mediarithmics.coercion.kind_of` names it.
        state: The stream's bookmark; its value is never undercut.
    """

    def __init__(self, stream: str, key: str, kind: str, state: Mapping[str, Any]) -> None:
        """Begin with the bookmark."""
        self._label = f"stream '{stream}', replication key '{key}'"
        self.key = key
        self._kind = kind
        self.value: Any = None
        self._rank: Any = None
        self._seen: Any = None
        if state.get("replication_key") == key:
            self.add(state.get("replication_key_value"))

    def add(self, value: Any) -> None:
        """Take a value into account."""
        if value is None or value == self._seen:
            return
        self._seen = value
        rank = self._ranked(value)
        try:
            if self._rank is None or rank > self._rank:
                self.value, self._rank = value, rank
        except TypeError:
            message = f"{self._label}: {value!r} and {self.value!r} cannot be compared"
            raise MartechError(message) from None

    def _ranked(self, value: Any) -> Any:
        if isinstance(value, str):
            if self._kind != "date-time":
                return value
            instant = timestamps.parse(value)
            if instant is not None:
                return instant
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return value
        message = f"{self._label}: {value!r} is no value that a bookmark can have"
        raise MartechError(message)

    def write(self, state: MutableMapping[str, Any]) -> None:
        """Write the bookmark."""
        state["replication_key"] = self.key
        if self.value is not None:
            state["replication_key_value"] = self.value

    def start(
        self, start_date: int | None, lookback_seconds: float, start_format: str | None
    ) -> str:
        """Return what is written for ``{start}`` in a query.

        Args:
            start_date: Where to start without a bookmark, in epoch milliseconds.
            lookback_seconds: How far before the bookmark to start.
            start_format: ``epoch_ms``, ``iso`` or ``date``; None takes what fits the type.

        Raises:
            MartechError: There is neither, or the bookmark cannot be written so.
        """
        if self.value is None and start_date is None:
            message = f"{self._label}: setting 'start_date' is required for the first run"
            raise MartechError(message)
        instant = start_date if self.value is None else self._milliseconds()
        if instant is None:
            return self._verbatim(lookback_seconds, start_format)
        if self.value is not None:
            instant -= round(lookback_seconds * 1000)
        is_text = self._kind != "date-time" and isinstance(self.value, str)
        fitting = _TEXT_FORMATS.get(self._kind, "iso" if is_text else "epoch_ms")
        chosen = start_format or fitting
        try:
            text = timestamps.date_time(instant)
        except OverflowError:
            message = f"{self._label}: lookback_seconds leads to a time before the year 1"
            raise MartechError(message) from None
        return {"epoch_ms": str(instant), "iso": text, "date": text[:10]}[chosen]

    def _milliseconds(self) -> int | None:
        if isinstance(self.value, str):
            instant = timestamps.parse(self.value)
            return None if instant is None else timestamps.milliseconds(instant)
        return int(self.value) if self._kind in {"integer", "number", ""} else None

    def _verbatim(self, lookback_seconds: float, start_format: str | None) -> str:
        """Write a bookmark that is no point in time, such as a text that counts up."""
        if lookback_seconds or start_format:
            message = (
                f"{self._label}: the bookmark {self.value!r} is no point in time, so "
                "lookback_seconds and start_format cannot be used"
            )
            raise MartechError(message)
        text = str(self.value)
        if _UNSAFE.search(text):
            message = f"{self._label}: the bookmark {text!r} cannot be written into a query"
            raise MartechError(message)
        return text


def now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.timezone.utc)
