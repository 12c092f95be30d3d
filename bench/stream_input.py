"""The messages of one stream, and how each target loads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_STATE_EVERY = 10_000
COMPACT = (",", ":")
SPACED = (", ", ": ")
TEXT = {"type": ["null", "string"]}
NUMBER = {"type": ["null", "number"]}
INTEGER = {"type": ["null", "integer"]}
FLAG = {"type": ["null", "boolean"]}
TIME = {"type": ["null", "string"], "format": "date-time"}


AIMS = {"target-mona": 20, "target-monetate": 20, "target-mediarithmics": 15}


class StreamInput(NamedTuple):
    """The messages of one stream.

    Attributes:
        name: The stream.
        title: What its tap is like, for the table.
        records: How many records a target loads. The plain sink loads a part of them.
        key: The field that identifies a record.
        properties: The schema's properties.
        record: Makes the record of a number.
        separators: How its tap writes JSON.
        envelope: What a RECORD message has after the record.
        row: Monetate's mapping ``row``; None sends the record as it is.
        message: Mona's mapping ``message``; None likewise.
        document: The document for mediarithmics.
        aims: By target, the ratio to the plain sink that it should reach.
    """

    name: str
    title: str
    records: int
    key: str
    properties: Mapping[str, Any]
    record: Callable[[int], dict[str, Any]]
    document: Mapping[str, Any]
    separators: tuple[str, str] = COMPACT
    envelope: Mapping[str, Any] = {}
    row: Mapping[str, Any] | None = None
    message: Mapping[str, Any] | None = None
    aims: Mapping[str, float] = AIMS

    def lines(self, count: int) -> Iterator[bytes]:
        """Yield the Singer messages of this many records."""
        schema = {"type": "object", "properties": self.properties}
        yield self._line(type="SCHEMA", stream=self.name, schema=schema, key_properties=[self.key])
        for number in range(1, count + 1):
            record = self.record(number)
            yield self._line(type="RECORD", stream=self.name, record=record, **self.envelope)
            if not number % _STATE_EVERY:
                bookmarks = {self.name: {"read": number}}
                yield self._line(type="STATE", value={"bookmarks": bookmarks})

    def fields(self) -> dict[str, dict[str, Any]]:
        """Return the fields of a Monetate dataset for its rows."""
        fields: dict[str, dict[str, Any]] = {
            name: {"data_type": _data_type(self.properties.get(name, TEXT))}
            for name in self.row or self.properties
            if not name.startswith("_sdc_")
        }
        fields[self.key] = {"data_type": "STRING", "identifier": True, "unique_key": True}
        return fields

    def _line(self, **message: Any) -> bytes:
        return json.dumps(message, separators=self.separators).encode() + b"\n"


def _data_type(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema)
    if '"object"' in text:
        return "STRING"
    if "date-time" in text:
        return "DATETIME"
    if '"boolean"' in text:
        return "BOOLEAN"
    return "NUMBER" if '"number"' in text or '"integer"' in text else "STRING"


def profile(key: str, **fields: str) -> dict[str, Any]:
    """Return a USER_PROFILE document with these fields, each a path in the record."""
    return {
        "operation": "UPSERT",
        "compartment_id": "1000",
        "update_strategy": "PARTIAL_UPDATE",
        "user_account_id": f"{{{{ {key} }}}}",
        "user_profile": {name: f"{{{{ {path} }}}}" for name, path in fields.items()},
    }
