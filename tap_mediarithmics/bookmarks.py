"""The bookmark of a stream: the execution that was read last, and the largest key.

A bookmark looks like this::

    {
        "replication_key": "ts",
        "replication_key_value": "2026-01-31T12:00:00.000Z",
        "execution": {"id": "879", "creation_date": 1769860800000},
    }
"""

from __future__ import annotations

import datetime as dt
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_martech.errors import MartechError
from singer_martech.runtime.redaction import redacted_head
from singer_martech.values.timestamps import epoch_ms
from tap_mediarithmics import timestamps
from tap_mediarithmics.coercion import DATE_TEXT
from tap_mediarithmics.modes import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from singer_martech.mediarithmics.executions import Execution

EXECUTION_DATE = "_execution_creation_date"
_UNSAFE = frozenset("\"'\\{}").union(map(chr, range(32)))
_TIMES = frozenset({"date-time", "date", DATE_TEXT})
_TEXT_FORMATS = {"date": "date", DATE_TEXT: "date", "string": "iso"}
"""How {start} is written for columns that hold text; all others hold epoch milliseconds."""
_MAX_NUMBER = 10**300
"""Larger numbers do not survive a STATE that is read as floats."""
_MOST_EXAMPLES = 3
_MAX_SHOWN = 40
_UNUSABLE = "these values cannot be bookmarks and were ignored"
_IN_FUTURE = "these values are after the creation of their execution and do not move the bookmark"

logger = logging.getLogger(__name__)


def after_execution(
    state: Mapping[str, Any], start: int | None, key: str = EXECUTION_DATE
) -> Cursor:
    """Return the position of the execution that was read last.

    Args:
        state: The stream's bookmark.
        start: ``start_date`` in epoch milliseconds.
        key: The column whose value an older STATE may have alone.
    """
    execution = state.get("execution")
    if isinstance(execution, dict):
        created, identifier = execution.get("creation_date"), execution.get("id")
        if isinstance(created, int) and isinstance(identifier, str):
            return Cursor(created, identifier, start)
    value = state.get("replication_key_value")
    if state.get("replication_key") == key and isinstance(value, str):
        created_at = timestamps.parse(value)
        if created_at is not None:
            return Cursor(epoch_ms(created_at), None, start)
    return Cursor(start=start)


def execution_entry(execution: Execution) -> dict[str, Any]:
    """Return an execution as stored in a bookmark."""
    return {"id": execution.id, "creation_date": execution.created}


class MaxValue:
    """The largest value of a column, compared by the type of the column.

    Nulls and values that cannot be bookmarks do not count. Neither does a time after
    ``latest``: one row with a wrong date would end the stream.

    Args:
        stream: The stream's name, for messages.
        key: The column.
        kind: Its type, as :func:`tap_mediarithmics.coercion.kind_of` names it.
        state: The stream's bookmark. Its value is the smallest that is returned.
        latest: Creation of the execution that is read, in epoch milliseconds.

    Raises:
        MartechError: The value in ``state`` cannot be compared with those of the column.
    """

    def __init__(
        self,
        stream: str,
        key: str,
        kind: str,
        state: Mapping[str, Any],
        latest: int | None = None,
    ) -> None:
        self._label = f"stream '{stream}', replication key '{key}'"
        self.key = key
        self._kind = kind
        self._latest: dt.datetime | None = None
        self._ignored: dict[str, list[Any]] = {}
        self.value: Any = None
        self._rank: Any = None
        self._seen: Any = None
        if state.get("replication_key") == key:
            self.add(state.get("replication_key_value"))
            self._raise_if_ignored()
        if latest is not None:
            self._latest = timestamps.parse(timestamps.date_time(latest))

    def add(self, value: Any) -> None:
        """Take a value into account."""
        if value is None or value == self._seen:
            return
        self._seen = value
        rank = self._ranked(value)
        if rank is None:
            self._ignore(_UNUSABLE, value)
            return
        try:
            is_larger = self._rank is None or rank > self._rank
        except TypeError:
            message = f"{self._label}: {value!r} and {self.value!r} cannot be compared"
            raise MartechError(message) from None
        if is_larger and self._is_in_future(value):
            self._ignore(_IN_FUTURE, value)
        elif is_larger:
            self.value, self._rank = value, rank

    def _ranked(self, value: Any) -> Any:
        """Return what the value is compared by, or None if it cannot be a bookmark."""
        if isinstance(value, str):
            return timestamps.parse(value) if self._kind in _TIMES else value
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return value if -_MAX_NUMBER < value < _MAX_NUMBER else None
        raise MartechError(f"{self._label}: {value!r} cannot be a bookmark")

    def _is_in_future(self, value: Any) -> bool:
        if self._latest is None or not isinstance(value, str):
            return False
        time = timestamps.parse(value)
        return time is not None and time > self._latest

    def _ignore(self, reason: str, value: Any) -> None:
        values = self._ignored.setdefault(reason, [])
        if len(values) < _MOST_EXAMPLES:
            values.append(value)

    def _raise_if_ignored(self) -> None:
        for values in self._ignored.values():
            raise MartechError(f"{self._label}: {values[0]!r} cannot be a bookmark")

    def warn_of_ignored(self) -> None:
        """Log which values did not count."""
        for reason, values in self._ignored.items():
            examples = ", ".join(redacted_head(str(value), _MAX_SHOWN) for value in values)
            logger.warning("%s: %s: %s", self._label, reason, examples)

    def write(self, state: MutableMapping[str, Any]) -> None:
        """Write the bookmark."""
        state["replication_key"] = self.key
        if self.value is not None:
            state["replication_key_value"] = self.value

    def start(
        self, start_date: int | None, lookback_seconds: float, start_format: str | None
    ) -> str:
        """Return the text that replaces ``{start}`` in a query.

        Args:
            start_date: Where to start without a bookmark, in epoch milliseconds.
            lookback_seconds: How far before the bookmark to start.
            start_format: ``epoch_ms``, ``iso`` or ``date``; None selects by the type.

        Raises:
            MartechError: There is neither, or the bookmark cannot be written in this form.
        """
        if self.value is None and start_date is None:
            raise MartechError(f"{self._label}: setting 'start_date' is required for the first run")
        time = start_date if self.value is None else self._milliseconds()
        if time is None:
            return self._verbatim(lookback_seconds, start_format)
        if self.value is not None:
            time -= round(lookback_seconds * 1000)
        is_text = self._kind != "date-time" and isinstance(self.value, str)
        default = _TEXT_FORMATS.get(self._kind, "iso" if is_text else "epoch_ms")
        chosen = start_format or default
        if chosen == "epoch_ms":
            return str(time)
        text = self._date_time(time)
        return text[:10] if chosen == "date" else text

    def _date_time(self, time: int) -> str:
        try:
            return timestamps.date_time(time)
        except OverflowError:
            message = f"{self._label}: lookback_seconds leads outside the years 1 to 9999"
            raise MartechError(message) from None

    def _milliseconds(self) -> int | None:
        if isinstance(self.value, str):
            time = timestamps.parse(self.value)
            return None if time is None else epoch_ms(time)
        return int(self.value) if self._kind in {"integer", "number", ""} else None

    def _verbatim(self, lookback_seconds: float, start_format: str | None) -> str:
        """Return a bookmark that is not a time, such as a text that counts up."""
        if lookback_seconds or start_format:
            raise MartechError(
                f"{self._label}: the bookmark {self.value!r} is not a time, so "
                "lookback_seconds and start_format cannot be used"
            )
        text = str(self.value)
        if not _UNSAFE.isdisjoint(text):
            message = f"{self._label}: the bookmark {text!r} cannot be written into a query"
            raise MartechError(message)
        return text


def now() -> dt.datetime:
    """Return the current time."""
    return dt.datetime.now(dt.timezone.utc)
