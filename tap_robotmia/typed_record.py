"""Decode the properties of events to records of a typed stream in one pass.

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
    from collections.abc import Callable, Mapping, Sequence

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
_CANNOT_DECODE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


class _Nothing:
    """The type of a field that no JSON value fits."""


class TypedRecordDecoder:
    """Decodes the events of one typed stream.

    Args:
        columns: The JSON types that each column holds, in the order of the record.
    """

    def __init__(self, columns: Mapping[str, frozenset[str]]) -> None:
        # The raw time is decoded to the time's field, and the id of the user is the same in both.
        # A property with the name of another fixed column rejects the event.
        record_type = object_type(
            [
                ("event_id", _Nothing, None),
                ("time", Any, msgspec.NODEFAULT),
                ("distinct_id", str | None, None),
                ("insert_id", _Nothing, None),
                *((name, _kind(types), None) for name, types in columns.items()),
                ("_extra", _Nothing, None),
            ]
        )
        self._decode: Callable[[msgspec.Raw], Any] = _refuse
        self._numbers: list[tuple[Callable[[Any], Any], set[type]]] = []
        self._extra = ""
        if record_type is None:
            return
        self._decode = msgspec.json.Decoder(record_type, float_hook=Decimal).decode
        _, _, _, _, *names, self._extra = record_type.__struct_fields__
        self._numbers = [
            (attrgetter(name), {_CLASSES[each] for each in types & _CLASSES.keys()})
            for name, types in zip(names, columns.values(), strict=True)
            if _kind(types) is Any
        ]

    def records(self, events: Sequence[Event]) -> list[msgspec.Struct] | None:
        """Return the records of events, or None if ``Columns`` has to make one of them."""
        decode = self._decode
        try:
            records = [decode(event.properties) for event in events]
        except _CANNOT_DECODE:
            return None
        for get, classes in self._numbers:
            if not classes.issuperset(map(type, map(get, records))):
                return None
        extra = self._extra
        for record, event in zip(records, events, strict=True):
            setattr(record, extra, {"time": record.field_1})
            record.field_0, record.field_1 = event.event_id, event.time
            record.field_3 = event.insert_id
        return records


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
