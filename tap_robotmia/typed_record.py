"""Decode an event's properties to a record of a typed stream in one pass.

The decoder accepts events whose properties all have a column and fit its type. For any other event,
:class:`tap_robotmia.columns.Columns` makes the record; both give the same values.
"""

from __future__ import annotations

import functools
import operator
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_robotmia.events import Event

_CLASSES: dict[str, type] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": Decimal,
    "array": list,
    "object": dict,
    "null": type(None),
}
_UNSET = msgspec.UNSET
_CANNOT_DECODE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


class TypedRecordDecoder:
    """Decodes the events of one typed stream.

    Args:
        columns: The JSON types that each column holds, in the order of the record.
    """

    def __init__(self, columns: Mapping[str, frozenset[str]]) -> None:
        # A property may have the name of a fixed column, as time always has. So these are decoded
        # too, and get their values afterwards.
        record_type = object_type(
            [
                ("event_id", Any, _UNSET),
                ("time", Any, msgspec.NODEFAULT),
                ("distinct_id", Any, _UNSET),
                ("insert_id", Any, _UNSET),
                *((name, _kind(types), None) for name, types in columns.items()),
                ("_extra", Any, _UNSET),
            ]
        )
        self._decode: Callable[[msgspec.Raw], Any] = _refuse
        if record_type is None:
            return
        self._decode = msgspec.json.Decoder(record_type, float_hook=Decimal).decode
        _, _, _, _, *names, self._extra = record_type.__struct_fields__
        self._numbers = [
            (attrgetter(name), {_CLASSES[each] for each in types & _CLASSES.keys()})
            for name, types in zip(names, columns.values(), strict=True)
            if _kind(types) is Any
        ]

    def record(self, event: Event) -> msgspec.Struct | None:
        """Return the record of an event, or None if ``Columns`` has to make it."""
        try:
            record = self._decode(event.properties)
        except _CANNOT_DECODE:
            return None
        time, distinct_id = record.field_1, record.field_2
        if not (record.field_0 is record.field_3 is getattr(record, self._extra) is _UNSET):
            return None
        if distinct_id is not _UNSET and distinct_id != event.distinct_id:
            return None
        for get, classes in self._numbers:
            if type(get(record)) not in classes:
                return None
        record.field_0, record.field_1 = event.event_id, event.time
        record.field_2, record.field_3 = event.distinct_id, event.insert_id
        setattr(record, self._extra, {"time": time})
        return record  # type: ignore[no-any-return]


def _kind(types: frozenset[str]) -> Any:
    """Return the type that a column is decoded to.

    A decoder for Decimal would take text, and one for float would change digits. So numbers are
    decoded as anything, with exact digits, and checked afterwards.
    """
    if "number" in types:
        return Any
    return functools.reduce(operator.or_, (_CLASSES[name] for name in types & _CLASSES.keys()))


def _refuse(properties: msgspec.Raw) -> Any:
    """Reject every event; used where no decoder can be generated."""
    raise ValueError(properties)
